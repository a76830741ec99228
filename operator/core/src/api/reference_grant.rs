//! `ReferenceGrant`: which objects of other namespaces may refer to objects of this one.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// What a [`ReferenceGrant`] allows: everything in `from` may refer to everything in `to`.
///
/// Before v1.6 an object could lack it altogether; such a grant is not read, and allows nothing anyway.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#referencegrantspec>.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "ReferenceGrant",
    plural = "referencegrants",
    namespaced,
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq",
    doc = "Which objects of other namespaces may refer to objects of this one; see <https://gateway-api.sigs.k8s.io/api-types/referencegrant/>."
)]
pub struct ReferenceGrantSpec {
    /// Who may refer.
    #[serde(default)]
    pub from: Vec<ReferenceGrantFrom>,
    /// To what, in the namespace of the grant.
    #[serde(default)]
    pub to: Vec<ReferenceGrantTo>,
}

/// All objects of a kind and namespace.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#referencegrantfrom>.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReferenceGrantFrom {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, for example `HTTPRoute`.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
}

/// An object, or all of a kind; see <https://gateway-api.sigs.k8s.io/reference/spec/#referencegrantto>.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReferenceGrantTo {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, for example `Service`.
    pub kind: String,
    /// Name; every object of the kind where absent or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
