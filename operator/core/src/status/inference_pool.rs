//! What is said about `InferencePool`s, one entry for each Gateway whose routes lead there: ours go with the last route
//! (<https://gateway-api-inference-extension.sigs.k8s.io/reference/spec/#inferencepoolstatus>).

use std::collections::BTreeMap;

use super::{
    condition::{Wanted, sentences},
    entries::{Entries, gateway_reference},
    picker_refusal::picker_refusal,
};
use crate::{
    api::{HttpRoute, INFERENCE_GROUP, InferencePoolStatus, ParentReference},
    object::ObjectKey,
    observed::Observed,
    options::Options,
    outcome::{Status, StatusChange},
    resolve::{
        Attachment, Resolved,
        finding::Reason as _,
        grant::{Grants, Referent, Referrer},
        inference::Pool,
        route::Picking,
    },
    snapshot::Snapshot,
};

/// Types of the conditions that are ours.
const TYPES: [&str; 2] = ["Accepted", "ResolvedRefs"];

/// Most entries that the API server takes in `status.parents`.
const MOST_PARENTS: usize = 32;

/// By Gateway, whether a route that leads from there to a pool is accepted.
type Parents<'a> = BTreeMap<&'a ObjectKey, bool>;

/// The `InferencePool`s whose status is another than it should be.
pub(super) fn changes(
    snapshot: &Snapshot,
    resolved: &Resolved,
    observed: &Observed,
    options: &Options,
) -> Vec<StatusChange> {
    if snapshot.inference_pools.is_empty() {
        return Vec::new();
    }
    let mut parents = parents_by_pool(snapshot, resolved);
    let changes = snapshot.inference_pools.iter().filter_map(|(key, object)| {
        let pool = resolved.inference_pools.get(key)?;
        let parents = parents.remove(key).unwrap_or_default();
        let wanted = parents.iter().map(|(gateway, accepted)| {
            let refusal = picker_refusal(observed.gateways.get(*gateway), pool, resolved);
            let conditions = vec![
                accepted_condition(pool, gateway, *accepted),
                refusal.unwrap_or_else(|| resolved_refs(pool)),
            ];
            (gateway_reference(gateway), conditions)
        });
        let entries = Entries {
            controller_name: &options.controller_name,
            types: &TYPES,
            generation: object.metadata.generation,
            most: MOST_PARENTS,
        };
        let stored = object.status.as_ref().map(|status| status.parents.as_slice());
        let parents = entries.changed(stored.unwrap_or_default(), wanted)?;
        let status = Status::InferencePool(InferencePoolStatus { parents });
        StatusChange::to("InferencePool", object.as_ref(), status)
    });
    changes.collect()
}

/// The Gateways from which routes lead to each pool.
fn parents_by_pool<'a>(snapshot: &'a Snapshot, resolved: &'a Resolved) -> BTreeMap<ObjectKey, Parents<'a>> {
    let grants = Grants::new(snapshot);
    let mut parents = BTreeMap::<ObjectKey, Parents<'_>>::new();
    for (key, route) in &snapshot.http_routes {
        for pool in pools(route, &key.namespace, &grants) {
            for Attachment { parent_ref, refusal } in resolved.attachments.of("HTTPRoute", key) {
                let parent = &route.spec.parent_refs[*parent_ref];
                if let Some(gateway) = gateway(resolved, parent, &key.namespace) {
                    let accepted = parents
                        .entry(pool.clone())
                        .or_default()
                        .entry(gateway)
                        .or_default();
                    *accepted |= refusal.is_none();
                }
            }
        }
    }
    parents
}

/// The pools that a route sends requests to, as far as it may.
fn pools<'a>(
    route: &'a HttpRoute,
    own_namespace: &'a str,
    grants: &'a Grants<'_>,
) -> impl Iterator<Item = ObjectKey> + 'a {
    let rules = route.spec.rules.iter();
    let backends = rules.flat_map(|rule| &rule.backend_refs);
    let references = backends.map(|backend| &backend.backend_ref.reference);
    let pools = references
        .filter(|reference| (reference.group(), reference.kind()) == (INFERENCE_GROUP, "InferencePool"));
    pools.filter_map(move |reference| {
        let namespace = reference.namespace.as_deref().unwrap_or(own_namespace);
        let to = Referent {
            group: INFERENCE_GROUP,
            kind: "InferencePool",
            namespace,
            name: &reference.name,
        };
        let from = Referrer::gateway_api("HTTPRoute", own_namespace);
        grants
            .permits(from, to)
            .then(|| ObjectKey::new(namespace, &reference.name))
    })
}

/// The Gateway that a reference to a parent of ours leads to, be it by way of a `ListenerSet`.
fn gateway<'a>(
    resolved: &'a Resolved,
    parent: &ParentReference,
    own_namespace: &str,
) -> Option<&'a ObjectKey> {
    let key = ObjectKey::new(parent.namespace.as_deref().unwrap_or(own_namespace), &parent.name);
    if parent.kind() == "ListenerSet" {
        return resolved.listener_sets.get(&key).map(|set| &set.gateway);
    }
    resolved.gateways.get(&key).map(|gateway| &gateway.key)
}

fn accepted_condition(pool: &Pool, gateway: &ObjectKey, accepted: bool) -> Wanted {
    if let Some(refused) = Wanted::refused("Accepted", &pool.unsupported) {
        return refused;
    }
    if accepted {
        Wanted::yes(
            "Accepted",
            "Accepted",
            format!("Gateway {gateway} sends requests to the pool."),
        )
    } else {
        let message = format!(
            "Gateway {gateway} accepts none of the HTTPRoutes that lead to the pool; their statuses say why."
        );
        Wanted::no("Accepted", "HTTPRouteNotAccepted", message)
    }
}

fn resolved_refs(pool: &Pool) -> Wanted {
    if let Some(finding) = &pool.picker {
        let consequence = match &pool.picking {
            Picking::ByPicker { fail_open: false, .. } => "Requests are answered with 503",
            _ => "Requests go to the endpoint with the fewest in flight",
        };
        let message = sentences([finding.message.as_str(), consequence]);
        return Wanted::no("ResolvedRefs", finding.reason.as_str(), message);
    }
    let message = match &pool.picking {
        Picking::ByGateway => {
            "The pool has no endpoint picker; requests go to the endpoint with the fewest in flight."
                .to_owned()
        }
        Picking::ByPicker { upstream, tls, .. } => {
            let how = match tls.as_ref().map(|tls| &tls.verification) {
                None => "in plain text",
                Some(None) => "over TLS, whatever its certificate",
                Some(Some(_)) => "over TLS with a certificate that is verified",
            };
            format!("The endpoint picker is {upstream}, asked {how}.")
        }
    };
    Wanted::yes("ResolvedRefs", "ResolvedRefs", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{GATEWAY_GROUP, InferencePoolParentStatus},
        resolve::example::{GATEWAY, snapshot},
        status::example::summary,
    };

    /// A pool at generation 3 with this reference to a picker, and this stored status.
    fn pool(picker: &str, stored: &str) -> String {
        format!(
            "{{kind: InferencePool, metadata: {{namespace: default, name: llama, generation: 3, resourceVersion: '42'}}, \
             spec: {{selector: {{}}, targetPorts: [{{number: 8000}}]{picker}}}, status: {stored}}}"
        )
    }

    /// A route to the pool with these fields of its specification and these of its reference.
    fn route(namespace: &str, spec: &str, reference: &str) -> String {
        format!(
            "{{kind: HTTPRoute, metadata: {{namespace: {namespace}, name: chat}}, spec: {{{spec}, rules: [{{backendRefs: \
             [{{group: inference.networking.k8s.io, kind: InferencePool, name: llama{reference}}}]}}]}}}}"
        )
    }

    const TO_EDGE: &str = "parentRefs: [{name: edge}]";

    /// The entries that the pool's status is to have; `None` if it is not to change.
    fn parents(documents: &[&str]) -> Option<Vec<InferencePoolParentStatus>> {
        let snapshot = snapshot(&[&[GATEWAY], documents].concat());
        let options = Options::default();
        let resolved = crate::resolve::resolve(&snapshot, &Observed::default(), &options);
        let change = changes(&snapshot, &resolved, &Observed::default(), &options).pop()?;
        assert_eq!(change.resource_version.as_deref(), Some("42"));
        match change.status {
            Status::InferencePool(status) => Some(status.parents),
            other => panic!("a pool has no status like {other:?}"),
        }
    }

    /// The conditions of the only entry.
    fn conditions(documents: &[&str]) -> Vec<String> {
        let parents = parents(documents).expect("the status changes");
        assert_eq!(parents.len(), 1, "{parents:?}");
        summary(&parents[0].conditions)
    }

    #[test]
    fn each_gateway_whose_routes_lead_there_is_a_parent_at_the_pools_generation() {
        let parents = parents(&[&pool("", "{}"), &route("default", TO_EDGE, "")]).expect("a change");
        let [parent] = &parents[..] else {
            panic!("one Gateway is one parent")
        };
        assert_eq!(
            serde_json::to_value(&parent.parent_ref).expect("a reference is JSON"),
            serde_json::json!({"group": GATEWAY_GROUP, "kind": "Gateway", "namespace": "default", "name": "edge"})
        );
        assert_eq!(parent.controller_name.as_deref(), Some(Options::CONTROLLER_NAME));
        assert_eq!(
            summary(&parent.conditions),
            ["Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs"]
        );
        let generations = parent
            .conditions
            .iter()
            .map(|condition| condition.observed_generation);
        assert!(generations.into_iter().all(|generation| generation == Some(3)));
    }

    #[test]
    fn what_is_stored_already_is_not_written_again() {
        let route = route("default", TO_EDGE, "");
        let first = parents(&[&pool("", "{}"), &route]).expect("a change");
        let foreign =
            r#"{"parentRef": {"name": "edge"}, "controllerName": "example.com/other", "conditions": []}"#;
        let ours = serde_json::to_string(&first[0]).expect("an entry is JSON");
        let stored = format!("{{parents: [{ours}, {foreign}]}}");
        assert_eq!(parents(&[&pool("", &stored), &route]), None);
    }

    #[test]
    fn a_missing_picker_is_said_on_the_pool() {
        let picker = ", endpointPickerRef: {name: gone, port: {number: 9002}}";
        assert_eq!(
            conditions(&[&pool(picker, "{}"), &route("default", TO_EDGE, "")]),
            ["Accepted=True/Accepted", "ResolvedRefs=False/InvalidExtensionRef"]
        );
    }

    #[test]
    fn entries_go_with_the_last_route_and_those_of_others_stay() {
        let entry = |controller: &str| {
            format!(
                "{{parentRef: {{group: {GATEWAY_GROUP}, kind: Gateway, namespace: default, name: edge}}, \
                 {controller} conditions: []}}"
            )
        };
        let (foreign, anonymous) = (entry("controllerName: example.com/other,"), entry(""));
        let ours = entry(&format!("controllerName: {},", Options::CONTROLLER_NAME));
        let stored = format!("{{parents: [{ours}, {foreign}, {anonymous}]}}");
        let parents = parents(&[&pool("", &stored)]).expect("a change");
        let controllers: Vec<_> = parents
            .iter()
            .map(|entry| entry.controller_name.as_deref())
            .collect();
        assert_eq!(controllers, [Some("example.com/other"), None]);
        let last = self::parents(&[&pool("", &format!("{{parents: [{ours}]}}"))]);
        assert_eq!(last, Some(Vec::new()));
    }

    #[test]
    fn a_pool_without_routes_is_left_alone() {
        assert_eq!(parents(&[&pool("", "{}")]), None);
        let elsewhere = route("default", "parentRefs: [{name: elsewhere}]", "");
        assert_eq!(parents(&[&pool("", "{}"), &elsewhere]), None);
    }

    #[test]
    fn a_route_that_the_gateway_does_not_accept_is_said_on_the_pool() {
        let refused = route("default", "parentRefs: [{name: edge, sectionName: none}]", "");
        assert_eq!(
            conditions(&[&pool("", "{}"), &refused])[0],
            "Accepted=False/HTTPRouteNotAccepted"
        );
    }

    #[test]
    fn a_route_of_another_namespace_counts_where_the_pools_namespace_grants_it() {
        let spec = "parentRefs: [{namespace: default, name: edge, sectionName: open}]";
        let route = route("team", spec, ", namespace: default");
        let pool = pool("", "{}");
        assert_eq!(parents(&[&pool, &route]), None);
        let grant = "
            kind: ReferenceGrant
            metadata: {namespace: default, name: team}
            spec:
              from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: team}]
              to: [{group: inference.networking.k8s.io, kind: InferencePool}]";
        assert_eq!(conditions(&[&pool, &route, grant])[0], "Accepted=True/Accepted");
    }

    #[test]
    fn a_listener_set_leads_to_its_gateway() {
        let listener_set = "
kind: Gateway
metadata: {namespace: default, name: edge}
spec:
  gatewayClassName: ours
  allowedListeners: {namespaces: {from: All}}
  listeners: [{name: web, port: 80, protocol: HTTP}]
---
kind: ListenerSet
metadata: {namespace: default, name: more}
spec:
  parentRef: {name: edge}
  listeners: [{name: extra, port: 81, protocol: HTTP}]";
        let route = route("default", "parentRefs: [{kind: ListenerSet, name: more}]", "");
        let parents = parents(&[listener_set, &pool("", "{}"), &route]).expect("a change");
        assert_eq!(parents[0].parent_ref.name, "edge");
    }
}
