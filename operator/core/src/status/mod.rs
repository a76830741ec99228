//! What is said about objects: conditions by kind, merged with what others wrote.

use serde::Serialize;

use crate::{
    api::{
        PolicyStatus, GatewayClassStatus, GatewayStatus, InferencePoolStatus, ListenerSetStatus,
        NginxFleetStatus, RouteStatus,
    },
    object::ObjectKey,
};

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
    /// Of a GatewayClass.
    GatewayClass(GatewayClassStatus),
    /// Of a Gateway.
    Gateway(GatewayStatus),
    /// Of a ListenerSet.
    ListenerSet(ListenerSetStatus),
    /// Of a route of any kind.
    Route(RouteStatus),
    /// Of a BackendTLSPolicy.
    BackendTlsPolicy(PolicyStatus),
    /// Of an InferencePool.
    InferencePool(InferencePoolStatus),
    /// Of an NginxFleet.
    NginxFleet(NginxFleetStatus),
}
