//! Everything that the operator wants, from one look at everything it knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::ResourceExt;
use serde::Serialize;

use crate::{
    api::{
        EndpointPickerStatus, GatewayClassStatus, GatewayStatus, InferencePoolStatus, ListenerSetStatus,
        NginxFleetStatus, PolicyStatus, RouteStatus,
    },
    generation::Generation,
    infra::{GatewayInfra, PickerInfra},
    object::ObjectKey,
};

/// What [`reconcile`](crate::reconcile()) makes of a snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The gateways that are ours to run.
    pub gateways: BTreeMap<ObjectKey, GatewayOutcome>,
    /// The endpoint pickers that are ours to run.
    pub pickers: BTreeMap<ObjectKey, PickerInfra>,
    /// Statuses that differ from the stored ones.
    pub statuses: Vec<StatusChange>,
    /// Objects of kinds that are only read on demand.
    pub needs: Needs,
}

/// What one gateway is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayOutcome {
    /// What must run.
    pub infra: GatewayInfra,
    /// What its NGINX must serve; `None` for what it serves already, as long as the Gateway is not accepted or has no
    /// address to listen on.
    pub generation: Option<Arc<Generation>>,
}

/// What some object refers to or selects among, whether it exists or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Secrets.
    pub secrets: BTreeSet<ObjectKey>,
    /// ConfigMaps.
    pub config_maps: BTreeSet<ObjectKey>,
    /// Namespaces whose pods an `InferencePool` selects among.
    pub pods: BTreeSet<String>,
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
    /// Of an `EndpointPicker`.
    EndpointPicker(EndpointPickerStatus),
}

impl StatusChange {
    /// The change from the stored status of an object to the wanted one; `None` if that is no change, or
    /// the object on its way out.
    pub(crate) fn new<S: PartialEq>(
        kind: &'static str,
        object: &impl ResourceExt,
        stored: &S,
        wanted: S,
        status: impl FnOnce(S) -> Status,
    ) -> Option<Self> {
        if *stored == wanted {
            return None;
        }
        Self::to(kind, object, status(wanted))
    }

    /// The change of an object's status to this one; `None` if the object is on its way out.
    pub(crate) fn to(kind: &'static str, object: &impl ResourceExt, status: Status) -> Option<Self> {
        let stays = object.meta().deletion_timestamp.is_none();
        stays.then(|| Self {
            kind,
            object: ObjectKey::of(object),
            resource_version: object.resource_version(),
            status,
        })
    }
}
