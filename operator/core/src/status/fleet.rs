//! Status of `NginxFleet`s.

use super::condition::{Wanted, merged, sentences};
use crate::{
    api::NginxFleetStatus,
    outcome::{Status, StatusChange},
    resolve::fleet,
    snapshot::Snapshot,
};

/// The `NginxFleet`s whose status is another than it should be, whether or not a gateway uses them.
pub(super) fn changes(snapshot: &Snapshot) -> Vec<StatusChange> {
    let changes = snapshot.nginx_fleets.values().filter_map(|object| {
        let stored = object.status.clone().unwrap_or_default();
        let problems = fleet::problems(&object.spec);
        let accepted = if problems.is_empty() {
            Wanted::yes("Accepted", "Accepted", "The settings make sense.")
        } else {
            let message = sentences(problems.iter().map(String::as_str));
            Wanted::no("Accepted", "Invalid", message)
        };
        let status = NginxFleetStatus {
            conditions: merged(
                &stored.conditions,
                vec![accepted],
                &["Accepted"],
                object.metadata.generation,
            ),
        };
        StatusChange::new("NginxFleet", object.as_ref(), &stored, status, Status::NginxFleet)
    });
    changes.collect()
}
