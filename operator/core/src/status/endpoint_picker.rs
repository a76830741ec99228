//! Status of `EndpointPicker`s.

use super::{
    condition::{Wanted, merged, sentences},
    programmed::obstacles,
};
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
            pods,
        }) => {
            let obstacles: Vec<String> = obstacles(pods, None).into_iter().chain(failure.clone()).collect();
            let obstacles = obstacles.iter().map(String::as_str);
            if *ready == 0 && obstacles.len() > 0 {
                return no("Failed", sentences(obstacles));
            }
            let pick = format!("{ready} of {wanted} pods pick");
            let stand_by = (*wanted > 1).then_some("Gateways ask one of them, the others stand by");
            let message = sentences([pick.as_str()].into_iter().chain(stand_by).chain(obstacles));
            if *ready == 0 {
                no("Pending", message)
            } else {
                Wanted::yes("Available", "Available", message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::infra::PickerInfra;

    /// What is said of a picker of which so many pods pick.
    fn said(ready: i32, wanted: i32, obstacle: Option<&str>) -> Wanted {
        let picker = Picker {
            infra: Some(PickerInfra::default()),
            ..Picker::default()
        };
        let observed = ObservedPicker {
            ready,
            wanted,
            failure: None,
            pods: BTreeMap::from([("llm-picker-1".to_owned(), obstacle.map(str::to_owned))]),
        };
        available(&picker, Some(&observed))
    }

    #[test]
    fn what_keeps_pods_from_picking_is_said_whether_others_pick_or_not() {
        let waiting = said(0, 1, None);
        assert_eq!(waiting, Wanted::no("Available", "Pending", "0 of 1 pods pick."));
        let obstacle = Some("cannot stay up: no plugin 'gone'");
        let message = "Pod llm-picker-1 cannot stay up: no plugin 'gone'.";
        assert_eq!(said(0, 1, obstacle), Wanted::no("Available", "Failed", message));
        let message = format!("1 of 1 pods pick. {message}");
        assert_eq!(
            said(1, 1, obstacle),
            Wanted::yes("Available", "Available", message)
        );
    }

    #[test]
    fn of_several_pods_it_is_said_that_one_is_asked() {
        let message = "2 of 2 pods pick. Gateways ask one of them, the others stand by.";
        assert_eq!(said(2, 2, None), Wanted::yes("Available", "Available", message));
    }
}
