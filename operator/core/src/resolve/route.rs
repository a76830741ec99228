//! Routes, checked and in types that cannot be wrong.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;

use super::mistake::{Mistake, Mistakes};
use crate::{
    config::{BackendTls, Condition, Cors, HeaderChanges, Protocol, Retry, Upstream},
    object::ObjectKey,
    syntax::{Hostname, Path, Pattern},
};

/// An `HTTPRoute`.
#[derive(Debug)]
pub struct HttpRoute {
    /// Which one.
    pub key: ObjectKey,
    /// When it was created: the older of two equals wins. `None` is older than any.
    pub created: Option<Timestamp>,
    /// Its own hostnames that are valid, in order of precedence; empty for all hosts.
    pub hostnames: Vec<Hostname>,
    /// The rules that can be served, in the route's order.
    pub rules: Vec<Rule>,
    /// What is wrong with it.
    pub mistakes: Mistakes,
}

/// A rule of a route.
#[derive(Debug)]
pub struct Rule {
    /// Its place in the route's list, from 0, as written (rules that had to be dropped are counted).
    pub index: usize,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// When it applies, never empty: first the alternatives as written, then what follows from them.
    pub matches: Vec<Match>,
    /// What it does with all its requests.
    pub filters: Filters,
    /// Who takes the requests, in the rule's order; those of weight 0 are in it.
    pub backends: Vec<Backend>,
    /// How long its requests may take.
    pub timeouts: Timeouts,
    /// When they are sent again; `None` where the rule says nothing.
    pub retry: Option<Retry>,
    /// Whether its requests must be answered with 500 whatever else it says, as it has a filter that must not be
    /// skipped and cannot be done.
    pub refused: bool,
}

/// How long requests may take; `None` for no limit.
///
/// See <https://gateway-api.sigs.k8s.io/geps/gep-1742/>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request's arrival to the whole response.
    pub request: Option<Duration>,
    /// For one try at one endpoint.
    pub backend_request: Option<Duration>,
}

/// One of a rule's alternatives.
#[derive(Clone, Debug)]
pub struct Match {
    /// Its place in the rule's list, from 0, or that of the match it follows from.
    pub index: usize,
    /// What the path must be.
    pub path: PathMatch,
    /// What else must hold: first the method if one is asked for (by the request or by a preflight), then headers, then query parameters.
    pub conditions: Vec<Condition>,
}

/// What a path must be.
#[derive(Clone, Debug, PartialEq)]
pub enum PathMatch {
    /// This one.
    Exact(Path),
    /// Like this, from its first to its last byte.
    Regex(Pattern),
    /// This one or below it.
    Prefix(Path),
}

/// What is done with requests and answers, in the words of `config` where these are the same.
#[derive(Debug, Default, PartialEq)]
pub struct Filters {
    /// Changes to the request's headers.
    pub request_headers: HeaderChanges,
    /// Changes to the response's headers.
    pub response_headers: HeaderChanges,
    /// An answer that sends the client elsewhere.
    pub redirect: Option<RedirectFilter>,
    /// Changes to the request's host.
    pub rewrite_host: Option<Hostname>,
    /// Changes to the request's path.
    pub rewrite_path: Option<PathModifier>,
    /// What browsers of other origins may do.
    pub cors: Option<Cors>,
    /// Who else gets the request.
    pub mirrors: Vec<Mirror>,
}

/// An answer that sends the client elsewhere; what is not said depends on the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectFilter {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// `http` or `https`.
    pub scheme: Option<&'static str>,
    /// Host to go to.
    pub hostname: Option<Hostname>,
    /// Port to go to.
    pub port: Option<u16>,
    /// Path to go to.
    pub path: Option<PathModifier>,
}

/// A change of a path; replacements are percent-encoded, as the user wrote them, and can stand in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathModifier {
    /// This one instead.
    ReplaceFullPath(String),
    /// This in place of the prefix that matched; all of the rule's matches are prefixes.
    ReplacePrefixMatch(String),
}

/// Someone who gets a copy of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where it goes.
    pub target: BackendTarget,
    /// How many of 10,000 requests; all where nothing is said.
    pub share: u16,
}

/// Someone who may take a rule's requests.
#[derive(Debug)]
pub struct Backend {
    /// Its part of the sum of weights; 0 for none.
    pub weight: u32,
    /// What is done with its requests, after the rule's own filters.
    pub filters: Filters,
    /// Who it is.
    pub target: BackendTarget,
}

/// Who a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendTarget {
    /// The endpoints of a Service's port.
    Service {
        /// Which Service and port.
        upstream: Upstream,
        /// What is spoken there.
        protocol: Protocol,
        /// TLS, without a certificate of our own, which is the gateway's matter; `None` for plain text.
        tls: Option<Arc<BackendTls>>,
    },
    /// The endpoints of an `InferencePool`.
    Pool {
        /// Which pool and ports.
        upstream: Upstream,
        /// What is spoken there.
        protocol: Protocol,
        /// Who chooses among them.
        picking: Picking,
    },
    /// A reference that leads nowhere, or a filter that cannot be done: 500.
    Unresolved,
}

/// Who chooses among the endpoints of an `InferencePool`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picking {
    /// The gateway itself, by fewest requests in flight.
    ByGateway,
    /// An endpoint picker.
    ByPicker {
        /// Which Service and port.
        upstream: Upstream,
        /// TLS with it; `None` for plain text.
        tls: Option<Arc<BackendTls>>,
        /// Whether the gateway chooses while the picker fails.
        fail_open: bool,
        /// Whether one of the picker's endpoints is asked about all requests while the others stand by.
        one_leads: bool,
    },
}

impl HttpRoute {
    /// The mistake that leaves nothing of the route to serve; `None` where something is left.
    ///
    /// A route whose hostnames are all invalid must not become one for all hosts.
    #[must_use]
    pub fn refusal(&self) -> Option<&Mistake> {
        let no_host = self
            .hostnames
            .is_empty()
            .then_some(())
            .and(self.mistakes.hostnames.first());
        let no_rule = self
            .rules
            .iter()
            .all(|rule| rule.refused)
            .then_some(())
            .and(self.mistakes.rules.first());
        no_host.or(no_rule)
    }
}
