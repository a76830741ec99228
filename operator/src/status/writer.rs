//! Writes statuses to the objects of a folder, and says in the log what turned bad or good.

use std::{collections::BTreeSet, sync::Arc};

use operator_core::outcome::StatusChange;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use super::{conditions::complaints, time::dated};
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
    let (id, status) = (ObjectId::from(change), dated(&change.status));
    let version = change.resource_version.as_deref();
    let written = api_server.lock().write_status(&id, version, status.clone());
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

/// One line if an object has new complaints, and one if it has none any more.
fn log(id: &ObjectId, before: &Value, after: &Value) {
    let [before, after] = [before, after].map(|status| {
        complaints(status)
            .into_iter()
            .filter(|complaint| !complaint.is_transient())
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
