//! `TCPRoute`: where TCP connections go.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::{BackendRef, GatewayDefaultScope, ParentReference, RouteStatus};

/// What is wanted of a [`TcpRoute`]; see <https://gateway-api.sigs.k8s.io/reference/spec/#tcproutespec>.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "TCPRoute",
    root = "TcpRoute",
    plural = "tcproutes",
    namespaced,
    status = "RouteStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq",
    doc = "Where TCP connections go; see <https://gateway-api.sigs.k8s.io/reference/spec/#tcproute>."
)]
#[serde(rename_all = "camelCase")]
pub struct TcpRouteSpec {
    /// What it attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Whether it also attaches to gateways that it does not name (experimental channel).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// The rule; exactly one.
    #[serde(default)]
    pub rules: Vec<TcpRouteRule>,
}

/// Where the TCP connections go; see <https://gateway-api.sigs.k8s.io/reference/spec/#tcprouterule>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpRouteRule {
    /// Name, unique within the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Backends and their shares; the connection is closed where there are none.
    #[serde(default)]
    pub backend_refs: Vec<BackendRef>,
}
