//! Which rule comes before which.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    config::Subject,
    object::ObjectKey,
    resolve::{HttpRoute, Match, PathMatch, Rule},
    syntax::Hostname,
};

/// One match of one rule, which may take requests for some hostname.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The route.
    pub route: &'a HttpRoute,
    /// The rule of the route.
    pub rule: &'a Rule,
    /// The match of the rule.
    pub matched: &'a Match,
    /// The most specific of the route's own hostnames that covers the hostname; `None` if it has none at all.
    pub hostname: Option<&'a Hostname>,
}

/// The routes behind a listener, by their own hostnames.
#[derive(Debug, Default)]
pub struct RouteIndex<'a> {
    exact: BTreeMap<&'a str, Vec<Named<'a>>>,
    /// By what stands after the wildcard's `*`.
    wildcard: BTreeMap<&'a str, Vec<Named<'a>>>,
    /// Routes that serve every host.
    any: Vec<&'a HttpRoute>,
}

/// A route by one of its hostnames.
type Named<'a> = (&'a HttpRoute, &'a Hostname);

impl<'a> RouteIndex<'a> {
    /// The index of these routes.
    #[must_use]
    pub fn new(routes: &'a [Arc<HttpRoute>]) -> Self {
        let mut index = Self::default();
        for route in routes {
            if route.hostnames.is_empty() {
                index.any.push(route);
            }
            for hostname in &route.hostnames {
                let named = match hostname.as_str().strip_prefix('*') {
                    Some(suffix) => index.wildcard.entry(suffix),
                    None => index.exact.entry(hostname.as_str()),
                };
                named.or_default().push((route, hostname));
            }
        }
        index
    }

    /// The matches of all rules that serve `hostname`, in order of precedence.
    ///
    /// The first of them that fits a request takes it: the order is that of
    /// <https://gateway-api.sigs.k8s.io/reference/spec/#httprouterule>, with the routes' own hostnames before
    /// everything else and regular expressions between exact paths and prefixes, where the specification leaves the
    /// choice to us.
    #[must_use]
    pub fn candidates(&self, hostname: Option<&Hostname>) -> Vec<Candidate<'a>> {
        let mut candidates = Vec::new();
        for (route, hostname) in self.serving(hostname) {
            for rule in &route.rules {
                let matches = rule.matches.iter();
                candidates.extend(matches.map(|matched| Candidate {
                    route,
                    rule,
                    matched,
                    hostname,
                }));
            }
        }
        candidates.sort_by(precedence);
        candidates
    }

    /// The routes that do not serve `hostname`, in order of name.
    #[must_use]
    pub fn of_other_hosts(&self, hostname: Option<&Hostname>) -> Vec<&'a HttpRoute> {
        let serving: BTreeSet<&ObjectKey> = self
            .serving(hostname)
            .into_iter()
            .map(|(route, _)| &route.key)
            .collect();
        let named = self
            .exact
            .values()
            .chain(self.wildcard.values())
            .flatten()
            .map(|(route, _)| *route);
        let others: BTreeMap<&ObjectKey, &HttpRoute> = named
            .filter(|route| !serving.contains(&route.key))
            .map(|route| (&route.key, route))
            .collect();
        others.into_values().collect()
    }

    /// The routes that serve `hostname`, each with the most specific of its own hostnames that covers it.
    fn serving(&self, hostname: Option<&Hostname>) -> Vec<(&'a HttpRoute, Option<&'a Hostname>)> {
        let exact = hostname.and_then(|hostname| self.exact.get(hostname.as_str()));
        let suffixes = hostname.into_iter().flat_map(Hostname::covering_suffixes);
        let wildcard = suffixes.filter_map(|suffix| self.wildcard.get(suffix));
        let named = exact.into_iter().chain(wildcard).flatten();
        let mut seen = BTreeSet::new();
        let mut serving: Vec<_> = named
            .filter(|(route, _)| seen.insert(&route.key))
            .map(|(route, hostname)| (*route, Some(*hostname)))
            .collect();
        serving.extend(self.any.iter().map(|route| (*route, None)));
        serving
    }
}

fn precedence(left: &Candidate<'_>, right: &Candidate<'_>) -> Ordering {
    by_hostname(left, right)
        .then_with(|| by_path(&left.matched.path, &right.matched.path))
        .then_with(|| by_conditions(left.matched, right.matched))
        .then_with(|| left.route.created.cmp(&right.route.created))
        .then_with(|| left.route.key.cmp(&right.route.key))
        .then_with(|| left.rule.index.cmp(&right.rule.index))
        .then_with(|| left.matched.index.cmp(&right.matched.index))
}

fn by_hostname(left: &Candidate<'_>, right: &Candidate<'_>) -> Ordering {
    match (left.hostname, right.hostname) {
        (Some(left), Some(right)) => left
            .is_wildcard()
            .cmp(&right.is_wildcard())
            .then(right.as_str().len().cmp(&left.as_str().len())),
        (left, right) => left.is_none().cmp(&right.is_none()),
    }
}

fn by_path(left: &PathMatch, right: &PathMatch) -> Ordering {
    let rank = |path: &PathMatch| match path {
        PathMatch::Exact(_) => (0, 0),
        PathMatch::Regex(pattern) => (1, pattern.source().len()),
        PathMatch::Prefix(path) => (2, path.without_trailing_slash().len()),
    };
    let ((left, left_length), (right, right_length)) = (rank(left), rank(right));
    left.cmp(&right).then(right_length.cmp(&left_length))
}

/// A method first, then one that a preflight request has to ask for, then the number of headers, then that of query
/// parameters; more come first.
fn by_conditions(left: &Match, right: &Match) -> Ordering {
    let count = |matched: &Match| {
        let mut count = (0, 0, 0);
        for condition in &matched.conditions {
            match condition.subject {
                Subject::Method(_) => count.0 += 2,
                Subject::Preflight(_) => count.0 += 1,
                Subject::Header(_) => count.1 += 1,
                Subject::Query(_) => count.2 += 1,
                Subject::Path => {}
            }
        }
        count
    };
    count(right).cmp(&count(left))
}
