//! Status of `EndpointPicker`s.

use std::fmt::Write as _;

use super::condition::{Wanted, merged, sentences};
use crate::{
    api::EndpointPickerStatus,
    infra::picker_image,
    observed::{Observed, ObservedPicker},
    outcome::{Status, StatusChange},
    resolve::{Picker, Resolved},
    snapshot::Snapshot,
};

/// Types of the conditions that are ours.
const OURS: &[&str] = &["Accepted", "Available"];

/// The `EndpointPicker`s whose status is another than it should be.
pub(super) fn changes(snapshot: &Snapshot, resolved: &Resolved, observed: &Observed) -> Vec<StatusChange> {
    let changes = resolved.pickers.iter().filter_map(|(key, picker)| {
        let object = snapshot.endpoint_pickers.get(key)?;
        let stored = object.status.clone().unwrap_or_default();
        let conditions = vec![accepted(picker), available(picker, observed.pickers.get(key))];
        let infra = picker.infra.as_ref();
        let status = EndpointPickerStatus {
            image: match infra {
                Some(infra) if infra.stays_as_it_is => stored.image.clone(),
                _ => infra.map(|infra| picker_image(&infra.spec).to_owned()),
            },
            pools: picker.pool.iter().cloned().collect(),
            conditions: merged(&stored.conditions, conditions, OURS, object.metadata.generation),
        };
        StatusChange::new(
            "EndpointPicker",
            object.as_ref(),
            &stored,
            status,
            Status::EndpointPicker,
        )
    });
    changes.collect()
}

fn accepted(picker: &Picker) -> Wanted {
    if !picker.problems.is_empty() {
        let problems = picker.problems.iter().map(String::as_str);
        return Wanted::no("Accepted", "Invalid", sentences(problems));
    }
    let settings = "The settings make sense";
    let message = match &picker.pool {
        Some(pool) if !picker.others.is_empty() => {
            let others = format!(
                "It picks for InferencePool {pool} and not for {}, as a picker knows one pool; make an EndpointPicker \
                 for each",
                picker.others.join(", ")
            );
            sentences([settings, &others])
        }
        _ => sentences([settings]),
    };
    Wanted::yes("Accepted", "Accepted", message)
}

fn available(picker: &Picker, observed: Option<&ObservedPicker>) -> Wanted {
    let no = |reason, message: String| Wanted::no("Available", reason, message);
    if picker.infra.is_none() {
        let message = "No InferencePool of its namespace names it in endpointPickerRef yet.";
        return no("NoPool", message.to_owned());
    }
    if observed.is_none() && !picker.problems.is_empty() {
        let message = "It is not started as long as it is not accepted.";
        return no("Invalid", message.to_owned());
    }
    match observed {
        None => no("Pending", "It has not been started yet.".to_owned()),
        Some(ObservedPicker {
            ready,
            wanted,
            failure,
        }) => {
            let mut message = format!("{ready} of {wanted} pods pick.");
            if *wanted > 1 {
                message.push_str(" Gateways ask one of them, the others stand by.");
            }
            if let Some(failure) = failure {
                let _ = write!(message, " {failure}.");
            }
            match (ready, failure) {
                (1.., _) => Wanted::yes("Available", "Available", message),
                (_, Some(failure)) => no("Failed", format!("{failure}.")),
                (_, None) => no("Pending", message),
            }
        }
    }
}
