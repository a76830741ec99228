//! The endpoint pickers that the operator runs: for which pool, and whether they make sense.

use std::{collections::BTreeMap, sync::Arc};

use super::pod::{self, image_pull_policy_problem};
use crate::{
    api::{EndpointPicker, EndpointPickerImplementation, EndpointPickerSpec, InferencePool},
    infra::PickerInfra,
    object::{ObjectKey, created},
    snapshot::Snapshot,
};

/// Port of the picker's Service where no pool says another; the one that pools name by convention.
const DEFAULT_PORT: u16 = 9002;

/// One `EndpointPicker`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picker {
    /// Name of the pool that it picks for: of those that name it the oldest, by name among equals.
    pub pool: Option<String>,
    /// Names of the other pools that name it, in that order; it does not pick for them.
    pub others: Vec<String>,
    /// What must run; nothing as long as no pool names it.
    pub infra: Option<PickerInfra>,
    /// What is wrong with it, a sentence each without its full stop.
    pub problems: Vec<String>,
}

/// Every `EndpointPicker`, with the pools of its namespace that name it as their picker's Service.
pub(super) fn resolve(snapshot: &Snapshot) -> BTreeMap<ObjectKey, Picker> {
    let pools = pools_by_service(snapshot);
    let pickers = snapshot.endpoint_pickers.iter();
    pickers
        .map(|(key, object)| {
            let pools = pools.get(key).map_or(&[][..], Vec::as_slice);
            let is_terminating = snapshot.is_terminating(object.as_ref());
            (key.clone(), picker(key, object, pools, is_terminating))
        })
        .collect()
}

/// A pool, with the port that it knows its picker by.
type NamingPool<'a> = (&'a str, Option<u16>);

/// The pools that name a Service as their picker's, the oldest first.
fn pools_by_service(snapshot: &Snapshot) -> BTreeMap<ObjectKey, Vec<NamingPool<'_>>> {
    let mut by_age: Vec<(&ObjectKey, &Arc<InferencePool>)> = snapshot.inference_pools.iter().collect();
    by_age.sort_by_key(|(key, pool)| (created(pool.as_ref()), *key));
    let mut pools = BTreeMap::<_, Vec<_>>::new();
    for (key, pool) in by_age {
        let reference = pool.spec.endpoint_picker_ref.as_ref();
        let service = reference.filter(|reference| (reference.group(), reference.kind()) == ("", "Service"));
        if let Some(service) = service {
            let port = service.port.as_ref();
            let port = port.and_then(|port| u16::try_from(port.number).ok());
            let naming = pools.entry(ObjectKey::new(&key.namespace, &service.name));
            naming.or_default().push((key.name.as_str(), port));
        }
    }
    pools
}

fn picker(
    key: &ObjectKey,
    object: &EndpointPicker,
    pools: &[NamingPool<'_>],
    is_terminating: bool,
) -> Picker {
    let problems = problems(key, &object.spec);
    let infra = pools.first().map(|(pool, port)| PickerInfra {
        uid: object.metadata.uid.clone().unwrap_or_default(),
        pool: (*pool).to_owned(),
        port: port.unwrap_or(DEFAULT_PORT),
        spec: object.spec.clone(),
        stays_as_it_is: is_terminating || !problems.is_empty(),
    });
    let mut names = pools.iter().map(|(name, _)| (*name).to_owned());
    Picker {
        pool: names.next(),
        others: names.collect(),
        infra,
        problems,
    }
}

/// Arguments by which pickers of both implementations elect a leader.
const ELECTION: [&str; 2] = ["--ha-enable-leader-election", "--ha-enable-leader-election=true"];

fn problems(key: &ObjectKey, spec: &EndpointPickerSpec) -> Vec<String> {
    let policy = image_pull_policy_problem("spec.imagePullPolicy", spec.image_pull_policy.as_ref());
    let mut problems: Vec<String> = policy
        .into_iter()
        .chain(pod::problems("spec", spec.pod_settings()))
        .collect();
    match &spec.implementation {
        Some(EndpointPickerImplementation::LlmD) if spec.image.is_none() => {
            problems.push(
                "spec.image is missing: llm-d's router has no default; name the image of its picker"
                    .to_owned(),
            );
        }
        Some(EndpointPickerImplementation::Unknown(other)) => {
            problems.push(format!(
                "spec.implementation is {other:?}; it can be one of InferenceExtension, LlmD"
            ));
        }
        _ => {}
    }
    let mut arguments = spec.extra_args.iter().flatten();
    if arguments.any(|argument| ELECTION.contains(&argument.as_str())) {
        problems.push(format!(
            "spec.extraArgs has {}: pickers need no leader, as gateways agree on the one to ask, and they may not write \
             the Lease that they would elect one by; leave it out",
            ELECTION[0]
        ));
    }
    let configuration = spec.configuration.as_ref();
    if configuration.is_some_and(|configuration| !configuration.is_object()) {
        problems.push("spec.configuration is not an object".to_owned());
    }
    if key.name.len() > 63 {
        problems.push("metadata.name is longer than the 63 characters of a Service's".to_owned());
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::example::snapshot;

    fn resolved(picker: &str, pools: &[&str]) -> Picker {
        let documents = [&[picker], pools].concat();
        let mut pickers = resolve(&snapshot(&documents)).into_values();
        pickers.next().expect("one picker")
    }

    const PICKER: &str =
        "{kind: EndpointPicker, metadata: {namespace: ai, name: llm-picker, uid: u1}, spec: {}}";
    const POOL: &str = "
        kind: InferencePool
        metadata: {namespace: ai, name: llm, creationTimestamp: '2026-11-22T00:00:00Z'}
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
        assert_eq!(picker, Picker::default());
    }

    fn stays_as_it_is(picker: &str) -> bool {
        let infra = resolved(picker, &[POOL]).infra;
        infra.expect("it has a pool").stays_as_it_is
    }

    #[test]
    fn a_picker_that_is_deleted_is_on_its_way_out() {
        assert!(!stays_as_it_is(PICKER));
        assert!(stays_as_it_is(
            &PICKER.replace("uid: u1", "deletionTimestamp: '2026-11-22T00:00:00Z'")
        ));
    }

    #[test]
    fn of_two_pools_the_older_one_keeps_the_picker_and_then_the_first_by_name() {
        let kept = |creation: &str| {
            let other = POOL
                .replace("name: llm,", "name: chat,")
                .replace("2026-11-22T00:00:00Z", creation);
            let picker = resolved(PICKER, &[POOL, &other]);
            let infra = picker.infra.expect("it runs all the same");
            assert!(!infra.stays_as_it_is);
            assert_eq!(picker.problems, [""; 0]);
            assert_eq!(picker.pool, Some(infra.pool.clone()));
            (infra.pool, picker.others)
        };
        let (llm, chat) = ("llm".to_owned(), "chat".to_owned());
        assert_eq!(kept("2026-11-22T00:00:01Z"), (llm.clone(), vec![chat.clone()]));
        assert_eq!(kept("2026-11-21T00:00:00Z"), (chat.clone(), vec![llm.clone()]));
        assert_eq!(kept("2026-11-22T00:00:00Z"), (chat, vec![llm]));
    }

    #[test]
    fn llm_d_needs_an_image_and_what_runs_stays_without() {
        let picker = PICKER.replace("spec: {}", "spec: {implementation: LlmD}");
        assert!(resolved(&picker, &[POOL]).problems[0].starts_with("spec.image is missing"));
        assert!(stays_as_it_is(&picker));
        assert!(!stays_as_it_is(
            &picker.replace("LlmD", "LlmD, image: 'ghcr.io/x/router:v1'")
        ));
    }

    #[test]
    fn pickers_that_would_elect_a_leader_stay_as_they_are() {
        let picker = PICKER.replace("spec: {}", "spec: {extraArgs: [--ha-enable-leader-election]}");
        assert!(resolved(&picker, &[POOL]).problems[0].starts_with("spec.extraArgs has --ha-enable"));
        assert!(stays_as_it_is(&picker));
        assert!(!stays_as_it_is(&picker.replace("election", "election=false")));
    }
}
