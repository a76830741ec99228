//! `GRPCRoute`: where gRPC calls go.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::string_enum::string_enum;
use super::{
    BackendRef, GatewayDefaultScope, HeaderMatchType, HttpHeaderFilter, HttpRequestMirrorFilter,
    LocalObjectReference, ParentReference, RouteStatus, SessionPersistence,
};

/// What is wanted of a [`GrpcRoute`]; see <https://gateway-api.sigs.k8s.io/reference/spec/#grpcroutespec>.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "GRPCRoute",
    root = "GrpcRoute",
    plural = "grpcroutes",
    namespaced,
    status = "RouteStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq",
    doc = "Where gRPC calls go; see <https://gateway-api.sigs.k8s.io/api-types/grpcroute/>."
)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteSpec {
    /// What it attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Whether it also attaches to gateways that it does not name (experimental channel).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// Hostnames that it serves, perhaps with a wildcard as their first label; those of its listeners where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Rules, of which the best match serves a call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<GrpcRouteRule>,
}

/// What happens to the calls that match; see <https://gateway-api.sigs.k8s.io/reference/spec/#grpcrouterule>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteRule {
    /// Name, unique within the route; what a policy's section name refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Calls, any of which the rule serves; every call where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<GrpcRouteMatch>,
    /// What happens to them on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<GrpcRouteFilter>,
    /// Where they go; the answer is the status `UNAVAILABLE` where this is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<GrpcBackendRef>,
    /// Whether those of one client go to one endpoint (experimental channel).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// Calls for which all of these are true.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#grpcroutematch>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcRouteMatch {
    /// What service and method must be; any where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<GrpcMethodMatch>,
    /// What headers must be; of several entries with the same name, in any case, only the first counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<GrpcHeaderMatch>,
}

/// What service and method must be; see <https://gateway-api.sigs.k8s.io/reference/spec/#grpcmethodmatch>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcMethodMatch {
    /// How they are compared, as written; read it with [`Self::match_type`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<GrpcMethodMatchType>,
    /// What the service is compared with; any where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What the method is compared with; any where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

impl GrpcMethodMatch {
    /// How service and method are compared; as a whole by default.
    #[must_use]
    pub fn match_type(&self) -> &GrpcMethodMatchType {
        self.r#type.as_ref().unwrap_or(&GrpcMethodMatchType::Exact)
    }
}

string_enum! {
    /// How service and method are compared.
    #[derive(Default)]
    pub enum GrpcMethodMatchType {
        /// As a whole, case included.
        #[default]
        Exact = "Exact",
        /// With a regular expression.
        RegularExpression = "RegularExpression",
    }
}

/// What a header must be; see <https://gateway-api.sigs.k8s.io/reference/spec/#grpcheadermatch>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcHeaderMatch {
    /// How it is compared, as written; read it with [`Self::match_type`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<HeaderMatchType>,
    /// Name, in any case.
    pub name: String,
    /// What the value is compared with.
    pub value: String,
}

impl GrpcHeaderMatch {
    /// How the value is compared; as a whole by default.
    #[must_use]
    pub fn match_type(&self) -> &HeaderMatchType {
        self.r#type.as_ref().unwrap_or(&HeaderMatchType::Exact)
    }
}

/// A filter: its type, and the field of that name.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#grpcroutefilter>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteFilter {
    /// Which of the fields below holds the filter.
    pub r#type: GrpcRouteFilterType,
    /// Changes headers of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HttpHeaderFilter>,
    /// Changes headers of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HttpHeaderFilter>,
    /// Sends a copy of the call elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<HttpRequestMirrorFilter>,
    /// A filter of an implementation's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalObjectReference>,
}

string_enum! {
    /// Which filter a [`GrpcRouteFilter`] is.
    pub enum GrpcRouteFilterType {
        /// [`GrpcRouteFilter::response_header_modifier`].
        ResponseHeaderModifier = "ResponseHeaderModifier",
        /// [`GrpcRouteFilter::request_header_modifier`].
        RequestHeaderModifier = "RequestHeaderModifier",
        /// [`GrpcRouteFilter::request_mirror`].
        RequestMirror = "RequestMirror",
        /// [`GrpcRouteFilter::extension_ref`].
        ExtensionRef = "ExtensionRef",
    }
}

/// A backend, its share of the calls, and what happens to those only.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#grpcbackendref>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcBackendRef {
    /// The backend and its share.
    #[serde(flatten)]
    pub backend_ref: BackendRef,
    /// What happens to calls that go to this backend, after the filters of the rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<GrpcRouteFilter>,
}
