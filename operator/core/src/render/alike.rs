//! Servers that do the same are one block of NGINX's.
//!
//! Every module of NGINX has a structure of its own for each `server`, `location` and `if`: 10 KiB and 10 µs of every
//! reload, each. A thousand hosts of one Service would take 50 MiB as a block each, and as one block take next to
//! nothing. So do hosts of a Service each, as soon as they are many enough to be worth a map from host to upstream.

use std::collections::{BTreeMap, BTreeSet};

use super::direct;
use crate::{
    config::{
        Action, HeaderChanges, Internal, Listen, Location, LocationPath, Origin, Protocol, Proxy,
        RewrittenPath, Server, ServerTls, Step, Target, Then,
    },
    syntax::{Hostname, Id},
};

/// So many blocks of `server`, `location` and `if` take NGINX as long to read as one map.
const BLOCKS_OF_A_MAP: usize = 64;

/// One or more servers that differ in nothing but their hostnames and the objects that asked for what they do; many may
/// also differ in the upstreams that they send requests to.
pub(super) struct Alike<'a>(Vec<&'a Server>);

impl<'a> Alike<'a> {
    /// What these servers fall into, in order of the first of each.
    pub(super) fn among(servers: &[&'a Server]) -> Vec<Self> {
        // By what they do and where that leads, as positions.
        let mut kinds = BTreeMap::<_, BTreeMap<_, Vec<_>>>::new();
        for (position, server) in servers.iter().enumerate() {
            let by_targets = kinds.entry(Behaviour::of(server)).or_default();
            by_targets.entry(targets_of(server)).or_default().push(position);
        }
        let mut all = Vec::new();
        for by_targets in kinds.into_values() {
            if are_worth_maps(&by_targets.keys().collect::<Vec<_>>()) {
                let mut together = by_targets.into_values().flatten().collect::<Vec<_>>();
                together.sort_unstable();
                all.push(together);
            } else {
                all.extend(by_targets.into_values());
            }
        }
        all.sort_unstable();
        let alike = |positions: Vec<usize>| Self(positions.into_iter().map(|at| servers[at]).collect());
        all.into_iter().map(alike).collect()
    }

    /// One of them, to know what all of them do.
    pub(super) fn first(&self) -> &'a Server {
        self.0[0]
    }

    /// All of them.
    pub(super) fn servers(&self) -> impl Iterator<Item = &'a Server> {
        self.0.iter().copied()
    }

    /// The objects that asked for the location at a position, as far as it is them who did and not a dispatch.
    pub(super) fn origins(&self, location: usize) -> BTreeSet<&'a Origin> {
        let actions = self
            .servers()
            .filter_map(|server| direct(&server.locations[location]));
        actions.map(|action| &action.origin).collect()
    }

    /// How the requests for each host go on from the location at a position; `None` if that is the same for all.
    pub(super) fn proxies(&self, location: usize) -> Option<Vec<(&'a Hostname, &'a Proxy)>> {
        let proxies = self.servers().filter_map(|server| {
            let proxy = proxy(&server.locations[location])?;
            Some((server.hostname.as_ref()?, proxy))
        });
        let proxies = proxies.collect::<Vec<_>>();
        let differ = proxies.windows(2).any(|two| two[0].1 != two[1].1);
        differ.then_some(proxies)
    }
}

/// How requests go on from a location, if there is one way for all.
fn proxy(location: &Location) -> Option<&Proxy> {
    match &direct(location)?.step {
        Step::Proxy(proxy) => Some(proxy),
        Step::Redirect(_) | Step::Split(_) | Step::Refuse(_) | Step::Mirror(_) => None,
    }
}

/// Where requests go from each location of a server.
type Targets = Vec<Option<Target>>;

fn targets_of(server: &Server) -> Targets {
    let proxies = server.locations.iter().map(proxy);
    proxies.map(|proxy| proxy.map(|proxy| proxy.target)).collect()
}

/// Whether it costs less to have one server and maps for what these differ in than a server for each.
fn are_worth_maps(servers: &[&Targets]) -> bool {
    let locations = servers.first().map_or(0, |targets| targets.len());
    let by_location = (0..locations).map(|location| {
        let targets = servers.iter().map(|targets| targets[location]);
        targets.collect::<Targets>()
    });
    let different = by_location.filter(|targets| targets.windows(2).any(|two| two[0] != two[1]));
    let maps = different.collect::<BTreeSet<_>>().len();
    // Beside its locations there is the server, and two blocks for upstreams that do not answer.
    servers.len() * (locations + 3) >= maps * BLOCKS_OF_A_MAP
}

/// All that a server does, apart from whom it does it for and which upstreams its requests go to.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Behaviour<'a> {
    listen: &'a Listen,
    /// A server without a hostname takes what no other does, and has nothing to be told apart by.
    named: bool,
    tls: Option<&'a ServerTls>,
    locations: Vec<(&'a LocationPath, Does<'a>)>,
    /// These are named by what they do.
    internal: Vec<Internal>,
}

/// What a location does.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Does<'a> {
    Action {
        request_headers: &'a HeaderChanges,
        response_headers: &'a HeaderChanges,
        cors: Option<Id>,
        mirrors: &'a [Id],
        answer: Answer<'a>,
    },
    Dispatch(Id),
}

/// Who answers.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Answer<'a> {
    /// Some upstream.
    Upstream {
        protocol: Protocol,
        tls: Option<Id>,
        host: Option<&'a Hostname>,
        path: Option<&'a RewrittenPath>,
    },
    Step(&'a Step),
}

impl<'a> Behaviour<'a> {
    fn of(server: &'a Server) -> Self {
        let Server {
            listen,
            hostname,
            tls,
            locations,
            internal,
        } = server;
        let does = |Location { path, then }: &'a Location| (path, Does::of(then));
        Self {
            listen,
            named: hostname.is_some(),
            tls: tls.as_ref(),
            locations: locations.iter().map(does).collect(),
            internal: internal.keys().copied().collect(),
        }
    }
}

impl<'a> Does<'a> {
    fn of(then: &'a Then) -> Self {
        let action = match then {
            Then::Do(action) => action.as_ref(),
            Then::Dispatch(id) => return Self::Dispatch(*id),
        };
        let Action {
            origin: _,
            request_headers,
            response_headers,
            cors,
            mirrors,
            step,
        } = action;
        Self::Action {
            request_headers,
            response_headers,
            cors: *cors,
            mirrors,
            answer: Answer::of(step),
        }
    }
}

impl<'a> Answer<'a> {
    fn of(step: &'a Step) -> Self {
        match step {
            Step::Proxy(Proxy {
                target: Target::Upstream(_) | Target::Split(_),
                protocol,
                tls,
                host,
                path,
            }) => Self::Upstream {
                protocol: *protocol,
                tls: *tls,
                host: host.as_ref(),
                path: path.as_ref(),
            },
            step => Self::Step(step),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many servers, whose requests go from each location to the upstream of this name and of the server.
    fn servers(number: usize, locations: &[&str]) -> Vec<Targets> {
        let target = |server: usize, name: &str| Some(Target::Upstream(Id::of(&(server, name))));
        let servers = (0..number).map(|server| locations.iter().map(|name| target(server, name)).collect());
        servers.collect()
    }

    #[test]
    fn the_more_maps_it_takes_the_more_servers_are_worth_them() {
        for (locations, enough) in [(&["a"][..], 16), (&["a", "a"], 13), (&["a", "b"], 26)] {
            let are_worth_maps =
                |number| are_worth_maps(&servers(number, locations).iter().collect::<Vec<_>>());
            assert!(are_worth_maps(enough), "{locations:?}");
            assert!(!are_worth_maps(enough - 1), "{locations:?}");
        }
    }

    #[test]
    fn servers_that_need_no_map_are_one() {
        assert!(are_worth_maps(
            &servers(1, &["a", "b"]).iter().collect::<Vec<_>>()
        ));
    }
}
