//! Lists in statuses that several controllers write, with an entry of each for every parent, or ancestor, of an object.
//!
//! Entries of others are kept as they are; ours for what is no longer a parent, or no longer ours, go. In whatever order
//! others leave a list that is right, it stays: two controllers that both put theirs last would write for ever.

use super::condition::{Wanted, merged};
use crate::{
    api::{
        Condition, GATEWAY_GROUP, InferencePoolParentStatus, ParentReference, PolicyAncestorStatus,
        RouteParentStatus,
    },
    object::ObjectKey,
};

/// What one controller says of an object at one of its parents.
pub(super) trait Entry: Clone + PartialEq {
    /// What the controller of that name says.
    fn new(parent_ref: ParentReference, controller_name: &str, conditions: Vec<Condition>) -> Self;

    /// Which parent it is.
    fn parent_ref(&self) -> &ParentReference;

    /// Who says it, if that is known.
    fn controller_name(&self) -> Option<&str>;

    /// What is said.
    fn conditions(&self) -> &[Condition];
}

/// How our entries of a list are written.
pub(super) struct Entries<'a> {
    /// Who we are.
    pub(super) controller_name: &'a str,
    /// Types of the conditions that are ours.
    pub(super) types: &'a [&'a str],
    /// The object's.
    pub(super) generation: Option<i64>,
    /// Most entries that the API server takes; those that do not fit are left out.
    pub(super) most: usize,
}

impl Entries<'_> {
    /// The list with an entry of ours for each of these parents; `None` if it has those already and no others.
    pub(super) fn changed<E: Entry>(
        &self,
        stored: &[E],
        wanted: impl IntoIterator<Item = (ParentReference, Vec<Wanted>)>,
    ) -> Option<Vec<E>> {
        let is_ours = |entry: &&E| entry.controller_name() == Some(self.controller_name);
        let (stored, foreign): (Vec<&E>, Vec<&E>) = stored.iter().partition(is_ours);
        let room = self.most.saturating_sub(foreign.len());
        let mut ours = Vec::<E>::new();
        for (parent_ref, conditions) in wanted {
            if ours.len() == room {
                break;
            }
            let is_of_parent = |entry: &&E| *entry.parent_ref() == parent_ref;
            if ours.iter().any(|entry| is_of_parent(&entry)) {
                continue;
            }
            let before = stored.iter().copied().find(is_of_parent);
            let before = before.map_or(&[][..], E::conditions);
            let conditions = merged(before, conditions, self.types, self.generation);
            ours.push(E::new(parent_ref, self.controller_name, conditions));
        }
        let is_changed = !stored.into_iter().eq(&ours);
        is_changed.then(|| foreign.into_iter().cloned().chain(ours).collect())
    }
}

/// A reference to a Gateway as a whole.
pub(super) fn gateway_reference(gateway: &ObjectKey) -> ParentReference {
    ParentReference {
        group: Some(GATEWAY_GROUP.to_owned()),
        kind: Some("Gateway".to_owned()),
        namespace: Some(gateway.namespace.clone()),
        name: gateway.name.clone(),
        ..ParentReference::default()
    }
}

/// Implements [`Entry`] for entries whose reference is in that field.
macro_rules! entry {
    ($type:ident, $reference:ident, |$name:ident| $as_option:expr) => {
        impl Entry for $type {
            fn new(parent_ref: ParentReference, controller_name: &str, conditions: Vec<Condition>) -> Self {
                Self {
                    $reference: parent_ref,
                    controller_name: controller_name.to_owned().into(),
                    conditions,
                }
            }

            fn parent_ref(&self) -> &ParentReference {
                &self.$reference
            }

            fn controller_name(&self) -> Option<&str> {
                let $name = &self.controller_name;
                $as_option
            }

            fn conditions(&self) -> &[Condition] {
                &self.conditions
            }
        }
    };
}

entry!(RouteParentStatus, parent_ref, |name| Some(name));
entry!(PolicyAncestorStatus, ancestor_ref, |name| Some(name));
entry!(InferencePoolParentStatus, parent_ref, |name| name.as_deref());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::example::summary;

    const OURS: &str = "flotilla.dev/gateway-controller";

    fn entry(controller: &str, gateway: &str, accepted: &str) -> RouteParentStatus {
        let entry = format!(
            "{{parentRef: {{name: {gateway}}}, controllerName: {controller}, conditions: [{{type: Accepted, status: \
             '{accepted}', reason: Accepted, message: 'So it is.', lastTransitionTime: '2026-11-22T00:00:00Z'}}]}}"
        );
        serde_saphyr::from_str(&entry).expect("an entry decodes")
    }

    /// Of whom and for what the entries are that a list comes to have, for whom it is to say that all is well.
    fn changed(stored: &[RouteParentStatus], parents: &[&str], most: usize) -> Option<Vec<String>> {
        let entries = Entries {
            controller_name: OURS,
            types: &["Accepted"],
            generation: None,
            most,
        };
        let wanted = parents.iter().map(|name| {
            let parent_ref = ParentReference {
                name: (*name).to_owned(),
                ..ParentReference::default()
            };
            (parent_ref, vec![Wanted::yes("Accepted", "Accepted", "So it is.")])
        });
        let changed = entries.changed(stored, wanted)?;
        let whose = |entry: &RouteParentStatus| {
            let who = if entry.controller_name == OURS {
                "ours"
            } else {
                "theirs"
            };
            format!(
                "{who} {} {}",
                entry.parent_ref.name,
                summary(&entry.conditions)[0]
            )
        };
        Some(changed.iter().map(whose).collect())
    }

    #[test]
    fn entries_of_others_stay_and_ours_are_one_for_each_parent() {
        let stored = [entry(OURS, "gone", "True"), entry("theirs", "edge", "False")];
        assert_eq!(
            changed(&stored, &["edge", "edge"], 32).expect("a change"),
            [
                "theirs edge Accepted=False/Accepted",
                "ours edge Accepted=True/Accepted"
            ]
        );
    }

    #[test]
    fn entries_that_are_right_stay_in_whatever_order_they_are() {
        let (ours, theirs) = (entry(OURS, "edge", "True"), entry("theirs", "edge", "True"));
        for stored in [[ours.clone(), theirs.clone()], [theirs, ours]] {
            assert_eq!(changed(&stored, &["edge"], 32), None);
        }
    }

    #[test]
    fn there_are_never_more_entries_than_the_api_server_takes() {
        let stored = [entry("theirs", "a", "True"), entry("theirs", "b", "True")];
        assert_eq!(changed(&stored, &["edge"], 2), None);
        let three = changed(&stored, &["edge", "web"], 3).expect("a change");
        assert_eq!(
            three.last().map(String::as_str),
            Some("ours edge Accepted=True/Accepted")
        );
    }
}
