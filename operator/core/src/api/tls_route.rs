//! `TLSRoute`: where TLS connections go.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::{BackendRef, GatewayDefaultScope, ParentReference, RouteStatus};

/// What is wanted of a [`TlsRoute`]; see <https://gateway-api.sigs.k8s.io/reference/spec/#tlsroutespec>.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "TLSRoute",
    root = "TlsRoute",
    plural = "tlsroutes",
    namespaced,
    status = "RouteStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq",
    doc = "Where TLS connections go; see <https://gateway-api.sigs.k8s.io/reference/spec/#tlsroute>."
)]
#[serde(rename_all = "camelCase")]
pub struct TlsRouteSpec {
    /// What it attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Whether it also attaches to gateways that it does not name (experimental channel).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// Server names that it serves, perhaps with a wildcard as their first label.
    #[serde(default)]
    pub hostnames: Vec<String>,
    /// The rule; exactly one.
    #[serde(default)]
    pub rules: Vec<TlsRouteRule>,
}

/// Where the TLS connections go; see <https://gateway-api.sigs.k8s.io/reference/spec/#tlsrouterule>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsRouteRule {
    /// Name, unique within the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Backends and their shares; the connection is closed where there are none.
    #[serde(default)]
    pub backend_refs: Vec<BackendRef>,
}
