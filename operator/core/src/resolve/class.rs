//! `GatewayClasses` that name our controller.

use std::collections::BTreeMap;

use crate::{
    api::GatewayClass,
    object::ObjectKey,
    options::Options,
    resolve::{
        finding::{Finding, reasons},
        fleet::{self, Written},
    },
    snapshot::Snapshot,
};

/// A `GatewayClass` of ours.
#[derive(Debug)]
pub struct Class {
    /// Settings of all its gateways, as written in its `NginxFleet`; empty where it names none that exists.
    pub settings: Written,
    /// Why it is not accepted.
    pub refusals: Vec<Finding<ClassRefusal>>,
}

reasons! {
    /// Why a `GatewayClass` is not accepted.
    ///
    /// See <https://gateway-api.sigs.k8s.io/reference/spec/#gatewayclassconditionreason>.
    pub enum ClassRefusal {
        /// Its `parametersRef` names no `NginxFleet` that exists and makes sense.
        InvalidParameters = "InvalidParameters",
    }
}

/// Every `GatewayClass` that names our controller.
#[must_use]
pub fn resolve(snapshot: &Snapshot, options: &Options) -> BTreeMap<ObjectKey, Class> {
    let ours = |class: &GatewayClass| class.spec.controller_name == options.controller_name;
    let classes = snapshot.gateway_classes.iter();
    classes
        .filter(|(_, class)| ours(class))
        .map(|(key, class)| (key.clone(), resolve_class(class, snapshot)))
        .collect()
}

fn resolve_class(class: &GatewayClass, snapshot: &Snapshot) -> Class {
    let (settings, problems) = match parameters(class, snapshot) {
        Ok(written) => {
            let problems = fleet::problems(&written.spec);
            (written, problems)
        }
        Err(problem) => (Written::default(), vec![problem]),
    };
    let refusals = problems
        .into_iter()
        .map(|problem| Finding::new(ClassRefusal::InvalidParameters, problem))
        .collect();
    Class { settings, refusals }
}

fn parameters(class: &GatewayClass, snapshot: &Snapshot) -> Result<Written, String> {
    let Some(reference) = &class.spec.parameters_ref else {
        return Ok(Written::default());
    };
    let Some(namespace) = &reference.namespace else {
        return Err("parametersRef needs a namespace, as an NginxFleet is in one".to_owned());
    };
    let key = ObjectKey::new(namespace, &reference.name);
    let fleet = fleet::referent(snapshot, &reference.group, &reference.kind, &key)?;
    Ok(Written::by(fleet))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::NginxFleet;

    /// The messages about a class with that spec, where an `NginxFleet` `edge/odd` is wrong and `edge/fine` is not.
    fn messages(parameters_ref: &str) -> Vec<String> {
        let mut snapshot = Snapshot::default();
        for yaml in [
            "{metadata: {namespace: edge, name: odd}, spec: {nginx: {workerProcesses: 0}}}",
            "{metadata: {namespace: edge, name: fine}, spec: {nginx: {workerProcesses: 1}}}",
        ] {
            let fleet: NginxFleet = serde_saphyr::from_str(yaml).expect("an NginxFleet");
            snapshot
                .nginx_fleets
                .insert(ObjectKey::of(&fleet), Arc::new(fleet));
        }
        let class = format!(
            "{{metadata: {{name: ours}}, spec: {{controllerName: {}, parametersRef: {parameters_ref}}}}}",
            Options::CONTROLLER_NAME
        );
        let class: GatewayClass = serde_saphyr::from_str(&class).expect("a GatewayClass");
        let key = ObjectKey::of(&class);
        snapshot.gateway_classes.insert(key.clone(), Arc::new(class));
        let mut classes = resolve(&snapshot, &Options::default());
        let class = classes.remove(&key).expect("the class is ours");
        class
            .refusals
            .into_iter()
            .map(|refusal| refusal.message)
            .collect()
    }

    #[test]
    fn classes_of_other_controllers_are_not_ours() {
        let class = "{metadata: {name: theirs}, spec: {controllerName: example.com/other}}";
        let class: GatewayClass = serde_saphyr::from_str(class).expect("a GatewayClass");
        let mut snapshot = Snapshot::default();
        snapshot
            .gateway_classes
            .insert(ObjectKey::of(&class), Arc::new(class));
        assert!(resolve(&snapshot, &Options::default()).is_empty());
    }

    #[test]
    fn class_with_a_good_fleet_is_accepted() {
        let fleet = "{group: flotilla.dev, kind: NginxFleet, namespace: edge, name: fine}";
        assert_eq!(messages(fleet), Vec::<String>::new());
    }

    #[test]
    fn parameters_that_lead_nowhere_are_refused() {
        for (parameters_ref, message) in [
            (
                "{group: flotilla.dev, kind: NginxFleet, namespace: edge, name: gone}",
                "NginxFleet edge/gone does not exist",
            ),
            (
                "{group: flotilla.dev, kind: NginxFleet, name: fine}",
                "parametersRef needs a namespace, as an NginxFleet is in one",
            ),
            (
                "{group: '', kind: ConfigMap, namespace: edge, name: fine}",
                r#"parametersRef names a ConfigMap of group ""; it can name an NginxFleet of "flotilla.dev""#,
            ),
            (
                "{group: flotilla.dev, kind: NginxFleet, namespace: edge, name: odd}",
                "spec.nginx.workerProcesses is 0; it can be a number from 1 to 1024",
            ),
        ] {
            assert_eq!(messages(parameters_ref), [message]);
        }
    }
}
