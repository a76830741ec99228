//! Writes statuses to the objects of a folder, and says in the log what turned bad or good.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use operator_core::outcome::StatusChange;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use super::conditions::{Complaint, complaints};
use crate::{
    metrics::Metrics,
    source::{ApiServer, ObjectId, StatusError},
};

/// Writes what is published, for ever.
pub async fn write(
    mut statuses: watch::Receiver<Arc<Vec<StatusChange>>>,
    api_server: Arc<Mutex<ApiServer>>,
    metrics: Arc<Metrics>,
) {
    while statuses.changed().await.is_ok() {
        let changes = statuses.borrow_and_update().clone();
        for change in changes.iter() {
            write_one(change, &api_server, &metrics);
        }
    }
}

fn write_one(change: &StatusChange, api_server: &Mutex<ApiServer>, metrics: &Metrics) {
    let StatusChange {
        kind,
        object,
        resource_version,
        status,
    } = change;
    let id = ObjectId {
        kind,
        key: object.clone(),
    };
    let mut status = serde_json::to_value(status).expect("statuses are plain data");
    put_time(&mut status, &now());
    let written = api_server
        .lock()
        .write_status(&id, resource_version.as_deref(), status.clone());
    match written {
        Ok(before) => {
            metrics.status_writes.inc();
            log(&id, &before, &status);
        }
        // The newer object has woken the controller already.
        Err(StatusError::Conflict(_)) => {}
        Err(error @ StatusError::Shape { .. }) => {
            tracing::error!(object = %id, ?error, "cannot write the status");
        }
    }
}

/// The time as conditions have it, in whole seconds.
fn now() -> Value {
    let now = Timestamp::now();
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    now.to_string().into()
}

/// Puts a time wherever core has left the epoch for it.
fn put_time(status: &mut Value, now: &Value) {
    match status {
        Value::Object(fields) => {
            for (name, value) in fields {
                let is_epoch =
                    value.as_str().and_then(|text| text.parse().ok()) == Some(Timestamp::UNIX_EPOCH);
                if name == "lastTransitionTime" && is_epoch {
                    value.clone_from(now);
                } else {
                    put_time(value, now);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| put_time(item, now)),
        _ => {}
    }
}

/// One line if an object has new complaints, and one if it has none any more.
///
/// What is only a matter of time is no complaint here: every gateway starts without an address and without agents.
fn log(id: &ObjectId, before: &Value, after: &Value) {
    let lasting =
        |complaint: &Complaint| !["Pending", "AddressNotAssigned"].contains(&complaint.reason.as_str());
    let [before, after] = [before, after].map(|status| {
        complaints(status)
            .into_iter()
            .filter(lasting)
            .collect::<BTreeSet<_>>()
    });
    let new = after
        .difference(&before)
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    if !new.is_empty() {
        tracing::warn!(object = %id, problem = new.join("; "), "object has a problem");
    } else if after.is_empty() && !before.is_empty() {
        tracing::info!(object = %id, "object is well");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_epoch_gives_way_to_the_time() {
        let mut status = json!({"parents": [{"conditions": [
            {"lastTransitionTime": "1970-01-01T00:00:00Z"},
            {"lastTransitionTime": "2026-11-22T00:00:00Z"},
        ]}]});
        put_time(&mut status, &"2027-01-01T00:00:00Z".into());
        assert_eq!(
            status,
            json!({"parents": [{"conditions": [
                {"lastTransitionTime": "2027-01-01T00:00:00Z"},
                {"lastTransitionTime": "2026-11-22T00:00:00Z"},
            ]}]})
        );
    }
}
