//! Status of listeners, in Gateways and `ListenerSets` alike.

use super::{
    condition::{Wanted, merged, sentences},
    programmed::{NotProgrammed, Programming},
};
use crate::{
    api::{GATEWAY_GROUP, ListenerStatus, RouteGroupKind},
    resolve::{Gateway, Listener, ListenerOwner, Resolved, finding::Reason},
};

const OURS: &[&str] = &[
    "Accepted",
    "Conflicted",
    "OverlappingTLSConfig",
    "Programmed",
    "ResolvedRefs",
];

/// The statuses of an owner's listeners, in its order.
pub(super) fn statuses(
    resolved: &Resolved,
    gateway: &Gateway,
    owner: &ListenerOwner,
    programming: &Programming,
    stored: &[ListenerStatus],
    generation: Option<i64>,
) -> Vec<ListenerStatus> {
    // Files, unlike the API server, can name two listeners alike: each finds its own status again.
    let mut stored: Vec<_> = stored.iter().collect();
    let statuses = gateway.listeners_of(owner).map(|(position, listener)| {
        let found = stored.iter().position(|stored| stored.name == listener.name);
        let stored = found.map_or(&[][..], |found| &stored.remove(found).conditions);
        let routes = resolved.attachments.attached_routes(&gateway.key, position);
        ListenerStatus {
            name: listener.name.clone(),
            supported_kinds: listener.kinds.iter().map(|kind| route_kind(kind)).collect(),
            attached_routes: i32::try_from(routes).unwrap_or(i32::MAX),
            conditions: merged(stored, conditions(listener, programming), OURS, generation),
        }
    });
    statuses.collect()
}

fn route_kind(kind: &str) -> RouteGroupKind {
    RouteGroupKind {
        group: Some(GATEWAY_GROUP.to_owned()),
        kind: kind.to_owned(),
    }
}

fn conditions(listener: &Listener, programming: &Programming) -> Vec<Wanted> {
    let findings = &listener.findings;
    let conflict = findings.conflict.as_slice();
    let refused =
        || Wanted::refused("Accepted", conflict).or_else(|| Wanted::refused("Accepted", &findings.refusals));
    let accepted = || {
        let notes = findings.notes.iter().map(String::as_str);
        Wanted::yes(
            "Accepted",
            "Accepted",
            sentences(["The listener is valid"].into_iter().chain(notes)),
        )
    };
    let resolved = || Wanted::yes("ResolvedRefs", "ResolvedRefs", "All references lead somewhere.");
    let conflicted = findings.conflict.as_ref().map(|conflict| {
        Wanted::yes(
            "Conflicted",
            conflict.reason.as_str(),
            format!("{}.", conflict.message),
        )
    });
    let overlapping = findings.overlap.as_ref().map(|other| {
        let message = format!("The hostname has hosts in common with that of {other}.");
        Wanted::yes("OverlappingTLSConfig", "OverlappingHostnames", message)
    });
    let conditions = [
        Some(refused().unwrap_or_else(accepted)),
        conflicted,
        Some(Wanted::refused("ResolvedRefs", &findings.unresolved).unwrap_or_else(resolved)),
        Some(programmed(listener, programming)),
        overlapping,
    ];
    conditions.into_iter().flatten().collect()
}

/// A listener is programmed with its Gateway, if it is one that serves.
fn programmed(listener: &Listener, programming: &Programming) -> Wanted {
    let conflict = listener.findings.conflict.as_slice();
    if let Some(condition) = Wanted::refused("Programmed", conflict) {
        return condition;
    }
    if !listener.serves {
        let why = if listener.findings.refusals.is_empty() {
            "ResolvedRefs"
        } else {
            "Accepted"
        };
        let meanwhile = if listener.listens() {
            "; its port refuses handshakes meanwhile"
        } else {
            ""
        };
        let message = format!("The listener cannot be served, as its condition {why} says{meanwhile}.");
        return Wanted::no("Programmed", "Invalid", message);
    }
    match programming {
        Ok(message) => Wanted::yes("Programmed", "Programmed", message),
        Err(finding) => {
            let reason = match finding.reason {
                NotProgrammed::Invalid => "Invalid",
                NotProgrammed::Pending
                | NotProgrammed::NoResources
                | NotProgrammed::AddressNotAssigned
                | NotProgrammed::AddressNotUsable => "Pending",
            };
            Wanted::no("Programmed", reason, format!("{}.", finding.message))
        }
    }
}
