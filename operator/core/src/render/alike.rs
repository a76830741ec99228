//! Servers that do the same are one block of NGINX's.
//!
//! Every module of NGINX has a structure of its own for each `server`, `location` and `if`: 10 KiB and 10 µs of every
//! reload, each. A thousand hosts of one Service would take 50 MiB as a block each, and as one block take next to
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::{
        Action, HeaderChanges, Internal, Listen, Location, LocationPath, Origin, Server, ServerTls, Step,
        Then,
    },
    syntax::Id,
};

/// One or more servers that differ in nothing but their hostnames and the objects that asked for what they do.
pub(super) struct Alike<'a>(Vec<&'a Server>);

impl<'a> Alike<'a> {
    /// What these servers fall into, in order of the first of each.
    pub(super) fn among(servers: &[&'a Server]) -> Vec<Self> {
        let mut all = Vec::<Self>::new();
        let mut positions = BTreeMap::new();
        for server in servers {
            let position = *positions.entry(Behaviour::of(server)).or_insert(all.len());
            match all.get_mut(position) {
                Some(Self(alike)) => alike.push(server),
                None => all.push(Self(vec![server])),
            }
        }
        all
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
        self.servers()
            .filter_map(|server| match &server.locations[location].then {
                Then::Do(action) => Some(&action.origin),
                Then::Dispatch(_) => None,
            })
            .collect()
    }
}

/// All that a server does, apart from whom it does it for.
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
        step: &'a Step,
    },
    Dispatch(Id),
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
            step,
        }
    }
}
