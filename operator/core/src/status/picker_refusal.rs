//! Endpoint pickers that a Gateway does not speak with, as its agents report it: their TLS is not what was asked for.

use std::sync::Arc;

use super::condition::{Wanted, sentences};
use crate::{
    config::{BackendTls, Upstream},
    object::ObjectKey,
    observed::{ObservedGateway, RefusedPicker},
    resolve::{
        Resolved,
        finding::Reason as _,
        inference::{Pool, PoolReason},
        route::Picking,
    },
    syntax::Id,
};

/// The `ResolvedRefs` of a pool at a Gateway that refuses its picker, with what is wrong and what to do about it; `None`
/// if it does not.
pub(super) fn picker_refusal(
    gateway: Option<&ObservedGateway>,
    pool: &Pool,
    resolved: &Resolved,
) -> Option<Wanted> {
    let Picking::ByPicker {
        upstream,
        tls: Some(tls),
        fail_open,
        one_leads: _,
    } = &pool.picking
    else {
        return None;
    };
    let Upstream::Service {
        namespace, service, ..
    } = upstream
    else {
        return None;
    };
    let domain = Upstream::domain(Id::of(upstream));
    let mut refused = gateway?
        .instances
        .values()
        .flat_map(|instance| &instance.refused_pickers);
    let refused = refused.find(|refused| refused.domain == domain && refused.tls == **tls)?;
    let problem = problem(refused, &ObjectKey::new(namespace, service), tls, resolved);
    let consequence = if *fail_open {
        "It is not asked until then, and without another one requests go to the endpoint with the fewest in flight"
    } else {
        "It is not asked until then, and without another one requests are answered with 503"
    };
    let message = sentences([problem.as_str(), consequence]);
    Some(Wanted::no(
        "ResolvedRefs",
        PoolReason::InvalidExtensionRef.as_str(),
        message,
    ))
}

/// What is wrong with the picker behind a Service, by who asks for what.
fn problem(
    refused: &RefusedPicker,
    service: &ObjectKey,
    tls: &Arc<BackendTls>,
    resolved: &Resolved,
) -> String {
    let RefusedPicker { address, reason, .. } = refused;
    let mut policies = resolved.policies.policies.iter();
    let policy = policies.find(|(_, policy)| policy.tls.as_ref().is_some_and(|its| Arc::ptr_eq(its, tls)));
    let told = match policy {
        Some((policy, _)) => format!(
            "does not show what spec.validation of BackendTLSPolicy {policy} asks for ({reason}); correct either of them"
        ),
        None if tls.verification.is_some() => format!(
            "does not show the certificate of EndpointPicker {service} ({reason}); have it serve what Secret {service} \
             holds"
        ),
        None => format!(
            "does not speak TLS ({reason}); if it speaks plain text, set appProtocol of that port of Service {service} \
             to kubernetes.io/h2c"
        ),
    };
    format!("spec.endpointPickerRef.name: the picker at {address} {told}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        observed::{Instance, Observed},
        options::Options,
        resolve::{example::snapshot, resolve},
    };

    const POOL: &str = "
        kind: InferencePool
        metadata: {namespace: models, name: llama}
        spec: {selector: {}, targetPorts: [{number: 8000}], endpointPickerRef: {name: picker, port: {number: 9002}}}";

    const SERVICE: &str = "
        kind: Service
        metadata: {namespace: models, name: picker}
        spec: {ports: [{port: 9002}]}";

    const POLICY: &str = "
        kind: BackendTLSPolicy
        metadata: {namespace: models, name: strict}
        spec:
          targetRefs: [{group: '', kind: Service, name: picker}]
          validation: {hostname: picker.example, wellKnownCACertificates: System}";

    const OURS: &str = "{kind: EndpointPicker, metadata: {namespace: models, name: picker}, spec: {}}";

    /// What is said of the pool beside these objects when an agent refuses the picker of this port, when it was
    /// asked for by this name.
    fn said(others: &[&str], port: u16, server_name: Option<&str>) -> Option<String> {
        let upstream = Upstream::Service {
            namespace: "models".to_owned(),
            service: "picker".to_owned(),
            port,
        };
        let observed = Observed {
            authorities: "ours".to_owned(),
            ..Observed::default()
        };
        let snapshot = snapshot(&[&[POOL, SERVICE], others].concat());
        let resolved = resolve(&snapshot, &observed, &Options::default());
        let pool = &resolved.inference_pools[&ObjectKey::new("models", "llama")];
        let Picking::ByPicker { tls: Some(tls), .. } = &pool.picking else {
            panic!("{pool:?} has no picker over TLS")
        };
        let tls = BackendTls {
            server_name: server_name.unwrap_or(&tls.server_name).to_owned(),
            ..BackendTls::clone(tls)
        };
        let refused = RefusedPicker {
            domain: Upstream::domain(Id::of(&upstream)),
            tls,
            address: "198.18.0.1:9002".to_owned(),
            reason: "invalid peer certificate: UnknownIssuer".to_owned(),
        };
        let instance = Instance {
            refused_pickers: vec![refused],
            ..Instance::default()
        };
        let gateway = ObservedGateway {
            instances: BTreeMap::from([
                ("well".to_owned(), Instance::default()),
                ("edge".to_owned(), instance),
            ]),
            ..ObservedGateway::default()
        };
        assert_eq!(picker_refusal(None, pool, &resolved), None);
        picker_refusal(Some(&gateway), pool, &resolved).map(|wanted| wanted.message)
    }

    #[test]
    fn a_refused_picker_is_said_with_who_asks_for_its_certificate() {
        for (others, told) in [
            (
                &[POLICY][..],
                "does not show what spec.validation of BackendTLSPolicy models/strict asks for (invalid peer \
                 certificate: UnknownIssuer); correct either of them",
            ),
            (
                &[OURS],
                "does not show the certificate of EndpointPicker models/picker (invalid",
            ),
            (&[], "does not speak TLS (invalid"),
        ] {
            let said = said(others, 9002, None).expect("it is said");
            let expected = format!("spec.endpointPickerRef.name: the picker at 198.18.0.1:9002 {told}");
            assert!(said.starts_with(&expected), "{said}");
            assert!(
                said.ends_with("without another one requests are answered with 503."),
                "{said}"
            );
        }
    }

    #[test]
    fn pickers_of_other_pools_are_not_meant() {
        assert_eq!(said(&[POLICY], 9003, None), None);
    }

    #[test]
    fn a_picker_that_is_asked_in_another_way_by_now_is_not_meant() {
        assert_eq!(said(&[POLICY], 9002, Some("earlier.example")), None);
    }
}
