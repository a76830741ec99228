//! `UDPRoute`: where UDP datagrams go.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::{BackendRef, GatewayDefaultScope, ParentReference, RouteStatus};

/// What is wanted of a [`UdpRoute`]; see <https://gateway-api.sigs.k8s.io/reference/spec/#udproutespec>.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "UDPRoute",
    root = "UdpRoute",
    plural = "udproutes",
    namespaced,
    status = "RouteStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq",
    doc = "Where UDP datagrams go; see <https://gateway-api.sigs.k8s.io/reference/spec/#udproute>."
)]
#[serde(rename_all = "camelCase")]
pub struct UdpRouteSpec {
    /// What it attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Whether it also attaches to gateways that it does not name (experimental channel).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// The rule; exactly one.
    #[serde(default)]
    pub rules: Vec<UdpRouteRule>,
}

/// Where the UDP datagrams go; see <https://gateway-api.sigs.k8s.io/reference/spec/#udprouterule>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UdpRouteRule {
    /// Name, unique within the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Backends and their shares; the datagram is dropped where there are none.
    #[serde(default)]
    pub backend_refs: Vec<BackendRef>,
}
