//! `BackendTLSPolicies`: how backends are spoken TLS to.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    certificate,
    finding::{Finding, reasons},
    grant::{Grants, Referrer},
    lookup::{Dangling, Lookup},
};
use crate::{
    api::{
        BackendTlsPolicy, BackendTlsPolicyValidation, ObjectReference, Service, SubjectAltName,
        SubjectAltNameType, WellKnownCaCertificatesType,
    },
    config::{BackendTls, Verification},
    object::{ObjectKey, created},
    outcome::Needs,
    snapshot::Snapshot,
    syntax::Hostname,
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
            let mut policy = resolve(&mut lookup, key, object);
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

fn resolve(lookup: &mut Lookup<'_>, key: &ObjectKey, policy: &BackendTlsPolicy) -> Policy {
    let BackendTlsPolicyValidation {
        ca_certificate_refs,
        well_known_ca_certificates,
        hostname,
        subject_alt_names,
    } = &policy.spec.validation;
    let mut refusals = Vec::new();
    let mut unresolved = Vec::new();
    let mut refuse = |reason, message: String| {
        refusals.push(Finding::new(reason, format!("spec.validation.{message}")));
    };
    if Hostname::new(hostname).is_none_or(|hostname| hostname.is_wildcard()) {
        refuse(
            PolicyRefusal::Invalid,
            format!("hostname is {hostname:?}; it has to be the one DNS name that is asked for"),
        );
    }
    let (hostnames, uris) = match names(subject_alt_names) {
        Ok(names) => names,
        Err(message) => {
            refuse(PolicyRefusal::Invalid, message);
            Default::default()
        }
    };
    let mut authorities = None;
    match (ca_certificate_refs.as_slice(), well_known_ca_certificates) {
        ([], Some(WellKnownCaCertificatesType::System)) => {}
        ([], Some(WellKnownCaCertificatesType::Unknown(other))) => refuse(
            PolicyRefusal::Invalid,
            format!("wellKnownCACertificates is {other:?}; it can be System"),
        ),
        ([], None) => refuse(
            PolicyRefusal::Invalid,
            "caCertificateRefs is empty; name the authorities, or say wellKnownCACertificates: System"
                .to_owned(),
        ),
        (_, Some(_)) => refuse(
            PolicyRefusal::Invalid,
            "wellKnownCACertificates cannot be given beside caCertificateRefs; remove one of them".to_owned(),
        ),
        (references, None) => {
            let from = Referrer::gateway_api("BackendTLSPolicy", &key.namespace);
            let mut pem = String::new();
            for (index, reference) in references.iter().enumerate() {
                let reference = ObjectReference {
                    group: reference.group.clone(),
                    kind: reference.kind.clone(),
                    name: reference.name.clone(),
                    namespace: None,
                };
                let entry = lookup.authorities(from, &reference);
                match entry.and_then(|entry| certificate::authorities(&entry)) {
                    Ok(certificates) => pem += &certificates,
                    Err(dangling) => unresolved.push(finding(index, dangling)),
                }
            }
            if pem.is_empty() {
                let message = "caCertificateRefs: none can be used, so no backend could be verified";
                refuse(PolicyRefusal::NoValidCaCertificate, message.to_owned());
            }
            authorities = Some(pem);
        }
    }
    let tls = refusals.is_empty().then(|| BackendTls {
        server_name: hostname.clone(),
        verification: Some(Verification {
            authorities,
            hostnames,
            uris,
        }),
        client_certificate: None,
    });
    Policy {
        tls: tls.map(Arc::new),
        refusals,
        unresolved,
    }
}

/// Hostnames and URIs of which a certificate must hold one.
fn names(wanted: &[SubjectAltName]) -> Result<(Vec<String>, Vec<String>), String> {
    let (mut hostnames, mut uris) = (Vec::new(), Vec::new());
    for (index, name) in wanted.iter().enumerate() {
        let SubjectAltName {
            r#type,
            hostname,
            uri,
        } = name;
        match (r#type, hostname.as_deref(), uri.as_deref()) {
            (SubjectAltNameType::Hostname, Some(hostname), None | Some(""))
                if Hostname::new(hostname).is_some() =>
            {
                hostnames.push(hostname.to_owned());
            }
            (SubjectAltNameType::Uri, None | Some(""), Some(uri)) if uri.contains(':') => {
                uris.push(uri.to_owned());
            }
            _ => {
                return Err(format!(
                    "subjectAltNames[{index}] has to be of type Hostname with a hostname, or of type URI with a uri"
                ));
            }
        }
    }
    Ok((hostnames, uris))
}

fn finding(index: usize, dangling: Dangling) -> Finding<PolicyReference> {
    let (reason, message) = match dangling {
        Dangling::WrongKind(message) => (PolicyReference::InvalidKind, message),
        Dangling::NotPermitted(message) | Dangling::Invalid(message) => {
            (PolicyReference::InvalidCaCertificateRef, message)
        }
    };
    Finding::new(
        reason,
        format!("spec.validation.caCertificateRefs[{index}]: {message}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::{certificate::tests::issue, example};

    /// What becomes of policies `default/NAME` with these specifications, beside a Service `shop` with the ports `web`
    /// and `admin` and a `ConfigMap` `authorities`; the further down, the younger.
    fn policies(specs: &[(&str, &str)]) -> Policies {
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

    fn spec(section: &str, validation: &str) -> String {
        format!(
            "{{targetRefs: [{{group: '', kind: Service, name: shop{section}}}], \
             validation: {{hostname: shop.example.com, {validation}}}}}"
        )
    }

    const GOOD: &str = "caCertificateRefs: [{group: '', kind: ConfigMap, name: authorities}]";

    fn holds(policies: &Policies, port: &str) -> Option<String> {
        let holder = policies.of(&ObjectKey::new("default", "shop"), Some(port));
        holder.map(|(key, _)| key.name.clone())
    }

    fn refusals(validation: &str) -> Vec<(PolicyRefusal, String)> {
        let policies = policies(&[("one", &spec("", validation))]);
        let policy = &policies.policies[&ObjectKey::new("default", "one")];
        assert_eq!(policy.tls.is_none(), !policy.refusals.is_empty());
        let refusals = policy.refusals.iter();
        refusals
            .map(|refusal| (refusal.reason, refusal.message.clone()))
            .collect()
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
    fn references_that_lead_nowhere_leave_nobody_to_trust() {
        for (reference, reason) in [
            (
                "{group: '', kind: ConfigMap, name: gone}",
                PolicyReference::InvalidCaCertificateRef,
            ),
            (
                "{group: '', kind: Bucket, name: authorities}",
                PolicyReference::InvalidKind,
            ),
        ] {
            let policies = policies(&[("one", &spec("", &format!("caCertificateRefs: [{reference}]")))]);
            let policy = &policies.policies[&ObjectKey::new("default", "one")];
            assert!(policy.tls.is_none());
            assert_eq!(policy.refusals[0].reason, PolicyRefusal::NoValidCaCertificate);
            assert_eq!(policy.unresolved[0].reason, reason);
        }
    }

    #[test]
    fn one_good_reference_is_enough_to_verify() {
        let references = "caCertificateRefs: [{group: '', kind: ConfigMap, name: gone}, \
                          {group: '', kind: ConfigMap, name: authorities}]";
        assert_eq!(refusals(references), []);
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

    #[test]
    fn settings_that_make_no_sense_are_refused_with_their_field() {
        for (validation, message) in [
            (
                "caCertificateRefs: []",
                "spec.validation.caCertificateRefs is empty",
            ),
            (
                "wellKnownCACertificates: Mine",
                "spec.validation.wellKnownCACertificates is \"Mine\"; it can be System",
            ),
            (
                "wellKnownCACertificates: System, caCertificateRefs: [{group: '', kind: ConfigMap, name: a}]",
                "spec.validation.wellKnownCACertificates cannot be given beside",
            ),
            (
                "wellKnownCACertificates: System, subjectAltNames: [{type: Hostname, uri: 'a:b'}]",
                "spec.validation.subjectAltNames[0] has to be",
            ),
            (
                "wellKnownCACertificates: System, subjectAltNames: [{type: Email}]",
                "spec.validation.subjectAltNames[0] has to be",
            ),
        ] {
            let refusals = refusals(validation);
            assert_eq!(refusals[0].0, PolicyRefusal::Invalid, "{validation}");
            assert!(refusals[0].1.starts_with(message), "{refusals:?}");
        }
    }

    #[test]
    fn alternative_names_take_the_place_of_the_hostname() {
        let policies = policies(&[(
            "one",
            &spec(
                "",
                "wellKnownCACertificates: System, subjectAltNames: \
                 [{type: URI, uri: 'spiffe://shop'}, {type: Hostname, hostname: '*.example.com'}]",
            ),
        )]);
        let tls = policies.policies[&ObjectKey::new("default", "one")]
            .tls
            .as_deref();
        let expected = BackendTls {
            server_name: "shop.example.com".to_owned(),
            verification: Some(Verification {
                authorities: None,
                hostnames: vec!["*.example.com".to_owned()],
                uris: vec!["spiffe://shop".to_owned()],
            }),
            client_certificate: None,
        };
        assert_eq!(tls, Some(&expected));
    }
}
