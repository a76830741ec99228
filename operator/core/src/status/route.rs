//! What is said about routes, one entry for each parent of ours.
//!
//! `status.parents` is one list that several controllers write, so entries of others are kept as they are; those of
//! ours for parents that the route no longer refers to, or that are no longer ours, go
//! (<https://gateway-api.sigs.k8s.io/reference/spec/#routestatus>).

use super::{
    Status, StatusChange,
    condition::{Wanted, merged, sentences},
};
use crate::{
    api::{Route, RouteParentStatus, RouteStatus},
    object::ObjectKey,
    options::Options,
    resolve::{
        Attachment, HttpRoute, Resolved,
        finding::Reason,
        mistake::{Mistake, Mistakes},
    },
    snapshot::{Objects, Snapshot},
};

/// Types of the conditions that are ours.
const TYPES: [&str; 3] = ["Accepted", "ResolvedRefs", "PartiallyInvalid"];

/// Most mistakes that one message lists.
const LISTED: usize = 10;

/// Statuses of routes of all kinds that differ from the stored ones.
#[must_use]
pub fn changes(snapshot: &Snapshot, resolved: &Resolved, options: &Options) -> Vec<StatusChange> {
    let mut writer = Writer {
        resolved,
        options,
        changes: Vec::new(),
    };
    writer.add("HTTPRoute", &snapshot.http_routes, |key, attachment| {
        let route = resolved.http_routes.get(key);
        route.map_or_else(Vec::new, |route| conditions(route, attachment))
    });
    let unserved = |_: &ObjectKey, attachment: &Attachment| vec![accepted(attachment)];
    writer.add("GRPCRoute", &snapshot.grpc_routes, unserved);
    writer.add("TLSRoute", &snapshot.tls_routes, unserved);
    writer.add("TCPRoute", &snapshot.tcp_routes, unserved);
    writer.add("UDPRoute", &snapshot.udp_routes, unserved);
    writer.changes
}

struct Writer<'a> {
    resolved: &'a Resolved,
    options: &'a Options,
    changes: Vec<StatusChange>,
}

impl Writer<'_> {
    /// Adds the statuses of a kind, with what `conditions` wants of a route at one parent.
    fn add<K: Route>(
        &mut self,
        kind: &'static str,
        routes: &Objects<K>,
        conditions: impl Fn(&ObjectKey, &Attachment) -> Vec<Wanted>,
    ) {
        for (key, route) in routes {
            let attachments = self.resolved.attachments.of(kind, key);
            let wanted = attachments
                .iter()
                .map(|attachment| (attachment.parent_ref, conditions(key, attachment)));
            let controller_name = &self.options.controller_name;
            if let Some(status) = changed_status(route.as_ref(), wanted, controller_name) {
                self.changes.push(StatusChange {
                    kind,
                    object: key.clone(),
                    resource_version: route.meta().resource_version.clone(),
                    status: Status::Route(status),
                });
            }
        }
    }
}

/// The status of a route for which these conditions are wanted, by position in its `parentRefs`; `None` if it is
/// stored already.
fn changed_status(
    route: &impl Route,
    wanted: impl Iterator<Item = (usize, Vec<Wanted>)>,
    controller_name: &str,
) -> Option<RouteStatus> {
    let stored = route
        .status()
        .map(|status| status.parents.as_slice())
        .unwrap_or_default();
    let is_ours = |entry: &&RouteParentStatus| entry.controller_name == controller_name;
    let mut ours = Vec::<RouteParentStatus>::new();
    for (parent_ref, wanted) in wanted {
        let parent_ref = &route.parent_refs()[parent_ref];
        if ours.iter().any(|entry| entry.parent_ref == *parent_ref) {
            continue;
        }
        let before = stored
            .iter()
            .filter(is_ours)
            .find(|entry| entry.parent_ref == *parent_ref);
        let before = before
            .map(|entry| entry.conditions.as_slice())
            .unwrap_or_default();
        ours.push(RouteParentStatus {
            parent_ref: parent_ref.clone(),
            controller_name: controller_name.to_owned(),
            conditions: merged(before, wanted, &TYPES, route.meta().generation),
        });
    }
    if stored.iter().filter(is_ours).eq(&ours) {
        return None;
    }
    let mut parents: Vec<_> = stored.iter().filter(|entry| !is_ours(entry)).cloned().collect();
    parents.append(&mut ours);
    Some(RouteStatus { parents })
}

/// What holds for an `HTTPRoute` at one parent.
fn conditions(route: &HttpRoute, attachment: &Attachment) -> Vec<Wanted> {
    let Mistakes {
        hostnames,
        rules,
        ignored: _,
        references,
    } = &route.mistakes;
    let accepted = match &attachment.refusal {
        Some(refusal) if Some(refusal) == route.refusal() => Wanted::no(
            "Accepted",
            refusal.reason.as_str(),
            list(hostnames.iter().chain(rules)),
        ),
        _ => accepted(attachment),
    };
    let resolved = match references.first() {
        Some(first) => Wanted::no("ResolvedRefs", first.reason.as_str(), list(references)),
        None => Wanted::yes(
            "ResolvedRefs",
            "ResolvedRefs",
            "All references lead to a backend.",
        ),
    };
    let mut conditions = vec![accepted, resolved];
    if let (None, Some(message)) = (&attachment.refusal, partial(&route.mistakes)) {
        conditions.push(Wanted::yes("PartiallyInvalid", "UnsupportedValue", message));
    }
    conditions
}

fn accepted(attachment: &Attachment) -> Wanted {
    match &attachment.refusal {
        None => Wanted::yes("Accepted", "Accepted", "The route is accepted."),
        Some(refusal) => Wanted::no("Accepted", refusal.reason.as_str(), list([refusal])),
    }
}

/// What is missing of a route of which the rest is served; the specification wants it to start with "Dropped Rule".
fn partial(mistakes: &Mistakes) -> Option<String> {
    let Mistakes {
        hostnames,
        rules,
        ignored,
        references: _,
    } = mistakes;
    let parts = [
        ("Dropped Rule(s): ", rules),
        ("Dropped Rule hostnames: ", hostnames),
        ("Dropped Rule settings: ", ignored),
    ];
    let parts = parts.into_iter().filter(|(_, mistakes)| !mistakes.is_empty());
    let parts: Vec<String> = parts
        .map(|(title, mistakes)| format!("{title}{}", list(mistakes)))
        .collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn list<'a>(mistakes: impl IntoIterator<Item = &'a Mistake>) -> String {
    let mut mistakes = mistakes.into_iter();
    let mut listed: Vec<String> = mistakes.by_ref().take(LISTED).map(ToString::to_string).collect();
    let more = mistakes.count();
    if more > 0 {
        listed.push(format!("{more} more are not listed"));
    }
    sentences(listed.iter().map(String::as_str))
}
