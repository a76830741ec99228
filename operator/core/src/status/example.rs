//! Statuses for tests.

use super::statuses;
use crate::{
    api::Condition,
    object::ObjectKey,
    observed::Observed,
    options::Options,
    outcome::{Status, StatusChange},
    resolve,
    snapshot::Snapshot,
};
use std::collections::BTreeMap;

/// The statuses of a snapshot's objects while nothing runs yet.
pub(super) fn changes(snapshot: &Snapshot) -> Vec<StatusChange> {
    let options = Options::default();
    let resolved = resolve::resolve(snapshot, &Observed::default(), &options);
    statuses(
        snapshot,
        &resolved,
        &BTreeMap::new(),
        &Observed::default(),
        &options,
    )
}

/// The status of one object of those that change.
pub(super) fn status_of(snapshot: &Snapshot, kind: &str, namespace: &str, name: &str) -> Status {
    let object = ObjectKey::new(namespace, name);
    let mut changes = changes(snapshot).into_iter();
    let change = changes.find(|change| change.kind == kind && change.object == object);
    change.expect("the object's status changes").status
}

/// Conditions as `Type=Status/Reason`.
pub(super) fn summary(conditions: &[Condition]) -> Vec<String> {
    let conditions = conditions.iter();
    let summary = conditions.map(|condition| {
        let Condition {
            type_,
            status,
            reason,
            ..
        } = condition;
        format!("{type_}={status}/{reason}")
    });
    summary.collect()
}
