//! What one policy asks of a backend's certificate.

use std::sync::Arc;

use super::{Policy, PolicyReference, PolicyRefusal};
use crate::{
    api::{
        BackendTlsPolicy, BackendTlsPolicyValidation, ObjectReference, SubjectAltName, SubjectAltNameType,
        WellKnownCaCertificatesType,
    },
    config::{BackendTls, Verification},
    object::ObjectKey,
    resolve::{
        certificate,
        finding::Finding,
        grant::Referrer,
        lookup::{Dangling, Lookup},
    },
    syntax::Hostname,
};

/// What a policy comes to, whatever its targets are.
pub(super) fn resolve(lookup: &mut Lookup<'_>, key: &ObjectKey, policy: &BackendTlsPolicy) -> Policy {
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
    use crate::resolve::backend_tls::tests::{policies, spec};

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
