//! Kubernetes kinds as types, in the reference's own words.
//!
//! ```text
//! GatewayClass ──parametersRef──> NginxFleet <──infrastructure.parametersRef── Gateway
//!      ^                                                                         ^  ^
//!      └────────────────────────────gatewayClassName─────────────────────────────┘  │ parentRef
//!                                                                               ListenerSet
//!                                                                                   ^
//! ReferenceGrant: may a namespace refer to another?                                 │ parentRefs (to either)
//!                                                                                   │
//! HTTPRoute, GRPCRoute, TLSRoute, TCPRoute, UDPRoute ───────────────────────────────┘
//!      └──backendRefs──> Service <──targetRefs── BackendTLSPolicy
//!                        InferencePool ──endpointPickerRef──> Service of an EndpointPicker, or of somebody else
//! ```
//!
//! All fields of both channels of Gateway API v1.7.0 and of `InferencePool` v1 are here, and every object that the
//! schemas of those admit can be decoded:
//!
//! - Enumerations keep values that they do not know (`Unknown`).
//! - Ports and statuses are numbers as the schema has them; whether they make sense is decided where they are read.
//! - What the API server would fill in is a method beside the field that is named alike, because objects in files
//!   lack it: `reference.kind()` is `"Service"` where `reference.kind` is `None`.
//!
//! Structures that the reference has twice under different names with the same fields are here once ([`Listener`]).

mod backend_tls_policy;
mod byte_size;
mod crds;
mod duration;
mod endpoint_picker;
mod filter;
mod gateway;
mod gateway_class;
mod grpc_route;
mod http_route;
mod inference_pool;
mod kinds;
mod listener;
mod listener_set;
mod nginx_fleet;
mod pod;
mod reference;
mod reference_grant;
mod route;
mod session_persistence;
mod string_enum;
mod tcp_route;
#[cfg(test)]
mod tests;
mod tls_route;
mod udp_route;

pub use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service};
pub use k8s_openapi::api::discovery::v1::EndpointSlice;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};

pub use crate::with_kinds;

pub use self::backend_tls_policy::*;
pub use self::byte_size::*;
pub use self::crds::*;
pub use self::duration::*;
pub use self::endpoint_picker::*;
pub use self::filter::*;
pub use self::gateway::*;
pub use self::gateway_class::*;
pub use self::grpc_route::*;
pub use self::http_route::*;
pub use self::inference_pool::*;
pub use self::listener::*;
pub use self::listener_set::*;
pub use self::nginx_fleet::*;
pub use self::pod::*;
pub use self::reference::*;
pub use self::reference_grant::*;
pub use self::route::*;
pub use self::session_persistence::*;
pub use self::tcp_route::*;
pub use self::tls_route::*;
pub use self::udp_route::*;
