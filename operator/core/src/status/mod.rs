//! What is said about objects: conditions by kind, merged with what others wrote.
//!
//! ```text
//!  Resolved ── findings ──────────────┬─> wanted conditions ── condition::merged ──> StatusChange
//!  Observed ── programmed::programming┘                           ^
//!  stored status ─────────────────────────────────────────────────┘
//! ```

mod class;
mod condition;
mod endpoint_picker;
mod entries;
#[cfg(test)]
mod example;
mod feature;
mod fleet;
mod gateway;
mod inference_pool;
mod listener;
mod listener_set;
mod picker_refusal;
mod policy;
mod programmed;
mod route;

use std::collections::BTreeMap;

use crate::{
    object::ObjectKey,
    observed::Observed,
    options::Options,
    outcome::{GatewayOutcome, StatusChange},
    resolve::Resolved,
    snapshot::Snapshot,
};

pub use feature::SUPPORTED as SUPPORTED_FEATURES;

/// The statuses that differ from the stored ones, given what the gateways are to be; none of what is on its way out.
#[must_use]
pub fn statuses(
    snapshot: &Snapshot,
    resolved: &Resolved,
    gateways: &BTreeMap<ObjectKey, GatewayOutcome>,
    observed: &Observed,
    options: &Options,
) -> Vec<StatusChange> {
    let mut changes = class::changes(snapshot, resolved);
    changes.extend(fleet::changes(snapshot));
    changes.extend(endpoint_picker::changes(snapshot, resolved, observed));
    let mut programmings = BTreeMap::new();
    for (key, gateway) in &resolved.gateways {
        let seen = observed.gateways.get(key);
        let programming = programmed::programming(gateway, gateways.get(key), seen);
        changes.extend(gateway::change(snapshot, resolved, gateway, &programming, seen));
        programmings.insert(key, programming);
    }
    for (key, listener_set) in &resolved.listener_sets {
        if let Some(programming) = programmings.get(&listener_set.gateway) {
            changes.extend(listener_set::change(
                snapshot,
                resolved,
                key,
                listener_set,
                programming,
            ));
        }
    }
    changes.extend(route::changes(snapshot, resolved, options));
    changes.extend(inference_pool::changes(snapshot, resolved, observed, options));
    changes.extend(policy::changes(snapshot, resolved, options));
    changes.retain(|change| !snapshot.is_terminating_namespace(&change.object.namespace));
    changes
}
