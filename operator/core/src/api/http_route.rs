//! `HTTPRoute`: where HTTP requests go.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::string_enum::string_enum;
use super::{
    BackendRef, Duration, GatewayDefaultScope, HttpCorsFilter, HttpExternalAuthFilter, HttpHeaderFilter,
    HttpRequestMirrorFilter, HttpRequestRedirectFilter, HttpUrlRewriteFilter, LocalObjectReference,
    ParentReference, RouteStatus, SessionPersistence,
};

/// What is wanted of an [`HttpRoute`]; see <https://gateway-api.sigs.k8s.io/reference/spec/#httproutespec>.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "HTTPRoute",
    root = "HttpRoute",
    plural = "httproutes",
    namespaced,
    status = "RouteStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq",
    doc = "Where HTTP requests go; see <https://gateway-api.sigs.k8s.io/api-types/httproute/>."
)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteSpec {
    /// What it attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Whether it also attaches to gateways that it does not name (experimental channel).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// Hostnames that it serves, perhaps with a wildcard as their first label; those of its listeners where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Rules, as written; read them with [`Self::rules`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<HttpRouteRule>,
}

impl HttpRouteSpec {
    /// Rules, of which the best match serves a request; by default one for every request, without backends.
    #[must_use]
    pub fn rules(&self) -> &[HttpRouteRule] {
        const DEFAULT: &[HttpRouteRule] = &[HttpRouteRule {
            name: None,
            matches: Vec::new(),
            filters: Vec::new(),
            backend_refs: Vec::new(),
            timeouts: None,
            retry: None,
            session_persistence: None,
        }];
        if self.rules.is_empty() {
            DEFAULT
        } else {
            &self.rules
        }
    }
}

/// What happens to the requests that match.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httprouterule>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteRule {
    /// Name, unique within the route; what a policy's section name refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Requests, as written; read them with [`Self::matches`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<HttpRouteMatch>,
    /// What happens to them on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<HttpRouteFilter>,
    /// Where they go; the answer is 500 where this is empty and no filter answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<HttpBackendRef>,
    /// How long they may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<HttpRouteTimeouts>,
    /// When they are sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<HttpRouteRetry>,
    /// Whether those of one client go to one endpoint (experimental channel).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

impl HttpRouteRule {
    /// Requests, any of which the rule serves; every request by default.
    #[must_use]
    pub fn matches(&self) -> &[HttpRouteMatch] {
        const EVERY: &[HttpRouteMatch] = &[HttpRouteMatch {
            path: None,
            headers: Vec::new(),
            query_params: Vec::new(),
            method: None,
        }];
        if self.matches.is_empty() {
            EVERY
        } else {
            &self.matches
        }
    }
}

/// Requests for which all of these are true.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httproutematch>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteMatch {
    /// What the path must be, as written; read it with [`Self::path`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<HttpPathMatch>,
    /// What headers must be; of several entries with the same name, in any case, only the first counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HttpHeaderMatch>,
    /// What parameters of the query must be; of several entries with the same name only the first counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_params: Vec<HttpQueryParamMatch>,
    /// What the method must be; any where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
}

impl HttpRouteMatch {
    /// What the path must be; anything below `/` by default.
    #[must_use]
    pub fn path(&self) -> &HttpPathMatch {
        const ROOT: &HttpPathMatch = &HttpPathMatch {
            r#type: None,
            value: None,
        };
        self.path.as_ref().unwrap_or(ROOT)
    }
}

/// What a path must be; see <https://gateway-api.sigs.k8s.io/reference/spec/#httppathmatch>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpPathMatch {
    /// How it is compared, as written; read it with [`Self::match_type`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<PathMatchType>,
    /// What it is compared with, as written; read it with [`Self::value`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl HttpPathMatch {
    /// How the path is compared; by prefix by default.
    #[must_use]
    pub fn match_type(&self) -> &PathMatchType {
        self.r#type.as_ref().unwrap_or(&PathMatchType::PathPrefix)
    }

    /// What the path is compared with; `/` by default.
    #[must_use]
    pub fn value(&self) -> &str {
        self.value.as_deref().unwrap_or("/")
    }
}

string_enum! {
    /// How a path is compared.
    #[derive(Default)]
    pub enum PathMatchType {
        /// As a whole, case included.
        Exact = "Exact",
        /// By its first elements: `/a` covers `/a` and `/a/b`, not `/ab`.
        #[default]
        PathPrefix = "PathPrefix",
        /// With a regular expression.
        RegularExpression = "RegularExpression",
    }
}

/// What a header must be; see <https://gateway-api.sigs.k8s.io/reference/spec/#httpheadermatch>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpHeaderMatch {
    /// How it is compared, as written; read it with [`Self::match_type`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<HeaderMatchType>,
    /// Name, in any case.
    pub name: String,
    /// What the value is compared with.
    pub value: String,
}

impl HttpHeaderMatch {
    /// How the value is compared; as a whole by default.
    #[must_use]
    pub fn match_type(&self) -> &HeaderMatchType {
        self.r#type.as_ref().unwrap_or(&HeaderMatchType::Exact)
    }
}

string_enum! {
    /// How the value of a header is compared.
    #[derive(Default)]
    pub enum HeaderMatchType {
        /// As a whole, case included.
        #[default]
        Exact = "Exact",
        /// With a regular expression.
        RegularExpression = "RegularExpression",
    }
}

/// What a parameter of the query must be.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httpqueryparammatch>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpQueryParamMatch {
    /// How it is compared, as written; read it with [`Self::match_type`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<QueryParamMatchType>,
    /// Name, case included.
    pub name: String,
    /// What the value is compared with.
    pub value: String,
}

impl HttpQueryParamMatch {
    /// How the value is compared; as a whole by default.
    #[must_use]
    pub fn match_type(&self) -> &QueryParamMatchType {
        self.r#type.as_ref().unwrap_or(&QueryParamMatchType::Exact)
    }
}

string_enum! {
    /// How the value of a parameter of the query is compared.
    #[derive(Default)]
    pub enum QueryParamMatchType {
        /// As a whole, case included.
        #[default]
        Exact = "Exact",
        /// With a regular expression.
        RegularExpression = "RegularExpression",
    }
}

string_enum! {
    /// The method of a request.
    pub enum HttpMethod {
        /// GET.
        Get = "GET",
        /// HEAD.
        Head = "HEAD",
        /// POST.
        Post = "POST",
        /// PUT.
        Put = "PUT",
        /// DELETE.
        Delete = "DELETE",
        /// CONNECT.
        Connect = "CONNECT",
        /// OPTIONS.
        Options = "OPTIONS",
        /// TRACE.
        Trace = "TRACE",
        /// PATCH.
        Patch = "PATCH",
    }
}

/// A filter: its type, and the field of that name.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httproutefilter>.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteFilter {
    /// Which of the fields below holds the filter.
    pub r#type: HttpRouteFilterType,
    /// Changes headers of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HttpHeaderFilter>,
    /// Changes headers of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HttpHeaderFilter>,
    /// Sends a copy of the request elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<HttpRequestMirrorFilter>,
    /// Sends the client elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_redirect: Option<HttpRequestRedirectFilter>,
    /// Changes hostname and path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<HttpUrlRewriteFilter>,
    /// Answers browsers that ask about requests of other origins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<HttpCorsFilter>,
    /// Asks a service whether the request may pass (experimental channel).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<HttpExternalAuthFilter>,
    /// A filter of an implementation's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalObjectReference>,
}

string_enum! {
    /// Which filter an [`HttpRouteFilter`] is.
    pub enum HttpRouteFilterType {
        /// [`HttpRouteFilter::request_header_modifier`].
        RequestHeaderModifier = "RequestHeaderModifier",
        /// [`HttpRouteFilter::response_header_modifier`].
        ResponseHeaderModifier = "ResponseHeaderModifier",
        /// [`HttpRouteFilter::request_mirror`].
        RequestMirror = "RequestMirror",
        /// [`HttpRouteFilter::request_redirect`].
        RequestRedirect = "RequestRedirect",
        /// [`HttpRouteFilter::url_rewrite`].
        UrlRewrite = "URLRewrite",
        /// [`HttpRouteFilter::extension_ref`].
        ExtensionRef = "ExtensionRef",
        /// [`HttpRouteFilter::cors`].
        Cors = "CORS",
        /// [`HttpRouteFilter::external_auth`].
        ExternalAuth = "ExternalAuth",
    }
}

/// A backend, its share of the requests, and what happens to those only.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httpbackendref>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpBackendRef {
    /// The backend and its share.
    #[serde(flatten)]
    pub backend_ref: BackendRef,
    /// What happens to requests that go to this backend, after the filters of the rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<HttpRouteFilter>,
}

/// How long a request may take; see <https://gateway-api.sigs.k8s.io/reference/spec/#httproutetimeouts>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteTimeouts {
    /// From the request's arrival to the whole response, retries included; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
    /// One attempt at one backend; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Duration>,
}

/// When a request is sent again; see <https://gateway-api.sigs.k8s.io/geps/gep-1731/>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRouteRetry {
    /// Statuses of responses after which it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<i32>,
    /// How often it is sent again, as written; read it with [`Self::attempts`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i64>,
    /// Base interval between attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
}

impl HttpRouteRetry {
    /// How often a request is sent again at most, the first time not counted; 1 by default, 0 for never.
    #[must_use]
    pub fn attempts(&self) -> i64 {
        self.attempts.unwrap_or(1)
    }
}
