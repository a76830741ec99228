//! What all kinds of routes share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::{Deserialize, Serialize};

use super::{GatewayDefaultScope, GrpcRoute, HttpRoute, ParentReference, TcpRoute, TlsRoute, UdpRoute};

/// A route of any kind.
pub trait Route: kube::Resource<DynamicType = ()> {
    /// What it attaches to.
    fn parent_refs(&self) -> &[ParentReference];

    /// Hostnames that it serves, as written; empty for those of its listeners, and for kinds without hostnames.
    fn hostnames(&self) -> &[String];

    /// Whether it also attaches to gateways that it does not name (experimental channel).
    fn use_default_gateways(&self) -> Option<&GatewayDefaultScope>;

    /// What controllers said of it.
    fn status(&self) -> Option<&RouteStatus>;
}

/// Implements [`Route`] for kinds that have hostnames, or have not.
macro_rules! route {
    ($kind:ty, |$route:ident| $hostnames:expr) => {
        impl Route for $kind {
            fn parent_refs(&self) -> &[ParentReference] {
                &self.spec.parent_refs
            }

            fn hostnames(&self) -> &[String] {
                let $route = self;
                $hostnames
            }

            fn use_default_gateways(&self) -> Option<&GatewayDefaultScope> {
                self.spec.use_default_gateways.as_ref()
            }

            fn status(&self) -> Option<&RouteStatus> {
                self.status.as_ref()
            }
        }
    };
}

route!(HttpRoute, |route| &route.spec.hostnames);
route!(GrpcRoute, |route| &route.spec.hostnames);
route!(TlsRoute, |route| &route.spec.hostnames);
route!(TcpRoute, |_route| &[]);
route!(UdpRoute, |_route| &[]);

/// What controllers say of a route; see <https://gateway-api.sigs.k8s.io/reference/spec/#routestatus>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// One per controller and parent; those of other controllers are not ours to touch.
    #[serde(default)]
    pub parents: Vec<RouteParentStatus>,
}

/// What one controller says of a route at one parent.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#routeparentstatus>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteParentStatus {
    /// The parent, exactly as the route refers to it.
    pub parent_ref: ParentReference,
    /// Name of the controller, as in its `GatewayClass`.
    pub controller_name: String,
    /// One per condition type.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
