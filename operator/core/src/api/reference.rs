//! How one object names another.
//!
//! Group and kind have defaults in most references. The API server fills them in, a file does not, so they are read
//! through the methods of the same name and never from the field.

use serde::{Deserialize, Serialize};

/// The API group of Gateway API's own kinds.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// The API group of `InferencePool`.
pub const INFERENCE_GROUP: &str = "inference.networking.k8s.io";

/// An object in the namespace of the one that names it.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#localobjectreference>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalObjectReference {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, for example `ConfigMap`.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// An object in any namespace; needs a [`ReferenceGrant`](super::ReferenceGrant) if it is another one.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#objectreference>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectReference {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, for example `ConfigMap`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace; that of the referring object where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A Secret, or another kind that holds what a Secret holds.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#secretobjectreference>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretObjectReference {
    /// API group as written; read it with [`Self::group`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind as written; read it with [`Self::kind`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name.
    pub name: String,
    /// Namespace; that of the referring object where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl SecretObjectReference {
    /// API group; the core group by default.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or("")
    }

    /// Kind; `Secret` by default.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("Secret")
    }
}

/// What requests can be sent to: a Service, an `InferencePool`, or a kind of somebody else's.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#backendobjectreference>.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BackendObjectReference {
    /// API group as written; read it with [`Self::group`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind as written; read it with [`Self::kind`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name.
    pub name: String,
    /// Namespace; that of the referring object where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Port of the backend, for a Service one of `spec.ports[].port`; required for a Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}

impl BackendObjectReference {
    /// API group; the core group by default.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or("")
    }

    /// Kind; `Service` by default.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("Service")
    }
}

/// A backend and its share of the requests.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#backendref>.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BackendRef {
    /// The backend.
    #[serde(flatten)]
    pub reference: BackendObjectReference,
    /// Weight as written; read it with [`Self::weight`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
}

impl BackendRef {
    /// Share of the requests, relative to the sum of all weights of the rule; 1 by default, 0 for no request at all.
    #[must_use]
    pub fn weight(&self) -> i32 {
        self.weight.unwrap_or(1)
    }
}

/// What a route or a `ListenerSet` attaches to, and which part of it.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#parentreference>.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// API group as written; read it with [`Self::group`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind as written; read it with [`Self::kind`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Namespace; that of the referring object where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Name of the one listener to attach to; every listener where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Port of the listeners to attach to; any port where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}

impl ParentReference {
    /// API group; [`GATEWAY_GROUP`] by default.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(GATEWAY_GROUP)
    }

    /// Kind; `Gateway` by default.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("Gateway")
    }
}

/// The object that configures all gateways of a class, in any namespace or in none.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#parametersreference>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParametersReference {
    /// API group.
    pub group: String,
    /// Kind, for example `NginxFleet`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace; required for a namespaced kind, such as `NginxFleet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}
