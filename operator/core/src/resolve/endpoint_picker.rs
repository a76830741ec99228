//! The endpoint pickers that the operator runs: for which pool, and whether they make sense.

use std::collections::BTreeMap;

use crate::{
    api::{EndpointPicker, EndpointPickerImplementation, InferencePool},
    infra::PickerInfra,
    object::ObjectKey,
    snapshot::Snapshot,
};

/// Port of the picker's Service where no pool says another; the one that pools name by convention.
const DEFAULT_PORT: u16 = 9002;

/// One `EndpointPicker`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picker {
    /// Names of the pools that use it, in order.
    pub pools: Vec<String>,
    /// What must run; nothing as long as no pool uses it or something is wrong.
    pub infra: Option<PickerInfra>,
    /// What is wrong with it, a sentence each without its full stop.
    pub problems: Vec<String>,
}

/// Every `EndpointPicker`, with the pools of its namespace that name it as their picker's Service.
pub(super) fn resolve(snapshot: &Snapshot) -> BTreeMap<ObjectKey, Picker> {
    let pickers = snapshot.endpoint_pickers.iter();
    pickers
        .map(|(key, object)| {
            let is_terminating = snapshot.is_terminating(object.as_ref());
            (
                key.clone(),
                picker(key, object, &pools(key, snapshot), is_terminating),
            )
        })
        .collect()
}

/// Pools that name the picker, with the port that they know it by.
fn pools<'a>(picker: &ObjectKey, snapshot: &'a Snapshot) -> Vec<(&'a str, Option<u16>)> {
    let port = |(key, pool): (&'a ObjectKey, &std::sync::Arc<InferencePool>)| {
        let reference = pool.spec.endpoint_picker_ref.as_ref()?;
        let is_ours = key.namespace == picker.namespace
            && (reference.group(), reference.kind()) == ("", "Service")
            && reference.name == picker.name;
        let port = reference
            .port
            .as_ref()
            .and_then(|port| u16::try_from(port.number).ok());
        is_ours.then_some((key.name.as_str(), port))
    };
    snapshot.inference_pools.iter().filter_map(port).collect()
}

fn picker(
    key: &ObjectKey,
    object: &EndpointPicker,
    pools: &[(&str, Option<u16>)],
    is_terminating: bool,
) -> Picker {
    let mut problems = Vec::new();
    let spec = &object.spec;
    match &spec.implementation {
        Some(EndpointPickerImplementation::LlmD) if spec.image.is_none() => {
            problems.push(
                "image is missing: llm-d's router has no default; name the image of its picker".to_owned(),
            );
        }
        Some(EndpointPickerImplementation::Unknown(other)) => {
            problems.push(format!(
                "implementation {other:?} is unknown; use InferenceExtension or LlmD"
            ));
        }
        _ => {}
    }
    if spec
        .configuration
        .as_ref()
        .is_some_and(|configuration| !configuration.is_object())
    {
        problems.push("configuration is not an object".to_owned());
    }
    if key.name.len() > 63 {
        problems.push("its name is longer than the 63 characters of a Service's".to_owned());
    }
    let names: Vec<String> = pools.iter().map(|(name, _)| (*name).to_owned()).collect();
    if let [first, second, ..] = names.as_slice() {
        problems.push(format!(
            "InferencePools {first} and {second} both name it, but a picker knows one pool; make an EndpointPicker for \
             each"
        ));
    }
    let infra = match (pools, problems.as_slice()) {
        ([(pool, port)], []) => Some(PickerInfra {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            pool: (*pool).to_owned(),
            port: port.unwrap_or(DEFAULT_PORT),
            spec: spec.clone(),
            is_terminating,
        }),
        _ => None,
    };
    Picker {
        pools: names,
        infra,
        problems,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn resolved(picker: &str, pools: &[&str]) -> Picker {
        let picker: EndpointPicker = serde_saphyr::from_str(picker).expect("an EndpointPicker decodes");
        let mut snapshot = Snapshot::default();
        for pool in pools {
            let pool: InferencePool = serde_saphyr::from_str(pool).expect("an InferencePool decodes");
            snapshot
                .inference_pools
                .insert(ObjectKey::of(&pool), Arc::new(pool));
        }
        snapshot
            .endpoint_pickers
            .insert(ObjectKey::of(&picker), Arc::new(picker));
        resolve(&snapshot).into_values().next().expect("one picker")
    }

    const PICKER: &str = "{metadata: {namespace: ai, name: llm-picker, uid: u1}, spec: {}}";
    const POOL: &str = "
        metadata: {namespace: ai, name: llm}
        spec: {selector: {matchLabels: {app: vllm}}, targetPorts: [{number: 8000}],
               endpointPickerRef: {name: llm-picker, port: {number: 9100}}}";

    #[test]
    fn a_picker_runs_for_the_pool_that_names_it() {
        let picker = resolved(PICKER, &[POOL]);
        let infra = picker.infra.expect("it runs");
        assert_eq!(
            (infra.pool.as_str(), infra.port, infra.uid.as_str()),
            ("llm", 9100, "u1")
        );
    }

    #[test]
    fn a_picker_that_no_pool_of_its_namespace_names_does_not_run() {
        let elsewhere = POOL.replace("namespace: ai", "namespace: other");
        let another = POOL.replace("name: llm-picker", "name: epp");
        let picker = resolved(PICKER, &[&elsewhere, &another]);
        assert_eq!((picker.infra, picker.pools), (None, Vec::<String>::new()));
        assert_eq!(picker.problems, Vec::<String>::new());
    }

    #[test]
    fn a_picker_that_is_deleted_is_on_its_way_out() {
        let deleted = PICKER.replace("uid: u1", "deletionTimestamp: '2026-11-22T00:00:00Z'");
        let is_terminating = |picker: &str| {
            resolved(picker, &[POOL])
                .infra
                .expect("it has a pool")
                .is_terminating
        };
        assert!(is_terminating(&deleted));
        assert!(!is_terminating(PICKER));
    }

    #[test]
    fn two_pools_cannot_share_a_picker() {
        let other = POOL.replace("name: llm}", "name: chat}");
        let picker = resolved(PICKER, &[POOL, &other]);
        assert_eq!(picker.infra, None);
        assert!(
            picker.problems[0].starts_with("InferencePools chat and llm both"),
            "{picker:?}"
        );
    }

    #[test]
    fn llm_d_needs_an_image() {
        let picker = PICKER.replace("spec: {}", "spec: {implementation: LlmD}");
        assert!(resolved(&picker, &[POOL]).problems[0].starts_with("image is missing"));
        let picker = picker.replace("LlmD", "LlmD, image: 'ghcr.io/x/router:v1'");
        assert!(resolved(&picker, &[POOL]).infra.is_some());
    }
}
