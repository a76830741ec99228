//! Status of `BackendTLSPolicies`, at each Gateway that has one of their targets as a backend.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    condition::{Wanted, sentences},
    entries::{Entries, gateway_reference},
};
use crate::{
    api::{BackendObjectReference, BackendTlsPolicy, HttpRoute, HttpRouteFilter, PolicyStatus},
    config::Upstream,
    object::ObjectKey,
    options::Options,
    outcome::{Status, StatusChange},
    resolve::{self, BackendTarget, Resolved, backend_tls::Policy, route::Picking},
    snapshot::Snapshot,
};

/// Most entries that the API server takes in `status.ancestors`.
const MOST_ANCESTORS: usize = 16;

const OURS: &[&str] = &["Accepted", "ResolvedRefs"];

/// The `BackendTLSPolicies` whose status is another than it should be.
pub(super) fn changes(snapshot: &Snapshot, resolved: &Resolved, options: &Options) -> Vec<StatusChange> {
    if snapshot.backend_tls_policies.is_empty() {
        return Vec::new();
    }
    let gateways = gateways_by_service(snapshot, resolved);
    let changes = snapshot.backend_tls_policies.iter().filter_map(|(key, policy)| {
        let targets = policy.spec.target_refs.iter();
        let services =
            targets.filter(|target| (target.group.as_str(), target.kind.as_str()) == ("", "Service"));
        let services = services.map(|target| ObjectKey::new(&key.namespace, &target.name));
        let ancestors: BTreeSet<_> = services
            .filter_map(|service| gateways.get(&service))
            .flatten()
            .copied()
            .collect();
        let conditions = conditions(policy, resolved.policies.policies.get(key)?);
        let wanted = ancestors
            .into_iter()
            .map(|gateway| (gateway_reference(gateway), conditions.clone()));
        let entries = Entries {
            controller_name: &options.controller_name,
            types: OURS,
            generation: policy.metadata.generation,
            most: MOST_ANCESTORS,
        };
        let stored = policy.status.as_ref().map(|status| status.ancestors.as_slice());
        let ancestors = entries.changed(stored.unwrap_or_default(), wanted)?;
        let status = Status::BackendTlsPolicy(PolicyStatus { ancestors });
        StatusChange::to("BackendTLSPolicy", policy.as_ref(), status)
    });
    changes.collect()
}

/// The Gateways that send requests to a Service for their routes, or ask a picker there, by Service.
fn gateways_by_service<'a>(
    snapshot: &Snapshot,
    resolved: &'a Resolved,
) -> BTreeMap<ObjectKey, BTreeSet<&'a ObjectKey>> {
    let mut gateways = BTreeMap::<_, BTreeSet<_>>::new();
    for (gateway, listeners) in &resolved.attachments.http_routes {
        for route in listeners.iter().flatten() {
            let object = snapshot.http_routes.get(&route.key).into_iter();
            let services = object.flat_map(|object| services(object, &route.key.namespace));
            for service in services.chain(pickers(route)) {
                gateways.entry(service).or_default().insert(gateway);
            }
        }
    }
    gateways
}

fn services<'a>(route: &'a HttpRoute, own_namespace: &'a str) -> impl Iterator<Item = ObjectKey> {
    let rules = route.spec.rules.iter();
    let references = rules.flat_map(|rule| {
        let backends = rule.backend_refs.iter();
        let filters = rule
            .filters
            .iter()
            .chain(backends.clone().flat_map(|backend| &backend.filters));
        backends
            .map(|backend| &backend.backend_ref.reference)
            .chain(filters.filter_map(mirror))
    });
    let services = references.filter(|reference| (reference.group(), reference.kind()) == ("", "Service"));
    services.map(move |reference| {
        let namespace = reference.namespace.as_deref().unwrap_or(own_namespace);
        ObjectKey::new(namespace, &reference.name)
    })
}

/// The Services of pickers that the gateway asks on behalf of a route.
fn pickers(route: &resolve::HttpRoute) -> impl Iterator<Item = ObjectKey> {
    let backends = route.rules.iter().flat_map(|rule| &rule.backends);
    backends.filter_map(|backend| match &backend.target {
        BackendTarget::Pool {
            picking:
                Picking::ByPicker {
                    upstream:
                        Upstream::Service {
                            namespace, service, ..
                        },
                    ..
                },
            ..
        } => Some(ObjectKey::new(namespace, service)),
        _ => None,
    })
}

fn mirror(filter: &HttpRouteFilter) -> Option<&BackendObjectReference> {
    Some(&filter.request_mirror.as_ref()?.backend_ref)
}

/// What is said of a policy, the same at every Gateway.
fn conditions(object: &BackendTlsPolicy, policy: &Policy) -> Vec<Wanted> {
    let accepted = Wanted::refused("Accepted", &policy.refusals).unwrap_or_else(|| {
        let options = (!object.spec.options.is_empty()).then_some("spec.options has no effect");
        let message = sentences(["The policy is in effect"].into_iter().chain(options));
        Wanted::yes("Accepted", "Accepted", message)
    });
    let resolved = Wanted::refused("ResolvedRefs", &policy.unresolved).unwrap_or_else(|| {
        Wanted::yes(
            "ResolvedRefs",
            "ResolvedRefs",
            "All references lead to authorities.",
        )
    });
    vec![accepted, resolved]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        resolve::example::{GATEWAY, snapshot},
        status::example::{changes, status_of, summary},
    };

    const ROUTE: &str = "kind: HTTPRoute\nmetadata: {namespace: default, name: shop}\n\
                         spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: shop, port: 443}]}]}";

    fn policy(service: &str, stored: &str) -> String {
        format!(
            "kind: BackendTLSPolicy\nmetadata: {{namespace: default, name: shop}}\n\
             spec: {{targetRefs: [{{group: '', kind: Service, name: {service}}}], \
             validation: {{hostname: shop.example.com, wellKnownCACertificates: System}}}}\nstatus: {stored}"
        )
    }

    #[test]
    fn policy_for_a_backend_of_ours_is_accepted_at_its_gateway() {
        let snapshot = snapshot(&[GATEWAY, ROUTE, &policy("shop", "{}")]);
        let status = status_of(&snapshot, "BackendTLSPolicy", "default", "shop");
        let Status::BackendTlsPolicy(status) = status else {
            panic!("the status is that of a BackendTLSPolicy");
        };
        let ancestors: Vec<_> = status
            .ancestors
            .iter()
            .map(|entry| &entry.ancestor_ref.name)
            .collect();
        assert_eq!(ancestors, ["edge"]);
        assert_eq!(
            summary(&status.ancestors[0].conditions),
            ["Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs"]
        );
    }

    #[test]
    fn policy_that_cannot_be_in_effect_says_why() {
        let references = "caCertificateRefs: [{group: '', kind: ConfigMap, name: gone}]";
        let policy = policy("shop", "{}").replace("wellKnownCACertificates: System", references);
        let snapshot = snapshot(&[GATEWAY, ROUTE, &policy]);
        let Status::BackendTlsPolicy(status) = status_of(&snapshot, "BackendTLSPolicy", "default", "shop")
        else {
            panic!("the status is that of a BackendTLSPolicy");
        };
        assert_eq!(
            summary(&status.ancestors[0].conditions),
            [
                "Accepted=False/NoValidCACertificate",
                "ResolvedRefs=False/InvalidCACertificateRef"
            ]
        );
    }

    #[test]
    fn policy_for_a_mirror_of_ours_is_our_business() {
        let route = "kind: HTTPRoute\nmetadata: {namespace: default, name: shop}\n\
                     spec: {parentRefs: [{name: edge}], rules: [{filters: [{type: RequestMirror, \
                     requestMirror: {backendRef: {name: copy, port: 443}}}]}]}";
        let snapshot = snapshot(&[GATEWAY, route, &policy("copy", "{}")]);
        let changes = changes(&snapshot);
        assert!(changes.iter().any(|change| change.kind == "BackendTLSPolicy"));
    }

    #[test]
    fn policy_for_anything_else_is_none_of_our_business() {
        let snapshot = snapshot(&[GATEWAY, ROUTE, &policy("other", "{}")]);
        assert!(
            changes(&snapshot)
                .iter()
                .all(|change| change.kind != "BackendTLSPolicy")
        );
    }

    #[test]
    fn entries_of_others_stay_and_ours_that_are_over_go() {
        let entry = |controller: &str| {
            format!("{{ancestorRef: {{name: edge}}, controllerName: {controller}, conditions: []}}")
        };
        let (ours, theirs) = (
            entry("flotilla.dev/gateway-controller"),
            entry("example.com/other"),
        );
        let stored = format!("{{ancestors: [{ours}, {theirs}]}}");
        let snapshot = snapshot(&[GATEWAY, ROUTE, &policy("other", &stored)]);
        let status = status_of(&snapshot, "BackendTLSPolicy", "default", "shop");
        let Status::BackendTlsPolicy(status) = status else {
            panic!("the status is that of a BackendTLSPolicy");
        };
        let controllers: Vec<_> = status
            .ancestors
            .iter()
            .map(|entry| &entry.controller_name)
            .collect();
        assert_eq!(controllers, ["example.com/other"]);
    }
}
