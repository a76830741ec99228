//! Which rule of which `HTTPRoute` of a Gateway serves a request, said as plainly as it can be.
//!
//! It shares no code with the product: tests send random requests through NGINX and expect the same answer.
//! The order is that of <https://gateway-api.sigs.k8s.io/reference/spec/#httprouterule>, with what the
//! specification leaves open decided as the product documents it: regular expressions match the whole value and
//! come between exact paths and prefixes, the longer pattern first; preflight requests count as having the method they
//! ask for where a rule with a policy for them matches by that, after rules that match by theirs.

use std::cmp::Reverse;

use regex::bytes::Regex;

/// A Gateway, and the routes that name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// The hostnames of its listeners, which share one port; none for any.
    pub listeners: Vec<Option<String>>,
    /// The routes.
    pub routes: Vec<Route>,
}

/// An `HTTPRoute`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its namespace and name; unique.
    pub name: (String, String),
    /// Its creation, in seconds since some beginning.
    pub created: u32,
    /// The only listener that it is for, as an index; none for all of the Gateway's.
    pub listener: Option<usize>,
    /// Its hostnames; empty for any.
    pub hostnames: Vec<String>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// A rule of a route: it matches when one of its matches does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its matches.
    pub matches: Vec<Match>,
    /// Whether it has a CORS filter.
    pub cors: bool,
}

/// A match of a rule: all of it has to fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The path.
    pub path: PathMatch,
    /// The method; none for any.
    pub method: Option<String>,
    /// Headers by name.
    pub headers: Vec<(String, ValueMatch)>,
    /// Query parameters by name.
    pub query: Vec<(String, ValueMatch)>,
}

/// How a path is matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// The whole path, as a regular expression.
    Regex(String),
    /// Whole segments from its beginning.
    Prefix(String),
}

/// How a header or query parameter is matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    /// The whole value.
    Exact(String),
    /// The whole value, as a regular expression.
    Regex(String),
}

/// A request as it is on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The host, which may have a dot at its end and a port.
    pub host: String,
    /// The path, percent-encoded.
    pub path: String,
    /// The query, percent-encoded, without its question mark.
    pub query: String,
    /// The headers in order.
    pub headers: Vec<(String, String)>,
}

/// The route and rule that serve a request, as indices; none when no rule matches.
pub fn winner(gateway: &Gateway, request: &Request) -> Option<(usize, usize)> {
    let path = normalized(&request.path)?;
    let host = hostname(&request.host);
    let listener = gateway.listener(&host)?;
    let routes = gateway.routes.iter().enumerate();
    let attached = routes.filter(|(_, route)| route.listener.is_none_or(|only| only == listener));
    let candidates = attached.flat_map(|(number, route)| {
        let hostname = hostname_rank(&route.hostnames, &host);
        let matches = route.rules.iter().enumerate().flat_map(|(number, rule)| {
            let matches = rule.matches.iter().enumerate();
            matches.map(move |(position, wanted)| (number, position, wanted, rule.cors))
        });
        matches.filter_map(move |candidate| Some((hostname?, number, route, candidate)))
    });
    let matching = candidates.filter_map(|(hostname, number, route, (rule, position, wanted, cors))| {
        let method = wanted.method_rank(request, cors)?;
        let precedence = (
            Reverse(hostname),
            wanted.path.rank(),
            Reverse((method, wanted.headers.len(), wanted.query.len())),
            route.created,
            &route.name,
            rule,
            position,
        );
        wanted
            .fits(request, &path)
            .then_some((precedence, (number, rule)))
    });
    matching.min().map(|(_, winner)| winner)
}

impl Request {
    /// Path and query.
    pub fn target(&self) -> String {
        match self.query.as_str() {
            "" => self.path.clone(),
            query => format!("{}?{query}", self.path),
        }
    }

    /// The method that a preflight request asks for: `OPTIONS` with an origin.
    fn asked_for(&self) -> Option<&str> {
        let header = |name| {
            let mut headers = self.headers.iter();
            headers.find_map(|(header, value)| (header == name).then_some(value.as_str()))
        };
        header("origin").filter(|_| self.method == "OPTIONS")?;
        header("access-control-request-method")
    }
}

impl Gateway {
    /// The listener that a host belongs to: the most specific that covers it, whether a route is there or not.
    fn listener(&self, host: &str) -> Option<usize> {
        let listeners = self.listeners.iter().enumerate();
        let covering = listeners
            .filter_map(|(number, hostname)| Some((hostname_rank(hostname.as_slice(), host)?, number)));
        covering.max().map(|(_, number)| number)
    }
}

/// The name in a host.
fn hostname(host: &str) -> String {
    let name = host.split(':').next().unwrap_or_default();
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// How specific the hostname is by which one of these serves a host: exact, then longer wildcards, then any, which is
/// what it means to have no hostname.
fn hostname_rank(hostnames: &[String], host: &str) -> Option<(bool, usize)> {
    let rank = |hostname: &String| match hostname.strip_prefix('*') {
        Some(suffix) => {
            (host.len() > suffix.len() && host.ends_with(suffix)).then_some((false, suffix.len()))
        }
        None => (hostname == host).then_some((true, 0)),
    };
    if hostnames.is_empty() {
        Some((false, 0))
    } else {
        hostnames.iter().filter_map(rank).max()
    }
}

impl Match {
    /// More for what goes first: a match by the request's method, then by that which a preflight request asks for, then
    /// by none. None where it is by another one.
    fn method_rank(&self, request: &Request, cors: bool) -> Option<u8> {
        match self.method.as_deref() {
            None => Some(0),
            Some(method) if method == request.method => Some(2),
            method => (cors && method == request.asked_for()).then_some(1),
        }
    }

    /// Whether all but the method fits.
    fn fits(&self, request: &Request, path: &[u8]) -> bool {
        let header = |name: &str| {
            let lines = request
                .headers
                .iter()
                .filter(|(header, _)| header.eq_ignore_ascii_case(name));
            let lines: Vec<&str> = lines.map(|(_, value)| value.as_str()).collect();
            (!lines.is_empty()).then(|| lines.join(", ").into_bytes())
        };
        let parameter = |wanted: &str| {
            let mut pairs = request
                .query
                .split('&')
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            let text = |text: &str| decoded(&text.replace('+', " "));
            let (_, value) =
                pairs.find(|(name, _)| text(name).is_some_and(|name| name == wanted.as_bytes()))?;
            text(value)
        };
        self.path.fits(path)
            && self
                .headers
                .iter()
                .all(|(name, wanted)| header(name).is_some_and(|value| wanted.fits(&value)))
            && self
                .query
                .iter()
                .all(|(name, wanted)| parameter(name).is_some_and(|value| wanted.fits(&value)))
    }
}

impl PathMatch {
    fn fits(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => path == exact.as_bytes(),
            Self::Regex(pattern) => matches_whole(pattern, path),
            Self::Prefix(prefix) => {
                let rest = path.strip_prefix(prefix.trim_end_matches('/').as_bytes());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            }
        }
    }

    /// Smaller for what goes first.
    fn rank(&self) -> (u8, Reverse<usize>) {
        match self {
            Self::Exact(_) => (0, Reverse(0)),
            Self::Regex(pattern) => (1, Reverse(pattern.len())),
            Self::Prefix(prefix) => (2, Reverse(prefix.trim_end_matches('/').len())),
        }
    }
}

impl ValueMatch {
    fn fits(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => value == exact.as_bytes(),
            Self::Regex(pattern) => matches_whole(pattern, value),
        }
    }
}

/// A path as NGINX compares it: decoded, dot segments resolved, slashes as they are; none above the root.
pub fn normalized(path: &str) -> Option<Vec<u8>> {
    let path = decoded(path)?;
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut parts = path.strip_prefix(b"/")?.split(|byte| *byte == b'/').peekable();
    while let Some(part) = parts.next() {
        match part {
            b"." => {}
            b".." => drop(segments.pop()?),
            segment => segments.push(segment),
        }
        if parts.peek().is_none() && matches!(part, b"." | b"..") {
            segments.push(b"");
        }
    }
    Some(
        segments
            .iter()
            .flat_map(|segment| [b"/", *segment].concat())
            .collect(),
    )
}

/// Percent-encoding undone; none where what follows a `%` is not two digits.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hexadecimal([bytes.next()?, bytes.next()?])?,
            byte => byte,
        });
    }
    Some(decoded)
}

fn hexadecimal(digits: [u8; 2]) -> Option<u8> {
    let digits = str::from_utf8(&digits).ok()?;
    u8::from_str_radix(digits, 16).ok()
}

fn matches_whole(pattern: &str, value: &[u8]) -> bool {
    Regex::new(&format!(r"\A(?:{pattern})\z")).is_ok_and(|regex| regex.is_match(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalized_as_nginx_does() {
        for (raw, expected) in [
            ("/", Some("/")),
            ("/a%2Fb", Some("/a/b")),
            ("/a/./b/../c", Some("/a/c")),
            ("/a/..", Some("/")),
            ("/a/b/.", Some("/a/b/")),
            ("/a//b", Some("/a//b")),
            ("/%2e%2e/a", None),
        ] {
            assert_eq!(normalized(raw).as_deref(), expected.map(str::as_bytes), "{raw}");
        }
    }

    #[test]
    fn a_failed_condition_falls_through_to_a_shorter_path() {
        let rule = |path: &str, method: Option<&str>| {
            let path = PathMatch::Prefix(path.to_owned());
            let only = Match {
                path,
                method: method.map(str::to_owned),
                headers: Vec::new(),
                query: Vec::new(),
            };
            Rule {
                matches: vec![only],
                cors: false,
            }
        };
        let name = ("a".to_owned(), "a".to_owned());
        let rules = vec![rule("/", None), rule("/shop", Some("POST"))];
        let route = Route {
            name,
            created: 0,
            listener: None,
            hostnames: vec!["*.example".to_owned()],
            rules,
        };
        let gateway = Gateway {
            listeners: vec![None],
            routes: vec![route],
        };
        let request = |method: &str, host: &str| Request {
            method: method.to_owned(),
            host: host.to_owned(),
            path: "/shop/cart".to_owned(),
            query: String::new(),
            headers: Vec::new(),
        };
        assert_eq!(winner(&gateway, &request("POST", "a.b.example")), Some((0, 1)));
        assert_eq!(winner(&gateway, &request("GET", "a.example")), Some((0, 0)));
        assert_eq!(winner(&gateway, &request("GET", "example")), None);
    }
}
