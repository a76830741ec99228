//! Routes, checked and in types that cannot be wrong.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::jiff::Timestamp;

use super::{
    backend::Backends,
    grant::Grants,
    mistake::{Mistake, Mistakes, quoted},
    rule::rule,
};
use crate::{
    api::{self, Route},
    config::{Condition, Cors, HeaderChanges, Protocol, Upstream},
    object::ObjectKey,
    snapshot::Snapshot,
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
    /// When it applies, never empty.
    pub matches: Vec<Match>,
    /// What it does with all its requests.
    pub filters: Filters,
    /// Who takes the requests, in the rule's order; those of weight 0 are in it.
    pub backends: Vec<Backend>,
    /// Whether its requests must be answered with 500 whatever else it says, as it has a filter that must not be
    /// skipped and cannot be done.
    pub refused: bool,
}

/// One of a rule's alternatives.
#[derive(Debug)]
pub struct Match {
    /// Its place in the rule's list, from 0.
    pub index: usize,
    /// What the path must be.
    pub path: PathMatch,
    /// What else must hold: first the method if one is asked for, then headers, then query parameters.
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
    pub upstream: Upstream,
    /// What is spoken there.
    pub protocol: Protocol,
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
    },
    /// A reference that leads nowhere, or a filter that cannot be done: 500.
    Unresolved,
}

/// Every `HTTPRoute`.
#[must_use]
pub fn resolve(snapshot: &Snapshot, grants: &Grants<'_>) -> BTreeMap<ObjectKey, Arc<HttpRoute>> {
    let backends = Backends::new(snapshot, grants);
    let resolved = |(key, route): (&ObjectKey, &Arc<api::HttpRoute>)| {
        (key.clone(), Arc::new(resolve_route(key, route, &backends)))
    };
    snapshot.http_routes.iter().map(resolved).collect()
}

fn resolve_route(key: &ObjectKey, route: &api::HttpRoute, backends: &Backends<'_>) -> HttpRoute {
    let mut mistakes = Mistakes::default();
    let mut hostnames = Vec::with_capacity(route.spec.hostnames.len());
    for (index, hostname) in route.spec.hostnames.iter().enumerate() {
        match Hostname::new(hostname) {
            Some(hostname) => hostnames.push(hostname),
            None => mistakes.hostnames.push(Mistake::unsupported(
                format!("hostnames[{index}]"),
                format!(
                    "{} is not a DNS name, nor one whose first label is *",
                    quoted(hostname)
                ),
            )),
        }
    }
    hostnames.sort();
    hostnames.dedup();
    if route.spec.use_default_gateways.is_some() {
        mistakes.ignored.push(Mistake::unsupported(
            "useDefaultGateways",
            "is not supported yet and has no effect; name the Gateways in parentRefs",
        ));
    }
    let written = route.spec.rules().iter().enumerate();
    let rules: Vec<Rule> = written
        .filter_map(|(index, written)| rule(index, written, &key.namespace, backends, &mut mistakes))
        .collect();
    HttpRoute {
        key: key.clone(),
        created: route.created().map(|created| created.0),
        hostnames,
        rules,
        mistakes,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::example::resolved;

    fn route(spec: &str) -> Arc<HttpRoute> {
        let route =
            format!("{{kind: HTTPRoute, metadata: {{namespace: default, name: shop}}, spec: {{{spec}}}}}");
        let mut routes = resolved(&[&route]).http_routes;
        routes
            .remove(&ObjectKey::new("default", "shop"))
            .expect("every route is resolved")
    }

    const INVALID: &str = "matches: [{path: {value: no-slash}}]";
    const GUARDED: &str = "filters: [{type: ExternalAuth}]";

    #[test]
    fn hostnames_are_in_order_of_precedence_and_each_once() {
        let hostnames = route("hostnames: ['*.a.org', b.org, B.org, long.a.org]")
            .hostnames
            .clone();
        let hostnames: Vec<&str> = hostnames.iter().map(Hostname::as_str).collect();
        assert_eq!(hostnames, ["long.a.org", "b.org", "*.a.org"]);
    }

    #[test]
    fn an_invalid_hostname_is_left_out() {
        let route = route(r#"hostnames: [a.org, "b\n.org"]"#);
        assert_eq!(route.hostnames.len(), 1);
        assert!(
            route.mistakes.hostnames[0]
                .to_string()
                .starts_with(r#"hostnames[1]: "b\n.org" is not"#)
        );
        assert_eq!(route.refusal(), None);
    }

    #[test]
    fn a_route_whose_hostnames_are_all_invalid_is_not_one_for_all_hosts() {
        assert!(route("hostnames: ['a b']").refusal().is_some());
    }

    #[test]
    fn a_rule_that_is_left_out_is_counted() {
        let route = route(&format!("rules: [{{{INVALID}}}, {{}}]"));
        assert_eq!(route.rules.len(), 1);
        assert_eq!(route.rules[0].index, 1);
        assert_eq!(route.refusal(), None);
    }

    #[test]
    fn a_route_without_a_rule_that_can_be_served_is_refused() {
        assert!(route(&format!("rules: [{{{INVALID}}}]")).refusal().is_some());
        assert!(route(&format!("rules: [{{{GUARDED}}}]")).refusal().is_some());
    }

    #[test]
    fn a_guarded_rule_beside_others_stays_and_is_refused() {
        let route = route(&format!("rules: [{{{GUARDED}}}, {{}}]"));
        assert_eq!(route.refusal(), None);
        assert_eq!(
            route.rules.iter().map(|rule| rule.refused).collect::<Vec<_>>(),
            [true, false]
        );
    }

    #[test]
    fn a_route_without_rules_takes_every_request() {
        assert_eq!(route("").rules.len(), 1);
    }
}
