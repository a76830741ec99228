//! What is said about objects: conditions by kind, merged with what others wrote.
//!
//! ```text
//!  Resolved ── findings ──────────────┬─> wanted conditions ── condition::merged ──> StatusChange
//!  Observed ── programmed::programming┘                           ^
//!  stored status ─────────────────────────────────────────────────┘
//! ```

mod class;
mod condition;
#[cfg(test)]
mod example;
mod feature;
mod fleet;
mod gateway;
mod listener;
mod listener_set;
mod policy;
mod programmed;
mod route;

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde::Serialize;

use crate::{
    api::{
        GatewayClassStatus, GatewayStatus, InferencePoolStatus, ListenerSetStatus, NginxFleetStatus,
        PolicyStatus, RouteStatus,
    },
    object::ObjectKey,
    observed::Observed,
    options::Options,
    outcome::GatewayOutcome,
    resolve::Resolved,
    snapshot::Snapshot,
};

pub use feature::SUPPORTED as SUPPORTED_FEATURES;

/// The statuses that differ from the stored ones, given what the gateways are to be.
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
    changes.extend(policy::changes(snapshot, resolved, options));
    changes
}

/// A status that an object should have and has not.
///
/// It is whole: what other controllers wrote is in it, unchanged. A condition that changed has the epoch as its
/// `lastTransitionTime`, for core knows no clock: whoever writes it puts the time in.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusChange {
    /// Such as `HTTPRoute`.
    pub kind: &'static str,
    /// Which object.
    pub object: ObjectKey,
    /// `metadata.resourceVersion` of the object that was looked at.
    pub resource_version: Option<String>,
    /// The new status.
    pub status: Status,
}

/// The status of an object of any kind that has one from us.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Status {
    /// Of a `GatewayClass`.
    GatewayClass(GatewayClassStatus),
    /// Of a Gateway.
    Gateway(GatewayStatus),
    /// Of a `ListenerSet`.
    ListenerSet(ListenerSetStatus),
    /// Of a route of any kind.
    Route(RouteStatus),
    /// Of a `BackendTLSPolicy`.
    BackendTlsPolicy(PolicyStatus),
    /// Of an `InferencePool`.
    InferencePool(InferencePoolStatus),
    /// Of an `NginxFleet`.
    NginxFleet(NginxFleetStatus),
}

impl StatusChange {
    /// The change from the stored status of an object to the wanted one; `None` if that is no change.
    fn new<S: PartialEq>(
        kind: &'static str,
        object: &impl ResourceExt,
        stored: &S,
        wanted: S,
        status: impl FnOnce(S) -> Status,
    ) -> Option<Self> {
        (*stored != wanted).then(|| Self {
            kind,
            object: ObjectKey::of(object),
            resource_version: object.resource_version(),
            status: status(wanted),
        })
    }
}
