//! Which route serves behind which listener.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    gateway::{Gateway, ListenerSet},
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
