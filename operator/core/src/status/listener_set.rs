//! Status of `ListenerSets`.

use super::{
    condition::{Wanted, merged},
    listener,
    programmed::Programming,
};
use crate::{
    api::ListenerSetStatus,
    object::ObjectKey,
    outcome::{Status, StatusChange},
    resolve::{Gateway, ListenerOwner, Resolved, finding::Reason, listener_set::ListenerSet},
    snapshot::Snapshot,
};

const OURS: &[&str] = &["Accepted", "Programmed"];

/// How many `ListenerSets` a Gateway has that add at least one listener which can be served.
pub(super) fn attached(resolved: &Resolved, gateway: &Gateway) -> i32 {
    let sets = resolved.listener_sets.iter();
    let own = sets.filter(|(_, set)| set.gateway == gateway.key && set.refusal.is_none());
    let serving = own.filter(|(key, _)| {
        let owner = ListenerOwner::ListenerSet((*key).clone());
        gateway.listeners_of(&owner).any(|(_, listener)| listener.serves)
    });
    i32::try_from(serving.count()).unwrap_or(i32::MAX)
}

/// The change to the status of a `ListenerSet`, if it is another than it should be.
pub(super) fn change(
    snapshot: &Snapshot,
    resolved: &Resolved,
    key: &ObjectKey,
    listener_set: &ListenerSet,
    programming: &Programming,
) -> Option<StatusChange> {
    let object = snapshot.listener_sets.get(key)?;
    let gateway = resolved.gateways.get(&listener_set.gateway)?;
    let stored = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation;
    let owner = &ListenerOwner::ListenerSet(key.clone());
    let conditions = conditions(gateway, owner, listener_set, programming);
    let status = ListenerSetStatus {
        conditions: merged(&stored.conditions, conditions, OURS, generation),
        listeners: listener::statuses(
            resolved,
            gateway,
            owner,
            programming,
            &stored.listeners,
            generation,
        ),
    };
    StatusChange::new(
        "ListenerSet",
        object.as_ref(),
        &stored,
        status,
        Status::ListenerSet,
    )
}

fn conditions(
    gateway: &Gateway,
    owner: &ListenerOwner,
    listener_set: &ListenerSet,
    programming: &Programming,
) -> Vec<Wanted> {
    if let Some(refusal) = &listener_set.refusal {
        let message = format!("{}.", refusal.message);
        return both(refusal.reason.as_str(), &message);
    }
    let bad: Vec<_> = gateway
        .listeners_of(owner)
        .filter(|(_, listener)| !listener.serves)
        .map(|(_, listener)| listener.name.as_str())
        .collect();
    if bad.len() == gateway.listeners_of(owner).count() {
        let message = "None of the listeners can be served; their conditions say why.";
        return both("ListenersNotValid", message);
    }
    let accepted = if bad.is_empty() {
        Wanted::yes("Accepted", "Accepted", "The ListenerSet is valid.")
    } else {
        let message = format!(
            "These listeners cannot be served, as their conditions say: {}.",
            bad.join(", ")
        );
        Wanted::yes("Accepted", "ListenersNotValid", message)
    };
    let programmed = if let Ok(message) = programming {
        Wanted::yes("Programmed", "Programmed", message)
    } else {
        let message = format!("Gateway {} is not programmed.", gateway.key);
        Wanted::no("Programmed", "ParentNotProgrammed", message)
    };
    vec![accepted, programmed]
}

/// Neither accepted nor programmed.
fn both(reason: &'static str, message: &str) -> Vec<Wanted> {
    let conditions = OURS.iter().map(|type_| Wanted::no(type_, reason, message));
    conditions.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        resolve::example::snapshot,
        status::example::{status_of, summary},
    };

    /// The status of a `ListenerSet` with these listeners, and how many `ListenerSets` its Gateway has then, which has
    /// one for `own.example.com` on port 80.
    fn status(allowed: &str, listeners: &str) -> (ListenerSetStatus, Option<i32>) {
        let snapshot = snapshot(&[
            "kind: GatewayClass\nmetadata: {name: ours}\nspec: {controllerName: flotilla.dev/gateway-controller}",
            &format!(
                "kind: Gateway\nmetadata: {{namespace: edge, name: web}}\n\
                 spec: {{gatewayClassName: ours, allowedListeners: {{namespaces: {{from: {allowed}}}}}, \
                 listeners: [{{name: own, port: 80, protocol: HTTP, hostname: own.example.com}}]}}"
            ),
            &format!(
                "kind: ListenerSet\nmetadata: {{namespace: edge, name: more}}\n\
                 spec: {{parentRef: {{name: web}}, listeners: [{listeners}]}}"
            ),
        ]);
        let set = status_of(&snapshot, "ListenerSet", "edge", "more");
        let gateway = status_of(&snapshot, "Gateway", "edge", "web");
        match (set, gateway) {
            (Status::ListenerSet(set), Status::Gateway(gateway)) => (set, gateway.attached_listener_sets),
            other => panic!("{other:?} are the statuses of a ListenerSet and a Gateway"),
        }
    }

    const GOOD: &str = "{name: good, port: 80, protocol: HTTP, hostname: more.example.com}";
    const LOSER: &str = "{name: loser, port: 80, protocol: HTTP, hostname: own.example.com}";

    #[test]
    fn good_listener_set_is_attached() {
        let (status, attached) = status("Same", GOOD);
        assert_eq!(
            summary(&status.conditions),
            ["Accepted=True/Accepted", "Programmed=False/ParentNotProgrammed"]
        );
        assert_eq!(status.listeners.len(), 1);
        assert_eq!(attached, Some(1));
    }

    #[test]
    fn listener_set_that_is_not_allowed_is_refused_and_not_attached() {
        let (status, attached) = status("None", GOOD);
        assert_eq!(
            summary(&status.conditions),
            ["Accepted=False/NotAllowed", "Programmed=False/NotAllowed"]
        );
        assert_eq!(attached, Some(0));
    }

    #[test]
    fn listener_that_loses_is_told_so_in_all_its_conditions() {
        let (status, attached) = status("Same", &format!("{GOOD}, {LOSER}"));
        assert_eq!(summary(&status.conditions)[0], "Accepted=True/ListenersNotValid");
        assert_eq!(
            summary(&status.listeners[1].conditions),
            [
                "Accepted=False/HostnameConflict",
                "Conflicted=True/HostnameConflict",
                "ResolvedRefs=True/ResolvedRefs",
                "Programmed=False/HostnameConflict"
            ]
        );
        assert_eq!(attached, Some(1));
    }

    #[test]
    fn listener_set_whose_listeners_all_lose_is_not_attached() {
        let (status, attached) = status("Same", LOSER);
        assert_eq!(
            summary(&status.conditions),
            [
                "Accepted=False/ListenersNotValid",
                "Programmed=False/ListenersNotValid"
            ]
        );
        assert_eq!(attached, Some(0));
    }
}
