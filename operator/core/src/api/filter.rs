//! What a filter of a route does to a request or its response.
//!
//! `HTTPRoute` and `GRPCRoute` choose among these in a `type` of their own; see
//! [`HttpRouteFilter`](super::HttpRouteFilter) and [`GrpcRouteFilter`](super::GrpcRouteFilter).

use serde::{Deserialize, Serialize};

use super::BackendObjectReference;
use super::string_enum::string_enum;

/// Changes headers: `set` first, then `add`, then `remove`; no name appears twice.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httpheaderfilter>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpHeaderFilter {
    /// Headers that replace those of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<HttpHeader>,
    /// Headers that come after those of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<HttpHeader>,
    /// Names of headers to take out, in any case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// A header; see <https://gateway-api.sigs.k8s.io/reference/spec/#httpheader>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpHeader {
    /// Name, in any case.
    pub name: String,
    /// Value, to be sent as it is.
    pub value: String,
}

/// Sends a copy of requests elsewhere and ignores the answers.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httprequestmirrorfilter>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRequestMirrorFilter {
    /// Where the copies go.
    pub backend_ref: BackendObjectReference,
    /// How many of a hundred requests are copied; all of them where this and `fraction` are absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
    /// Which part of the requests is copied; not beside `percent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fraction: Option<Fraction>,
}

/// A part of a whole; see <https://gateway-api.sigs.k8s.io/reference/spec/#fraction>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fraction {
    /// How many parts.
    pub numerator: i32,
    /// Parts of a whole, as written; read it with [`Self::denominator`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denominator: Option<i32>,
}

impl Fraction {
    /// Parts of a whole; 100 by default.
    #[must_use]
    pub fn denominator(&self) -> i32 {
        self.denominator.unwrap_or(100)
    }
}

/// Sends the client elsewhere.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httprequestredirectfilter>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRequestRedirectFilter {
    /// Scheme of the location, `http` or `https`; that of the request where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Hostname of the location; that of the request where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Path of the location; that of the request where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<HttpPathModifier>,
    /// Port of the location; the scheme's own where a scheme is given, otherwise the listener's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// Status of the response, as written; read it with [`Self::status_code`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<i32>,
}

impl HttpRequestRedirectFilter {
    /// Status of the response; 302 by default.
    #[must_use]
    pub fn status_code(&self) -> i32 {
        self.status_code.unwrap_or(302)
    }
}

/// Changes the request before it goes to the backend.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httpurlrewritefilter>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpUrlRewriteFilter {
    /// Value of the `Host` header; that of the request where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Path; that of the request where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<HttpPathModifier>,
}

/// A new path: its type, and the field of that name.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httppathmodifier>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpPathModifier {
    /// Which of the fields below holds the path.
    pub r#type: HttpPathModifierType,
    /// The new path as a whole, without the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace_full_path: Option<String>,
    /// What takes the place of the prefix that the rule matched by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace_prefix_match: Option<String>,
}

string_enum! {
    /// Which part of a path is replaced.
    pub enum HttpPathModifierType {
        /// [`HttpPathModifier::replace_full_path`].
        ReplaceFullPath = "ReplaceFullPath",
        /// [`HttpPathModifier::replace_prefix_match`].
        ReplacePrefixMatch = "ReplacePrefixMatch",
    }
}

/// Answers browsers that ask whether a page of another origin may send the request.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httpcorsfilter>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpCorsFilter {
    /// Origins that may, with `*` for all or as the first part of the hostname.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_origins: Vec<String>,
    /// Whether the request may carry credentials, as written; read it with [`Self::allow_credentials`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Methods that the request may have, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_methods: Vec<String>,
    /// Names of headers that the request may have, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_headers: Vec<String>,
    /// Names of headers of the response that the page may read, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose_headers: Vec<String>,
    /// How many seconds the answer holds, as written; read it with [`Self::max_age`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<i32>,
}

impl HttpCorsFilter {
    /// Whether the request may carry credentials; not by default.
    #[must_use]
    pub fn allow_credentials(&self) -> bool {
        self.allow_credentials.unwrap_or(false)
    }

    /// How many seconds the answer holds; 5 by default.
    #[must_use]
    pub fn max_age(&self) -> i32 {
        self.max_age.unwrap_or(5)
    }
}

/// Asks a service whether the request may pass (experimental channel).
///
/// See <https://gateway-api.sigs.k8s.io/geps/gep-1494/>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpExternalAuthFilter {
    /// How the service is asked.
    pub protocol: HttpRouteExternalAuthProtocol,
    /// The service.
    pub backend_ref: BackendObjectReference,
    /// Details for [`HttpRouteExternalAuthProtocol::Grpc`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcAuthConfig>,
    /// Details for [`HttpRouteExternalAuthProtocol::Http`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAuthConfig>,
    /// Sends the request's body too; it is not sent where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_body: Option<ForwardBodyConfig>,
}

string_enum! {
    /// How an authorization service is asked.
    pub enum HttpRouteExternalAuthProtocol {
        /// With a request of its own, whose status is the answer.
        Http = "HTTP",
        /// With Envoy's `ext_authz`.
        Grpc = "GRPC",
    }
}

/// Details of asking by gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcAuthConfig {
    /// Names of the request's headers that the service sees; all of them where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_headers: Vec<String>,
}

/// Details of asking by HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpAuthConfig {
    /// What comes before the request's own path; nothing where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Names of further headers of the request that the service sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_headers: Vec<String>,
    /// Names of headers of the service's answer that the backend sees; all of them where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_response_headers: Vec<String>,
}

/// How much of the request's body an authorization service sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForwardBodyConfig {
    /// Most bytes that are sent; nothing where absent or 0, and the implementation's choice for a longer body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<i32>,
}
