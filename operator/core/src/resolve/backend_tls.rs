//! `BackendTLSPolicies`: how backends are spoken TLS to.

mod validation;

use std::{collections::BTreeMap, sync::Arc};

use super::{
    finding::{Finding, reasons},
    grant::Grants,
    lookup::Lookup,
};
use crate::{
    api::{BackendTlsPolicy, Service},
    config::BackendTls,
    object::{ObjectKey, created},
    outcome::Needs,
    snapshot::Snapshot,
};

/// Every `BackendTLSPolicy`, and which of them holds for which backend.
#[derive(Debug, Default)]
pub struct Policies {
    /// By key.
    pub policies: BTreeMap<ObjectKey, Policy>,
    /// The policy that holds for a target.
    by_target: BTreeMap<Target, ObjectKey>,
}

/// A `BackendTLSPolicy`.
#[derive(Debug)]
pub struct Policy {
    /// What it comes to; `None` if that is nothing, and its targets must not get requests.
    pub tls: Option<Arc<BackendTls>>,
    /// Why it is not accepted.
    pub refusals: Vec<Finding<PolicyRefusal>>,
    /// References that lead nowhere.
    pub unresolved: Vec<Finding<PolicyReference>>,
}

reasons! {
    /// Why a `BackendTLSPolicy` is not accepted.
    ///
    /// See <https://gateway-api.sigs.k8s.io/reference/spec/#policyconditionreason>.
    pub enum PolicyRefusal {
        /// Another policy holds for its target.
        Conflicted = "Conflicted",
        /// Its Service has no port of that name.
        TargetNotFound = "TargetNotFound",
        /// Some field makes no sense.
        Invalid = "Invalid",
        /// None of its references to authorities can be used.
        NoValidCaCertificate = "NoValidCACertificate",
    }
}

reasons! {
    /// Why a reference of a `BackendTLSPolicy` leads nowhere.
    pub enum PolicyReference {
        /// To authorities that do not exist, or are none.
        InvalidCaCertificateRef = "InvalidCACertificateRef",
        /// To a kind that holds no authorities.
        InvalidKind = "InvalidKind",
    }
}

/// What a policy is for: a Service, or one of its ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    service: ObjectKey,
    /// Name of the port; `None` for all that have no policy of their own.
    port: Option<String>,
}

impl Policies {
    /// The policies of a snapshot.
    ///
    /// Of two for the same target the older one holds, see
    /// <https://gateway-api.sigs.k8s.io/reference/spec/#backendtlspolicyspec>.
    #[must_use]
    pub(super) fn new(snapshot: &Snapshot, grants: &Grants<'_>, needs: &mut Needs) -> Self {
        let mut lookup = Lookup {
            snapshot,
            grants,
            needs,
        };
        let mut by_age: Vec<_> = snapshot.backend_tls_policies.iter().collect();
        by_age.sort_by_key(|(key, policy)| (created(policy.as_ref()), *key));
        let mut policies = Self::default();
        for (key, object) in by_age {
            let mut policy = validation::resolve(&mut lookup, key, object);
            let place = policies.place(snapshot, key, object);
            policy.refusals.splice(0..0, place);
            policies.policies.insert(key.clone(), policy);
        }
        policies
    }

    /// The policy that holds for a Service's port, by its name; the one for that port alone comes first.
    #[must_use]
    pub(super) fn of(&self, service: &ObjectKey, port: Option<&str>) -> Option<(&ObjectKey, &Policy)> {
        let target = |port: Option<&str>| {
            let target = Target {
                service: service.clone(),
                port: port.map(str::to_owned),
            };
            self.by_target.get(&target)
        };
        let key = port
            .and_then(|port| target(Some(port)))
            .or_else(|| target(None))?;
        self.policies.get_key_value(key)
    }

    /// Has a policy hold for its targets; why it does not for some of them.
    fn place(
        &mut self,
        snapshot: &Snapshot,
        key: &ObjectKey,
        policy: &BackendTlsPolicy,
    ) -> Vec<Finding<PolicyRefusal>> {
        let mut refusals = Vec::new();
        for reference in &policy.spec.target_refs {
            if (reference.group.as_str(), reference.kind.as_str()) != ("", "Service") {
                continue;
            }
            let service = ObjectKey::new(&key.namespace, &reference.name);
            let port = reference.section_name.clone().filter(|name| !name.is_empty());
            if let (Some(object), Some(name)) = (snapshot.services.get(&service), &port)
                && !has_port(object, name)
            {
                let message = format!("Service {service} has no port that is named {name}");
                refusals.push(Finding::new(PolicyRefusal::TargetNotFound, message));
            }
            let target = Target { service, port };
            let holder = self
                .by_target
                .entry(target.clone())
                .or_insert_with(|| key.clone());
            if holder != key {
                let of_port = target
                    .port
                    .map(|port| format!(" port {port}"))
                    .unwrap_or_default();
                let message = format!(
                    "BackendTLSPolicy {holder} comes first for Service {}{of_port}",
                    target.service
                );
                refusals.push(Finding::new(PolicyRefusal::Conflicted, message));
            }
        }
        refusals
    }
}

fn has_port(service: &Service, name: &str) -> bool {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref());
    let mut ports = ports.unwrap_or_default().iter();
    ports.any(|port| port.name.as_deref() == Some(name))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::resolve::{certificate::tests::issue, example};

    /// What becomes of policies `default/NAME` with these specifications, beside a Service `shop` with the ports `web`
    /// and `admin` and a `ConfigMap` `authorities`; the further down, the younger.
    pub(in crate::resolve) fn policies(specs: &[(&str, &str)]) -> Policies {
        let mut objects = vec![
            "kind: Service\nmetadata: {namespace: default, name: shop}\n\
             spec: {ports: [{name: web, port: 443}, {name: admin, port: 8443}]}"
                .to_owned(),
            serde_json::json!({
                "kind": "ConfigMap",
                "metadata": { "namespace": "default", "name": "authorities" },
                "data": { "ca.crt": issue(&["example.com"]).0 },
            })
            .to_string(),
        ];
        objects.extend(specs.iter().enumerate().map(|(age, (name, spec))| {
            format!(
                "kind: BackendTLSPolicy\nmetadata: {{namespace: default, name: {name}, \
                 creationTimestamp: '2024-01-01T00:00:0{age}Z'}}\nspec: {spec}"
            )
        }));
        let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
        example::resolved(&objects).policies
    }

    pub(in crate::resolve) fn spec(section: &str, validation: &str) -> String {
        format!(
            "{{targetRefs: [{{group: '', kind: Service, name: shop{section}}}], \
             validation: {{hostname: shop.example.com, {validation}}}}}"
        )
    }

    pub(in crate::resolve) const GOOD: &str =
        "caCertificateRefs: [{group: '', kind: ConfigMap, name: authorities}]";

    fn holds(policies: &Policies, port: &str) -> Option<String> {
        let holder = policies.of(&ObjectKey::new("default", "shop"), Some(port));
        holder.map(|(key, _)| key.name.clone())
    }

    #[test]
    fn policy_of_a_port_comes_before_that_of_the_service() {
        let policies = policies(&[
            ("all", &spec("", GOOD)),
            ("web", &spec(", sectionName: web", GOOD)),
        ]);
        assert_eq!(holds(&policies, "web").as_deref(), Some("web"));
        assert_eq!(holds(&policies, "admin").as_deref(), Some("all"));
        assert!(
            policies
                .policies
                .values()
                .all(|policy| policy.refusals.is_empty())
        );
    }

    #[test]
    fn older_policy_holds_and_the_younger_one_is_conflicted() {
        let policies = policies(&[("older", &spec("", GOOD)), ("a-younger", &spec("", GOOD))]);
        assert_eq!(holds(&policies, "web").as_deref(), Some("older"));
        let younger = &policies.policies[&ObjectKey::new("default", "a-younger")];
        assert_eq!(
            younger.refusals,
            [Finding::new(
                PolicyRefusal::Conflicted,
                "BackendTLSPolicy default/older comes first for Service default/shop"
            )]
        );
    }

    #[test]
    fn port_that_the_service_does_not_have_is_named() {
        let policies = policies(&[("odd", &spec(", sectionName: wep", GOOD))]);
        let policy = &policies.policies[&ObjectKey::new("default", "odd")];
        assert_eq!(policy.refusals[0].reason, PolicyRefusal::TargetNotFound);
        assert_eq!(holds(&policies, "web"), None);
    }

    #[test]
    fn what_is_looked_for_is_needed() {
        let resolved = example::resolved(&[
            "kind: BackendTLSPolicy\nmetadata: {namespace: default, name: one}\n\
             spec: {targetRefs: [], validation: {hostname: a.b, caCertificateRefs: \
             [{group: '', kind: ConfigMap, name: gone}]}}",
        ]);
        assert!(
            resolved
                .needs
                .config_maps
                .contains(&ObjectKey::new("default", "gone"))
        );
    }
}
