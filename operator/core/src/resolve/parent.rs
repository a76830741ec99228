//! Parents of routes, and whom they let in.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    gateway::Gateway,
    listener::{Listener, ListenerOwner},
    listener_set::ListenerSet,
    mistake::{Mistake, RouteReason, quoted},
};
use crate::{
    api::{GATEWAY_GROUP, ParentReference, ProtocolType},
    object::ObjectKey,
    snapshot::Snapshot,
    syntax::Hostname,
};

/// Every parent of ours that routes can refer to.
pub(super) struct Parents<'a> {
    snapshot: &'a Snapshot,
    gateways: BTreeMap<&'a ObjectKey, Parent<'a>>,
    listener_sets: BTreeMap<&'a ObjectKey, Parent<'a>>,
}

/// A Gateway or a `ListenerSet`, with its own listeners and no others.
pub(super) struct Parent<'a> {
    kind: &'static str,
    key: &'a ObjectKey,
    listeners: Vec<Place<'a>>,
}

/// A listener and where it is.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The Gateway that serves it.
    pub(super) gateway: &'a ObjectKey,
    /// Its position in the Gateway's `listeners`.
    pub(super) position: usize,
    listener: &'a Listener,
}

/// A route that asks to be let in.
pub(super) struct Applicant<'a> {
    /// Such as `HTTPRoute`.
    pub(super) kind: &'static str,
    /// Namespace of the route.
    pub(super) namespace: &'a str,
    /// Hostnames of the route; empty for all that the listener has.
    pub(super) hostnames: &'a [Hostname],
}

impl<'a> Parents<'a> {
    /// The parents among Gateways and `ListenerSet`s of ours.
    pub(super) fn new(
        snapshot: &'a Snapshot,
        gateways: &'a BTreeMap<ObjectKey, Gateway>,
        listener_sets: &'a BTreeMap<ObjectKey, ListenerSet>,
    ) -> Self {
        let mut parents = Self {
            snapshot,
            gateways: BTreeMap::new(),
            listener_sets: BTreeMap::new(),
        };
        for key in listener_sets.keys() {
            parents.listener_sets.insert(
                key,
                Parent {
                    kind: "ListenerSet",
                    key,
                    listeners: Vec::new(),
                },
            );
        }
        for (key, gateway) in gateways {
            let mut own = Vec::new();
            for (position, listener) in gateway.listeners.iter().enumerate() {
                let place = Place {
                    gateway: key,
                    position,
                    listener,
                };
                match &listener.owner {
                    ListenerOwner::Gateway => own.push(place),
                    ListenerOwner::ListenerSet(owner) => {
                        parents
                            .listener_sets
                            .entry(owner)
                            .and_modify(|parent| parent.listeners.push(place));
                    }
                }
            }
            parents.gateways.insert(
                key,
                Parent {
                    kind: "Gateway",
                    key,
                    listeners: own,
                },
            );
        }
        parents
    }

    /// The parent that a route in `namespace` refers to; `None` if it is not ours.
    pub(super) fn get(&self, reference: &ParentReference, namespace: &str) -> Option<&Parent<'a>> {
        let parents = match (reference.group(), reference.kind()) {
            (GATEWAY_GROUP, "Gateway") => &self.gateways,
            (GATEWAY_GROUP, "ListenerSet") => &self.listener_sets,
            _ => return None,
        };
        parents.get(&ObjectKey::new(
            reference.namespace.as_deref().unwrap_or(namespace),
            reference.name.as_str(),
        ))
    }

    /// The listeners of a parent that let a route in, or why none does.
    ///
    /// See <https://gateway-api.sigs.k8s.io/reference/spec/#parentreference>. A listener whose certificates are
    /// missing lets routes in all the same; one that is not accepted, or in conflict with another, does not.
    pub(super) fn judge(
        &self,
        parent: &Parent<'a>,
        reference: &ParentReference,
        applicant: &Applicant<'_>,
    ) -> Result<Vec<Place<'a>>, Mistake> {
        let mut places = parent.listeners.clone();
        places.retain(|place| is_meant(place.listener, reference));
        if places.is_empty() {
            return Err(parent.has_no_such_listener(reference));
        }
        places.retain(|place| is_in_force(place.listener));
        if places.is_empty() {
            let problem = format!("No listener of {parent} that is asked for is accepted; see its status");
            return Err(Mistake::new(RouteReason::NoMatchingParent, "", problem));
        }
        places.retain(|place| lets_in(place.listener, applicant.kind));
        if places.is_empty() {
            let problem = format!(
                "No listener of {parent} that is asked for lets a route of kind {} attach; see protocol and \
                 allowedRoutes.kinds there",
                applicant.kind
            );
            return Err(Mistake::new(RouteReason::NotAllowedByListeners, "", problem));
        }
        places.retain(|place| {
            place
                .listener
                .namespaces
                .contain(applicant.namespace, self.snapshot)
        });
        if places.is_empty() {
            let problem = format!(
                "No listener of {parent} that is asked for lets routes of namespace {} attach; see \
                 allowedRoutes.namespaces there",
                applicant.namespace
            );
            return Err(Mistake::new(RouteReason::NotAllowedByListeners, "", problem));
        }
        let offered: BTreeSet<&str> = places
            .iter()
            .filter_map(|place| Some(place.listener.hostname.as_ref()?.as_str()))
            .collect();
        places.retain(|place| meet(place.listener.hostname.as_ref(), applicant.hostnames));
        if places.is_empty() {
            let asked: Vec<&str> = applicant.hostnames.iter().map(Hostname::as_str).collect();
            let problem = format!(
                "no listener of {parent} that is asked for has a host in common with {}; they have {}",
                asked.join(", "),
                Vec::from_iter(offered).join(", ")
            );
            return Err(Mistake::new(
                RouteReason::NoMatchingListenerHostname,
                "hostnames",
                problem,
            ));
        }
        Ok(places)
    }
}

impl std::fmt::Display for Parent<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.kind, self.key)
    }
}

impl Parent<'_> {
    fn has_no_such_listener(&self, reference: &ParentReference) -> Mistake {
        let name = reference
            .section_name
            .as_deref()
            .map(|name| format!(" named {}", quoted(name)));
        let port = reference.port.map(|port| format!(" on port {port}"));
        let (name, port) = (name.unwrap_or_default(), port.unwrap_or_default());
        let existing = self
            .listeners
            .iter()
            .map(|Place { listener, .. }| format!("{}:{}", listener.name, listener.port));
        let existing: Vec<String> = existing.collect();
        let existing = match existing.as_slice() {
            // Only one that is refused is without.
            [] if self.kind == "ListenerSet" => "its status says why none of them is accepted".to_owned(),
            [] => "it has none of its own".to_owned(),
            existing => format!("it has {}", existing.join(", ")),
        };
        Mistake::new(
            RouteReason::NoMatchingParent,
            "parentRefs",
            format!("{self} has no listener{name}{port}; {existing}"),
        )
    }
}

fn is_meant(listener: &Listener, reference: &ParentReference) -> bool {
    let named = reference.section_name.as_deref().filter(|name| !name.is_empty());
    named.is_none_or(|name| name == listener.name)
        && reference.port.is_none_or(|port| port == i32::from(listener.port))
}

fn is_in_force(listener: &Listener) -> bool {
    listener.findings.refusals.is_empty() && listener.findings.conflict.is_none()
}

/// Whether routes of that kind may attach; those that we do not serve may so far as the protocol is theirs.
fn lets_in(listener: &Listener, kind: &str) -> bool {
    match (kind, &listener.protocol) {
        ("GRPCRoute", ProtocolType::Http | ProtocolType::Https)
        | ("TLSRoute", ProtocolType::Tls)
        | ("TCPRoute", ProtocolType::Tcp)
        | ("UDPRoute", ProtocolType::Udp) => true,
        _ => listener.kinds.contains(&kind),
    }
}

/// Whether a listener and a route have hosts in common; either may be for all hosts.
fn meet(listener: Option<&Hostname>, route: &[Hostname]) -> bool {
    let Some(listener) = listener else { return true };
    route.is_empty()
        || route
            .iter()
            .any(|hostname| listener.intersection(hostname).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hostname(name: &str) -> Hostname {
        Hostname::new(name).expect("a valid hostname")
    }

    /// Whether a request for `host` is one of a listener's or route's; `None` stands for all hosts.
    fn takes(name: Option<&Hostname>, host: &Hostname) -> bool {
        name.is_none_or(|name| name.covers(host))
    }

    const NAME: &str = r"(\*\.)?([ab]\.){0,2}[ab]";

    proptest! {
        /// Where some host is both the listener's and the route's, the two meet.
        #[test]
        fn listener_and_route_meet_where_a_host_is_of_both(
            listener in proptest::option::of(NAME),
            route in proptest::collection::vec(NAME, 0..3),
            host in r"([ab]\.){0,3}[ab]",
        ) {
            let listener = listener.map(|name| hostname(&name));
            let route: Vec<Hostname> = route.iter().map(|name| hostname(name)).collect();
            let host = hostname(&host);
            let of_route = route.is_empty() || route.iter().any(|name| takes(Some(name), &host));
            if of_route && takes(listener.as_ref(), &host) {
                prop_assert!(meet(listener.as_ref(), &route));
            }
        }

        /// Where the two meet, some host is of both: a name that they have in common, or one below it.
        #[test]
        fn where_listener_and_route_meet_there_is_a_host_of_both(listener in NAME, route in NAME) {
            let (listener, route) = (hostname(&listener), hostname(&route));
            if meet(Some(&listener), std::slice::from_ref(&route)) {
                let hosts = [&listener, &route].map(|name| hostname(&name.as_str().replace('*', "c")));
                prop_assert!(hosts.iter().any(|host| listener.covers(host) && route.covers(host)));
            }
        }
    }
}
