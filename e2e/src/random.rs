//! Random listeners and routes, and random requests that come close to them.
//!
//! Words are few and alike, so that most requests meet several routes and differ from a match in one thing.

use crate::reference::{Gateway, Match, PathMatch, Request, Route, Rule, ValueMatch};

const HOSTS: [&str; 15] = [
    "shop.example",
    "shop.example",
    "shop.example",
    "www.shop.example",
    "a.www.shop.example",
    "example",
    "other.test",
    "WWW.shop.example",
    "shop.example.",
    "shop.example:99",
    "xshop.example",
    "tenant-1.example",
    "TENANT-12.example.:99",
    "tenant-13.example",
    "a.tenant-13.example",
];
const HOSTNAMES: [&str; 6] = [
    "shop.example",
    "www.shop.example",
    "*.shop.example",
    "*.www.shop.example",
    "*.example",
    "other.test",
];
/// How many routes there are that differ in their hostnames alone, where there are any: many enough to share a server.
const TENANTS: usize = 17;
/// The first half is meant, here and below: what meets is worth more than what differs.
const SEGMENTS: [&str; 10] = ["a", "a", "a", "b", "b", "ab", "A", "a.b", "v1", "a+b"];
const PATH_PATTERNS: [&str; 7] = ["/a", "/[ab]+", "/a/.*", "/.*/b", ".*", "/v[0-9](/.*)?", "/a|/b"];
const VALUES: [&str; 8] = ["one", "one", "two", "two", "One", "one two", "a,b", "one, two"];
const VALUE_PATTERNS: [&str; 6] = ["one", "o.*", "[a-z]+", "one|two", ".*", "(one)?two"];
const HEADERS: [&str; 3] = ["x-a", "X-A", "version"];
const PARAMETERS: [&str; 3] = ["q", "Q", "q1"];
const METHODS: [&str; 3] = ["GET", "POST", "OPTIONS"];

/// A reproducible stream of choices: `SplitMix64`, see <https://prng.di.unimi.it/splitmix64.c>.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// How many routes a Gateway has at most.
    pub const ROUTES: usize = 9 + TENANTS;

    /// The stream of a seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A Gateway with routes, none of which has a match that NGINX would refuse.
    pub fn gateway(&mut self) -> Gateway {
        let listeners = self.listeners();
        let routes = (0..=self.below(8)).map(|number| self.route(number, listeners.len()));
        let mut routes = routes.collect::<Vec<_>>();
        if self.one_in(4) {
            routes.extend(self.tenants());
        }
        Gateway { listeners, routes }
    }

    /// A request.
    pub fn request(&mut self) -> Request {
        let mut request = self.any_request();
        if self.one_in(3) {
            self.make_preflight(&mut request);
        }
        request
    }

    fn any_request(&mut self) -> Request {
        Request {
            method: (*self.one_of(&METHODS)).to_owned(),
            host: (*self.one_of(&HOSTS)).to_owned(),
            path: self.request_path(),
            query: self.list(3, Self::query_pair).join("&"),
            headers: self.list(3, |random| {
                let name = (*random.one_of(&HEADERS)).to_owned();
                (name, (*random.one_of(&VALUES)).to_owned())
            }),
        }
    }

    /// Makes of a request what a browser asks before it sends it for a page of another origin, now and then with a part
    /// of it missing.
    fn make_preflight(&mut self, request: &mut Request) {
        let wanted = std::mem::replace(&mut request.method, "OPTIONS".to_owned());
        for (name, value) in [
            ("origin", "https://page.example"),
            ("access-control-request-method", &wanted),
        ] {
            if !self.one_in(8) {
                request.headers.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    /// The hostnames of listeners, each once; more often than not one of them takes any host.
    fn listeners(&mut self) -> Vec<Option<String>> {
        let mut listeners = self.list(3, |random| Some((*random.one_of(&HOSTNAMES)).to_owned()));
        if listeners.is_empty() || !self.one_in(3) {
            listeners.push(None);
        }
        listeners.sort();
        listeners.dedup();
        listeners
    }

    fn route(&mut self, number: usize, listeners: usize) -> Route {
        let hostnames = self.list(2, |random| (*random.one_of(&HOSTNAMES)).to_owned());
        // Names run against the order of creation, which is often the same.
        let name = format!("route-{}", 9 - number);
        let created = self.below(2).try_into().expect("less than 2");
        let listener = self.one_in(4).then(|| self.below(listeners));
        let rules = (0..=self.below(3))
            .map(|_| Rule {
                matches: (0..=self.below(2)).map(|_| self.r#match()).collect(),
                cors: self.one_in(2),
            })
            .collect();
        Route {
            name: ("routes".to_owned(), name),
            created,
            listener,
            hostnames,
            rules,
        }
    }

    /// Routes of a hostname each that are alike otherwise, and more often than not take all that the host is asked for.
    fn tenants(&mut self) -> Vec<Route> {
        let mut paths = self.list(2, Self::path_match);
        if paths.is_empty() || !self.one_in(3) {
            paths.push(PathMatch::Prefix("/".to_owned()));
        }
        let rules = paths.into_iter().map(|path| Rule {
            matches: vec![Match {
                path,
                method: None,
                headers: Vec::new(),
                query: Vec::new(),
            }],
            cors: false,
        });
        let rules = rules.collect::<Vec<_>>();
        let tenant = |number: usize| {
            let any = if number == 13 { "*." } else { "" };
            Route {
                name: ("routes".to_owned(), format!("tenant-{number}")),
                created: 0,
                listener: None,
                hostnames: vec![format!("{any}tenant-{number}.example")],
                rules: rules.clone(),
            }
        };
        (0..TENANTS).map(tenant).collect()
    }

    fn r#match(&mut self) -> Match {
        let mut headers = self.list(2, |random| {
            ((*random.one_of(&HEADERS)).to_owned(), random.value_match())
        });
        // Of several entries with equal names, whatever their case, Gateway API ignores all but the first.
        headers.dedup_by(|later, earlier| later.0.eq_ignore_ascii_case(&earlier.0));
        let mut query = self.list(2, |random| {
            ((*random.one_of(&PARAMETERS)).to_owned(), random.value_match())
        });
        query.dedup_by(|later, earlier| later.0 == earlier.0);
        let method = self.one_in(2).then(|| (*self.one_of(&METHODS)).to_owned());
        Match {
            path: self.path_match(),
            method,
            headers,
            query,
        }
    }

    fn path_match(&mut self) -> PathMatch {
        match self.below(6) {
            0 => PathMatch::Regex((*self.one_of(&PATH_PATTERNS)).to_owned()),
            1 | 2 => PathMatch::Exact(self.path()),
            _ => PathMatch::Prefix(self.path()),
        }
    }

    fn value_match(&mut self) -> ValueMatch {
        if self.one_in(3) {
            ValueMatch::Regex((*self.one_of(&VALUE_PATTERNS)).to_owned())
        } else {
            ValueMatch::Exact((*self.one_of(&VALUES)).to_owned())
        }
    }

    /// A path without empty or dot segments, which Gateway API does not admit in a match.
    fn path(&mut self) -> String {
        let segments = self.list(3, |random| *random.one_of(&SEGMENTS));
        let last = if !segments.is_empty() && self.one_in(5) {
            "/"
        } else {
            ""
        };
        format!("/{}{last}", segments.join("/"))
    }

    /// A path as clients write it, which may hold empty and dot segments; never above the root.
    fn request_path(&mut self) -> String {
        let mut segments = self.list(4, |random| {
            let segment = *random.one_of(&SEGMENTS);
            random.encoded(segment)
        });
        if self.one_in(4) {
            let odd = *self.one_of(&[
                "", ".", "%2e", "x/..", "x/%2E%2e", "a%2Fb", "a%0A", "a%3F", "a%25b",
            ]);
            let place = self.below(segments.len() + 1);
            segments.insert(place, odd.to_owned());
        }
        format!("/{}", segments.join("/"))
    }

    fn query_pair(&mut self) -> String {
        let name = *self.one_of(&PARAMETERS);
        let name = self.encoded(name);
        let value = *self.one_of(&VALUES);
        let value = if self.one_in(2) {
            value.replace(' ', "+")
        } else {
            value.to_owned()
        };
        let value = self.encoded(&value);
        match self.below(24) {
            0 | 1 => name,
            2 => format!("{name}={value}%"),
            3 => format!("{name}%2={value}"),
            _ => format!("{name}={value}"),
        }
    }

    /// Percent-encodes what has to be, and now and then what need not; `+` stays what it was.
    fn encoded(&mut self, text: &str) -> String {
        let bytes = text.bytes().map(|byte| {
            let must = !(byte.is_ascii_alphanumeric() || b".,+".contains(&byte));
            let may = byte != b'+' && self.one_in(12);
            match (must || may, self.one_in(2)) {
                (false, _) => char::from(byte).to_string(),
                (true, true) => format!("%{byte:02X}"),
                (true, false) => format!("%{byte:02x}"),
            }
        });
        bytes.collect()
    }

    /// Up to `most - 1` things, fewer more often.
    fn list<T>(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let length = self.below(most + 1).min(self.below(most + 1));
        (0..length).map(|_| one(self)).collect()
    }

    fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let number = (mixed ^ (mixed >> 31)) % bound as u64;
        usize::try_from(number).expect("it is less than a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::winner;

    #[test]
    fn a_seed_always_gives_the_same() {
        let [mut first, mut second] = [Random::seeded(7), Random::seeded(7)];
        assert_eq!(first.gateway(), second.gateway());
        assert_eq!(first.request(), second.request());
    }

    #[test]
    fn many_requests_meet_a_rule_and_many_do_not() {
        let mut random = Random::seeded(1);
        let served = (0..1000).filter(|_| {
            let gateway = random.gateway();
            winner(&gateway, &random.request()).is_some()
        });
        assert!((150..850).contains(&served.count()));
    }

    #[test]
    fn some_preflight_requests_are_taken_by_the_method_that_they_ask_for() {
        let mut random = Random::seeded(1);
        let taken = (0..1000).filter(|_| {
            let gateway = random.gateway();
            let mut plain = gateway.clone();
            let rules = plain.routes.iter_mut().flat_map(|route| &mut route.rules);
            rules.for_each(|rule| rule.cors = false);
            let request = random.request();
            winner(&gateway, &request) != winner(&plain, &request)
        });
        assert!(taken.count() >= 5);
    }
}
