//! `ListenerSet`: listeners for a Gateway that somebody else owns.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::{Listener, ListenerStatus, ParentReference};

/// What is wanted of a [`ListenerSet`].
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#listenersetspec>.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "ListenerSet",
    plural = "listenersets",
    namespaced,
    status = "ListenerSetStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq",
    doc = "Listeners for a Gateway that somebody else owns; see <https://gateway-api.sigs.k8s.io/geps/gep-1713/>."
)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetSpec {
    /// The Gateway; never with a section name or port.
    pub parent_ref: ParentReference,
    /// The listeners; each with a name of its own within the set.
    #[serde(default)]
    pub listeners: Vec<Listener>,
}

/// What the controller says of a [`ListenerSet`].
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#listenersetstatus>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListenerSetStatus {
    /// One per condition type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// One per listener, in the order of the specification.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
}
