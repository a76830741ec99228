//! Which rule would take a request, and why nearer ones would not: what `translate` has NGINX do, done here.

mod request;

use std::fmt;

use regex_automata::nfa::thompson::{NFA, pikevm::PikeVM};
use regex_syntax::hir::{Hir, Look};

pub use request::{Request, RequestError};

use crate::{
    config::{Condition, Subject},
    object::ObjectKey,
    resolve::{
        BackendTarget, Filters, Gateway, Listener, ListenerOwner, PathMatch, Resolved, Rule, route::Picking,
    },
    syntax::{Hostname, Pattern},
    translate::{Candidate, RouteIndex, owner},
};

/// What one gateway would do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Which gateway.
    pub gateway: ObjectKey,
    /// The listener that the host belongs to; `None` if none covers it, and the answer is 404.
    pub listener: Option<String>,
    /// Whether that listener refuses handshakes for want of certificates, so that there is no answer.
    pub refuses_handshakes: bool,
    /// Rules for the host that come before the one that takes the request, each with the reason why it does not; if
    /// none takes it, also the listener's routes for other hosts.
    pub passed: Vec<(String, String)>,
    /// The rule that takes the request, and what it does; `None` if none does, and the answer is 404.
    pub taken: Option<(String, Vec<String>)>,
}

/// What each gateway that listens on the request's port, with the request's scheme, would do with it.
#[must_use]
pub fn explain(resolved: &Resolved, request: &Request) -> Vec<Explanation> {
    let gateways = resolved.gateways.values().filter(|gateway| gateway.is_accepted());
    gateways
        .filter_map(|gateway| explain_gateway(resolved, gateway, request))
        .collect()
}

fn explain_gateway(resolved: &Resolved, gateway: &Gateway, request: &Request) -> Option<Explanation> {
    let tls = request.scheme == "https";
    let on_port = |listener: &&Listener| {
        listener.listens() && listener.port == request.port && listener.tls.is_some() == tls
    };
    if !gateway.listeners.iter().any(|listener| on_port(&listener)) {
        return None;
    }
    let hostname = request.hostname();
    let listeners = gateway
        .listeners
        .iter()
        .enumerate()
        .filter(|(_, listener)| on_port(listener));
    let listener = owner(listeners, hostname.as_ref());
    let mut explanation = Explanation {
        gateway: gateway.key.clone(),
        listener: listener.map(|(_, listener)| describe_listener(listener)),
        refuses_handshakes: listener.is_some_and(|(_, listener)| !listener.serves),
        passed: Vec::new(),
        taken: None,
    };
    if explanation.refuses_handshakes {
        return Some(explanation);
    }
    let routes = resolved.attachments.http_routes.get(&gateway.key);
    let routes = listener.and_then(|(position, _)| routes?.get(position));
    let index = RouteIndex::new(routes.map_or(&[], Vec::as_slice));
    for candidate in index.candidates(hostname.as_ref()) {
        if let Some(why) = mismatch(&candidate, request) {
            explanation.passed.push((describe_match(&candidate), why));
        } else {
            explanation.taken = Some((describe_match(&candidate), describe_rule(candidate.rule, request)));
            break;
        }
    }
    if explanation.taken.is_none() {
        let elsewhere = index.of_other_hosts(hostname.as_ref());
        explanation.passed.extend(elsewhere.into_iter().map(|route| {
            let hostnames: Vec<&str> = route.hostnames.iter().map(Hostname::as_str).collect();
            (
                format!("HTTPRoute {}", route.key),
                format!("it serves {} only", hostnames.join(", ")),
            )
        }));
    }
    Some(explanation)
}

/// Why a match does not take the request; `None` if it does.
fn mismatch(candidate: &Candidate<'_>, request: &Request) -> Option<String> {
    let path = &candidate.matched.path;
    let fits = match path {
        PathMatch::Exact(exact) => exact.as_bytes() == request.path,
        PathMatch::Prefix(prefix) => {
            let rest = request.path.strip_prefix(prefix.without_trailing_slash());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        }
        PathMatch::Regex(pattern) => matches(pattern, &request.path),
    };
    if !fits {
        let actual = String::from_utf8_lossy(&request.path);
        return Some(format!("the path {actual} is not {}", describe_path(path)));
    }
    candidate
        .matched
        .conditions
        .iter()
        .find_map(|condition| unmet(condition, request))
}

fn unmet(condition: &Condition, request: &Request) -> Option<String> {
    let Condition { subject, pattern } = condition;
    let (what, actual) = match subject {
        Subject::Method(method) if method.as_str() == request.method => return None,
        Subject::Method(method) => return Some(format!("the method is {}, not {method}", request.method)),
        Subject::Preflight(method) if request.preflight().as_deref() == Some(method.as_str()) => return None,
        Subject::Preflight(method) => return Some(format!("it is no preflight request for {method}")),
        Subject::Path => ("the path".to_owned(), Some(request.path.clone())),
        Subject::Header(name) => (
            format!("header {name}"),
            request.header(name.as_str()).map(String::into_bytes),
        ),
        Subject::Query(name) => (format!("query parameter {name}"), request.query(name)),
    };
    match actual {
        None => Some(format!("{what} has no value, it must be {}", pattern.source())),
        Some(actual) if matches(pattern, &actual) => None,
        Some(actual) => Some(format!(
            "{what} is {}, it must be {}",
            String::from_utf8_lossy(&actual),
            pattern.source()
        )),
    }
}

/// Whether the pattern matches all of `text`.
fn matches(pattern: &Pattern, text: &[u8]) -> bool {
    let whole = [
        Hir::look(Look::Start),
        pattern.hir().clone(),
        Hir::look(Look::End),
    ];
    let config = NFA::config().utf8(false).nfa_size_limit(Some(10 << 20));
    let nfa = NFA::compiler()
        .configure(config)
        .build_from_hir(&Hir::concat(whole.to_vec()));
    let matcher = nfa.and_then(PikeVM::new_from_nfa);
    matcher.is_ok_and(|matcher| matcher.is_match(&mut matcher.create_cache(), text))
}

fn describe_listener(listener: &Listener) -> String {
    let hostname = listener
        .hostname
        .as_ref()
        .map_or("every host", |hostname| hostname.as_str());
    let owner = match &listener.owner {
        ListenerOwner::Gateway => String::new(),
        ListenerOwner::ListenerSet(key) => format!(" of ListenerSet {key}"),
    };
    format!("{}{owner} (port {}, {hostname})", listener.name, listener.port)
}

fn describe_match(candidate: &Candidate<'_>) -> String {
    let Candidate {
        route, rule, matched, ..
    } = candidate;
    let name = rule
        .name
        .as_ref()
        .map(|name| format!(" ({name})"))
        .unwrap_or_default();
    let path = describe_path(&matched.path);
    format!(
        "HTTPRoute {} rule {}{name} match {}: {path}",
        route.key, rule.index, matched.index
    )
}

fn describe_path(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(path) => format!("exactly {path}"),
        PathMatch::Prefix(path) => format!("{path} or below"),
        PathMatch::Regex(pattern) => format!("like {}", pattern.source()),
    }
}

fn describe_rule(rule: &Rule, request: &Request) -> Vec<String> {
    if rule.refused {
        return vec!["answered with 500: it has a filter that is not supported".to_owned()];
    }
    let Filters { redirect, cors, .. } = &rule.filters;
    let total: u64 = rule
        .backends
        .iter()
        .map(|backend| u64::from(backend.weight))
        .sum();
    if total == 0 && redirect.is_none() {
        return vec!["answered with 500: it has no backend with a weight above 0".to_owned()];
    }
    if cors.is_some() && request.preflight().is_some() {
        return vec!["answered with 204 and what its CORS filter lets the origin do".to_owned()];
    }
    if let Some(redirect) = redirect {
        return vec![format!("answered with a redirect, status {}", redirect.status)];
    }
    let backends = rule.backends.iter().map(|backend| {
        let weight = format!("{} of {total}", backend.weight);
        match &backend.target {
            BackendTarget::Service { upstream, .. } => format!("{weight} to {upstream}"),
            BackendTarget::Pool {
                upstream, picking, ..
            } => format!("{weight} to {upstream}, {}", describe_picking(picking)),
            BackendTarget::Unresolved => {
                format!("{weight} answered with 500: the backend cannot be resolved")
            }
        }
    });
    backends.collect()
}

fn describe_picking(picking: &Picking) -> String {
    match picking {
        Picking::ByGateway => "to the endpoint with the fewest requests in flight".to_owned(),
        Picking::ByPicker {
            upstream, fail_open, ..
        } => {
            let otherwise = if *fail_open {
                "the gateway chooses while that fails"
            } else {
                "503 while that fails"
            };
            format!("to the endpoint that {upstream} picks; {otherwise}")
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "Gateway {}", self.gateway)?;
        match &self.listener {
            Some(listener) => writeln!(formatter, "  listener {listener}")?,
            None => writeln!(formatter, "  404: no listener covers the host")?,
        }
        for (candidate, why) in &self.passed {
            writeln!(formatter, "  - {candidate}\n      no: {why}")?;
        }
        match &self.taken {
            Some((candidate, then)) => {
                writeln!(formatter, "  + {candidate}")?;
                then.iter()
                    .try_for_each(|line| writeln!(formatter, "      {line}"))
            }
            None if self.refuses_handshakes => {
                writeln!(
                    formatter,
                    "  no handshake: the listener's status says what it lacks"
                )
            }
            None if self.listener.is_some() => writeln!(formatter, "  404: no rule takes the request"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::example::resolved;

    #[test]
    fn host_of_a_listener_without_a_certificate_is_served_by_no_other() {
        let resolved = resolved(&["kind: Gateway\nmetadata: {namespace: default, name: edge}\n\
             spec: {gatewayClassName: ours, listeners: [{name: shop, port: 443, protocol: HTTPS, \
             hostname: shop.example, tls: {certificateRefs: [{name: gone}]}}]}"]);
        let request = Request::parse("GET https://shop.example/", []).expect("a request");
        let explanations = explain(&resolved, &request);
        assert_eq!(
            explanations[0].to_string(),
            "Gateway default/edge\n  listener shop (port 443, shop.example)\n  \
             no handshake: the listener's status says what it lacks\n"
        );
    }

    #[test]
    fn preflights_are_taken_by_what_they_ask_for_and_answered() {
        let resolved = resolved(&["kind: HTTPRoute\nmetadata: {namespace: default, name: shop}\n\
             spec: {parentRefs: [{name: edge}], rules: [{matches: [{method: PUT}], filters: [{type: CORS, cors: {}}], \
             backendRefs: [{name: shop, port: 80}]}]}"]);
        let taken = |wanted: &str| {
            let headers = ["Origin: https://a.example", wanted];
            let request = Request::parse("OPTIONS http://shop.example.com/", headers).expect("a request");
            explain(&resolved, &request)[0].taken.clone()
        };
        let name = "HTTPRoute default/shop rule 0 match 0: / or below".to_owned();
        let answer = "answered with 204 and what its CORS filter lets the origin do".to_owned();
        assert_eq!(
            taken("Access-Control-Request-Method: PUT"),
            Some((name, vec![answer]))
        );
        assert_eq!(taken("Access-Control-Request-Method: GET"), None);
    }
}
