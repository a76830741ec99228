//! Which route serves behind which listener.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    gateway::Gateway,
    listener_set::ListenerSet,
    mistake::Mistake,
    parent::{Applicant, Parents},
    route::HttpRoute,
};
use crate::{
    api::{ParentReference, Route},
    object::ObjectKey,
    snapshot::{Objects, Snapshot},
    syntax::Hostname,
};

/// What came of all routes' parent references.
#[derive(Debug, Default)]
pub struct Attachments {
    /// By Gateway, then by position in its `listeners`: the routes that serve there, each once.
    pub http_routes: BTreeMap<ObjectKey, Vec<Vec<Arc<HttpRoute>>>>,
    /// By kind and route: what those of its parents that are ours make of it, in the order of its `parentRefs`.
    verdicts: BTreeMap<&'static str, BTreeMap<ObjectKey, Vec<Attachment>>>,
}

/// What a parent of ours makes of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Position in the route's `parentRefs`.
    pub parent_ref: usize,
    /// Why the parent does not serve the route; `None` if it does.
    pub refusal: Option<Mistake>,
}

impl Attachments {
    /// What the parents that are ours make of a route of that kind, in the order of its `parentRefs`.
    #[must_use]
    pub fn of(&self, kind: &str, route: &ObjectKey) -> &[Attachment] {
        let verdicts = self.verdicts.get(kind).and_then(|routes| routes.get(route));
        verdicts.map(Vec::as_slice).unwrap_or_default()
    }

    /// How many routes are attached to the listener at that position of a Gateway.
    ///
    /// `attachedRoutes` of <https://gateway-api.sigs.k8s.io/reference/spec/#listenerstatus>: routes that are accepted,
    /// whether or not the listener serves. Routes of kinds that we do not serve are never accepted.
    #[must_use]
    pub fn attached_routes(&self, gateway: &ObjectKey, listener: usize) -> usize {
        let listeners = self.http_routes.get(gateway);
        listeners
            .and_then(|listeners| listeners.get(listener))
            .map_or(0, Vec::len)
    }

    fn record(&mut self, kind: &'static str, route: &ObjectKey, attachments: Vec<Attachment>) {
        if !attachments.is_empty() {
            self.verdicts
                .entry(kind)
                .or_default()
                .insert(route.clone(), attachments);
        }
    }
}

/// Attaches every route to the listeners that its parent references lead to.
#[must_use]
pub fn attach(
    snapshot: &Snapshot,
    gateways: &BTreeMap<ObjectKey, Gateway>,
    listener_sets: &BTreeMap<ObjectKey, ListenerSet>,
    http_routes: &BTreeMap<ObjectKey, Arc<HttpRoute>>,
) -> Attachments {
    let parents = Parents::new(snapshot, gateways, listener_sets);
    let mut attachments = Attachments::default();
    for (key, gateway) in gateways {
        attachments
            .http_routes
            .insert(key.clone(), vec![Vec::new(); gateway.listeners.len()]);
    }
    // Both have every route, in order of key.
    for (route, resolved) in snapshot.http_routes.values().zip(http_routes.values()) {
        attach_http_route(&mut attachments, &parents, &route.spec.parent_refs, resolved);
    }
    judge_unserved(&mut attachments, &parents, "GRPCRoute", &snapshot.grpc_routes);
    judge_unserved(&mut attachments, &parents, "TLSRoute", &snapshot.tls_routes);
    judge_unserved(&mut attachments, &parents, "TCPRoute", &snapshot.tcp_routes);
    judge_unserved(&mut attachments, &parents, "UDPRoute", &snapshot.udp_routes);
    attachments
}

fn attach_http_route(
    attachments: &mut Attachments,
    parents: &Parents<'_>,
    parent_refs: &[ParentReference],
    route: &Arc<HttpRoute>,
) {
    let applicant = Applicant {
        kind: "HTTPRoute",
        namespace: &route.key.namespace,
        hostnames: &route.hostnames,
    };
    let mut verdicts = Vec::with_capacity(parent_refs.len());
    // Several references may lead to one listener, behind which the route stands only once.
    let mut behind = BTreeSet::new();
    for (parent_ref, reference) in parent_refs.iter().enumerate() {
        let Some(parent) = parents.get(reference, &route.key.namespace) else {
            continue;
        };
        let refusal = match (parents.judge(parent, reference, &applicant), route.refusal()) {
            (Err(refusal), _) => Some(refusal),
            (Ok(_), Some(mistake)) => Some(mistake.clone()),
            (Ok(places), None) => {
                behind.extend(places.into_iter().map(|place| (place.gateway, place.position)));
                None
            }
        };
        verdicts.push(Attachment { parent_ref, refusal });
    }
    for (gateway, position) in behind {
        if let Some(listeners) = attachments.http_routes.get_mut(gateway) {
            listeners[position].push(Arc::clone(route));
        }
    }
    attachments.record("HTTPRoute", &route.key, verdicts);
}

/// Tells routes of a kind that we do not serve so, wherever a listener would let them in.
fn judge_unserved<K: Route>(
    attachments: &mut Attachments,
    parents: &Parents<'_>,
    kind: &'static str,
    routes: &Objects<K>,
) {
    for (key, route) in routes {
        let hostnames: Vec<Hostname> = route
            .hostnames()
            .iter()
            .filter_map(|name| Hostname::new(name))
            .collect();
        let applicant = Applicant {
            kind,
            namespace: &key.namespace,
            hostnames: &hostnames,
        };
        let mut verdicts = Vec::new();
        for (parent_ref, reference) in route.parent_refs().iter().enumerate() {
            let Some(parent) = parents.get(reference, &key.namespace) else {
                continue;
            };
            let unserved =
                || Mistake::unsupported("", format!("{kind} is not served by this version of Flotilla"));
            let refusal = parents
                .judge(parent, reference, &applicant)
                .err()
                .unwrap_or_else(unserved);
            verdicts.push(Attachment {
                parent_ref,
                refusal: Some(refusal),
            });
        }
        attachments.record(kind, key, verdicts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::{example::resolved, mistake::RouteReason};

    /// An `HTTPRoute` of that namespace and specification.
    fn route(namespace: &str, spec: &str) -> String {
        format!("{{kind: HTTPRoute, metadata: {{namespace: {namespace}, name: shop}}, spec: {{{spec}}}}}")
    }

    /// Positions of the listeners of `default/edge` that a route of that namespace attaches to, or why it does not.
    fn attached(namespace: &str, spec: &str) -> Result<Vec<usize>, RouteReason> {
        let resolved = resolved(&[&route(namespace, spec)]);
        let [attachment] = resolved
            .attachments
            .of("HTTPRoute", &ObjectKey::new(namespace, "shop"))
        else {
            panic!("one parent reference has one verdict")
        };
        match &attachment.refusal {
            Some(refusal) => Err(refusal.reason),
            None => Ok(behind(&resolved.attachments)),
        }
    }

    fn behind(attachments: &Attachments) -> Vec<usize> {
        let edge = ObjectKey::new("default", "edge");
        (0..3)
            .filter(|listener| attachments.attached_routes(&edge, *listener) == 1)
            .collect()
    }

    #[test]
    fn a_reference_to_a_gateway_leads_to_all_listeners_that_let_the_route_in() {
        assert_eq!(attached("default", "parentRefs: [{name: edge}]"), Ok(vec![0, 1]));
    }

    #[test]
    fn a_section_name_is_one_listener() {
        assert_eq!(
            attached("default", "parentRefs: [{name: edge, sectionName: open}]"),
            Ok(vec![1])
        );
    }

    #[test]
    fn an_empty_section_name_is_none() {
        assert_eq!(
            attached("default", "parentRefs: [{name: edge, sectionName: ''}]"),
            Ok(vec![0, 1])
        );
    }

    #[test]
    fn a_port_selects_listeners() {
        assert_eq!(
            attached("default", "parentRefs: [{name: edge, port: 80}]"),
            Ok(vec![0])
        );
    }

    #[test]
    fn section_name_and_port_must_both_fit() {
        let reference = "parentRefs: [{name: edge, sectionName: web, port: 8080}]";
        assert_eq!(attached("default", reference), Err(RouteReason::NoMatchingParent));
    }

    #[test]
    fn other_namespaces_attach_where_they_are_let_in() {
        assert_eq!(
            attached("other", "parentRefs: [{namespace: default, name: edge}]"),
            Ok(vec![1])
        );
        assert_eq!(
            attached(
                "other",
                "parentRefs: [{namespace: default, name: edge, sectionName: web}]"
            ),
            Err(RouteReason::NotAllowedByListeners)
        );
    }

    #[test]
    fn a_hostname_narrows_listeners() {
        assert_eq!(
            attached("default", "hostnames: [a.org], parentRefs: [{name: edge}]"),
            Ok(vec![1])
        );
        assert_eq!(
            attached(
                "default",
                "hostnames: [a.org, example.com], parentRefs: [{name: edge, sectionName: web}]"
            ),
            Err(RouteReason::NoMatchingListenerHostname)
        );
    }

    #[test]
    fn a_route_with_nothing_left_to_serve_is_not_attached() {
        let unserved = "parentRefs: [{name: edge}], rules: [{matches: [{path: {value: a}}]}]";
        assert_eq!(attached("default", unserved), Err(RouteReason::UnsupportedValue));
    }

    #[test]
    fn a_route_stands_once_behind_a_listener_that_several_references_lead_to() {
        let twice = route(
            "default",
            "parentRefs: [{name: edge}, {name: edge, sectionName: web}]",
        );
        let resolved = resolved(&[&twice]);
        assert_eq!(
            resolved
                .attachments
                .of("HTTPRoute", &ObjectKey::new("default", "shop"))
                .len(),
            2
        );
        assert_eq!(behind(&resolved.attachments), [0, 1]);
    }

    #[test]
    fn parents_of_others_are_not_judged() {
        let foreign = route(
            "default",
            "parentRefs: [{name: gone}, {kind: Service, group: '', name: edge}]",
        );
        let resolved = resolved(&[&foreign]);
        assert!(
            resolved
                .attachments
                .of("HTTPRoute", &ObjectKey::new("default", "shop"))
                .is_empty()
        );
    }

    #[test]
    fn a_listener_without_its_certificate_lets_routes_in() {
        let secure = "
            kind: Gateway
            metadata: {namespace: default, name: edge}
            spec:
              gatewayClassName: ours
              listeners: [{name: tls, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: gone}]}}]";
        let resolved = resolved(&[secure, &route("default", "parentRefs: [{name: edge}]")]);
        assert_eq!(behind(&resolved.attachments), [0]);
    }

    const LISTENER_SET: &str = "
kind: Gateway
metadata: {namespace: default, name: edge}
spec:
  gatewayClassName: ours
  allowedListeners: {namespaces: {from: All}}
  listeners: [{name: web, port: 80, protocol: HTTP}]
---
kind: ListenerSet
metadata: {namespace: team, name: more}
spec:
  parentRef: {namespace: default, name: edge}
  listeners: [{name: extra, port: 81, protocol: HTTP}]
";

    #[test]
    fn a_reference_to_a_listener_set_leads_to_its_listeners_only() {
        let route = route("team", "parentRefs: [{kind: ListenerSet, name: more}]");
        assert_eq!(behind(&resolved(&[LISTENER_SET, &route]).attachments), [1]);
    }

    #[test]
    fn a_reference_to_a_gateway_does_not_lead_to_listeners_of_its_listener_sets() {
        let all = route("default", "parentRefs: [{name: edge}]");
        assert_eq!(behind(&resolved(&[LISTENER_SET, &all]).attachments), [0]);
        let section = route("default", "parentRefs: [{name: edge, sectionName: extra}]");
        let resolved = resolved(&[LISTENER_SET, &section]);
        let verdicts = resolved
            .attachments
            .of("HTTPRoute", &ObjectKey::new("default", "shop"));
        let refusal = verdicts[0].refusal.as_ref().expect("a refusal");
        assert_eq!(refusal.reason, RouteReason::NoMatchingParent);
        assert_eq!(
            refusal.to_string(),
            "parentRefs: Gateway default/edge has no listener named \"extra\"; it has web:80"
        );
    }

    #[test]
    fn routes_of_kinds_that_are_not_served_are_told_so() {
        let grpc =
            "{kind: GRPCRoute, metadata: {namespace: default, name: g}, spec: {parentRefs: [{name: edge}]}}";
        let udp = "{kind: UDPRoute, metadata: {namespace: default, name: u}, spec: {parentRefs: [{name: edge}], rules: []}}";
        let resolved = resolved(&[grpc, udp]);
        let reason = |kind, name| {
            let verdicts = resolved.attachments.of(kind, &ObjectKey::new("default", name));
            verdicts[0].refusal.as_ref().map(|refusal| refusal.reason)
        };
        assert_eq!(reason("GRPCRoute", "g"), Some(RouteReason::UnsupportedValue));
        assert_eq!(reason("UDPRoute", "u"), Some(RouteReason::NotAllowedByListeners));
    }
}
