use std::fmt;

use serde::Serialize;

use super::upstream::Protocol;
use crate::syntax::{HeaderName, Hostname, Id, Method, Path};

/// What is done with a request once its rule, or its backend, is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Action {
    /// The object that asked for it.
    pub origin: Origin,
    /// Changes to the request on its way to the backend.
    pub request_headers: HeaderChanges,
    /// Changes to the response on its way to the client.
    pub response_headers: HeaderChanges,
    /// Name of the policy for cross-origin requests.
    pub cors: Option<Id>,
    /// Internal locations that get a copy of the request.
    pub mirrors: Vec<Id>,
    /// Who answers.
    pub step: Step,
}

/// The object, and the part of it, that a piece of configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Origin {
    /// Such as `HTTPRoute`.
    pub kind: &'static str,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Such as `rule 0` or `rule 2 (checkout)`; empty for the whole object.
    pub part: String,
}

/// Who answers a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Step {
    /// A backend.
    Proxy(Proxy),
    /// NGINX, by sending the client elsewhere.
    Redirect(Redirect),
    /// The internal location of the backend that this split chooses.
    Split(Id),
    /// NGINX, with this status: 500 for a reference that cannot be followed, 404 for no rule.
    Refuse(u16),
    /// A backend, for a copy of a request whose answer nobody waits for.
    Mirror(MirrorRequest),
}

/// A copy of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MirrorRequest {
    /// Where it goes.
    pub target: Target,
    /// What the endpoints speak.
    pub protocol: Protocol,
    /// How NGINX speaks TLS to them; `None` for plain text, and where the proxy does it.
    pub tls: Option<Id>,
    /// Split whose value is 1 for the requests that are copied and 0 for others; `None` if all are.
    pub sample: Option<Id>,
}

/// How a request goes to a backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Proxy {
    /// Which backend.
    pub target: Target,
    /// What the backend's endpoints speak.
    pub protocol: Protocol,
    /// How NGINX speaks TLS to them; `None` for plain text, and where the proxy does it.
    pub tls: Option<Id>,
    /// `Host` of the request; `None` as the client sent it.
    pub host: Option<Hostname>,
    /// Path of the request; `None` as the client sent it.
    pub path: Option<RewrittenPath>,
}

/// One upstream, a choice of several, or the way through the agent's proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Target {
    /// This upstream.
    Upstream(Id),
    /// The upstream that this split names.
    Split(Id),
    /// The agent's proxy, which is told the name of this leg.
    Leg(Id),
}

/// A new path, to which the request's query is added.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum RewrittenPath {
    /// This one, percent-encoded as the user wrote it.
    Full(String),
    /// The value of a prefix replacement.
    Prefix(Id),
}

/// A replacement of the first segments of a path.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httppathmodifier>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PathRewrite {
    /// The segments that are replaced, which the rule's match guarantees.
    pub prefix: Path,
    /// What stands in their place, percent-encoded as the user wrote it.
    pub replacement: String,
}

/// An answer that sends the client elsewhere.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httprequestredirectfilter>.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// `http` or `https`; `None` as the request's.
    pub scheme: Option<&'static str>,
    /// `None` as the request's.
    pub host: Option<Hostname>,
    /// `None` where the scheme's own port makes it needless.
    pub port: Option<u16>,
    /// `None` as the request's.
    pub path: Option<RewrittenPath>,
}

/// Changes to a message's headers, each name in one of the lists only.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct HeaderChanges {
    /// Fields that get this value in place of those they have.
    pub set: Vec<(HeaderName, String)>,
    /// Fields that get these values after those they have.
    pub add: Vec<(HeaderName, Vec<String>)>,
    /// Fields that go.
    pub remove: Vec<HeaderName>,
}

/// What browsers of other origins may do.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httpcorsfilter>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cors {
    /// Origins that are let in.
    pub origins: Vec<OriginPattern>,
    /// Whether cookies and authorization may be sent along.
    pub credentials: bool,
    /// Methods that are let in; empty for those that need no permission, `None` for all.
    pub methods: Option<Vec<Method>>,
    /// Request headers that are let in; `None` for all.
    pub request_headers: Option<Vec<HeaderName>>,
    /// Response headers that scripts may read; `None` for all.
    pub exposed_headers: Option<Vec<HeaderName>>,
    /// For how many seconds a browser may remember this.
    pub max_age: u32,
}

/// Origins as a user wrote them, split at the point where a wildcard may stand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum OriginPattern {
    /// Every origin.
    Any,
    /// This one, such as `https://example.com:8443`.
    Exact(String),
    /// All that have something between scheme and the rest: `https://*.example.com` is `https://` and `.example.com`.
    Wildcard {
        /// With `://`.
        scheme: String,
        /// From the first dot on, with the port if there is one.
        rest: String,
    },
}

impl Origin {
    /// What a line of configuration starts with that names an origin.
    pub const MARK: &str = "# from ";
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            namespace,
            name,
            part,
        } = self;
        write!(formatter, "{kind} {namespace}/{name}")?;
        if part.is_empty() {
            Ok(())
        } else {
            write!(formatter, " {part}")
        }
    }
}
