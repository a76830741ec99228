//! Which servers a port has: one for each hostname that somebody asks for.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Binding, Tables, action::Scene, location, precedence::RouteIndex};
use crate::{
    config::{Certificates, Listen, Misdirected, Server, ServerTls},
    object::ObjectKey,
    resolve::{HttpRoute, Listener, listener::ListenerTls},
    syntax::Hostname,
};

/// A listener whose port is open, with the routes behind it; none where it does not serve.
pub(super) struct Behind<'a> {
    pub(super) listener: &'a Listener,
    pub(super) routes: &'a [Arc<HttpRoute>],
}

/// Adds the servers of one port.
///
/// A host belongs to the most specific listener that covers it, and is never served by the routes of another
/// (<https://gateway-api.sigs.k8s.io/reference/spec/#listener>, listener isolation). NGINX picks the most specific
/// `server_name` in the same way, so it is enough to have a server for each name that its owner asks for.
pub(super) fn add_port(tables: &mut Tables, port: u16, listeners: &[Behind<'_>], binding: Binding) {
    let bound = binding.port(port);
    let several = listeners.len() > 1;
    let tls = listeners.iter().any(|behind| behind.listener.tls.is_some());
    let indices: Vec<RouteIndex<'_>> = listeners
        .iter()
        .map(|behind| RouteIndex::new(behind.routes))
        .collect();
    let mut catch_all = false;
    for (Precedence(hostname), asking) in hostnames(listeners) {
        let all = listeners.iter().map(|behind| behind.listener).enumerate();
        let (number, owner) =
            owner(all, hostname.as_ref()).expect("the listener that asks for a hostname covers it");
        if !asking.contains(&number) {
            continue;
        }
        catch_all |= hostname.is_none();
        let listen = Listen {
            address: binding.address,
            port: bound,
            default: hostname.is_none(),
        };
        let tls = owner.tls.as_ref().map(|tls| {
            if owner.serves {
                terminate(tls, several.then_some(number))
            } else {
                ServerTls::Reject
            }
        });
        let candidates = indices[number].candidates(hostname.as_ref());
        let scene = Scene {
            port,
            scheme: if tls.is_some() { "https" } else { "http" },
        };
        let (locations, internal) = location::locations(tables, &candidates, scene);
        tables.config.servers.push(Server {
            listen,
            hostname,
            tls,
            locations,
            internal,
        });
    }
    if !catch_all {
        tables.config.servers.push(nobody(
            Listen {
                address: binding.address,
                port: bound,
                default: true,
            },
            tls,
        ));
    }
    if tls && several {
        tables.config.misdirected.insert(bound, misdirected(listeners));
    }
}

/// A hostname in order of precedence, with the catch-all last.
#[derive(PartialEq, Eq)]
struct Precedence(Option<Hostname>);

impl Ord for Precedence {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Some(left), Some(right)) => left.cmp(right),
            (left, right) => left.is_none().cmp(&right.is_none()),
        }
    }
}

impl PartialOrd for Precedence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The hostnames that listeners and their routes ask for, with the numbers of the listeners that do: a listener's own,
/// and what each of its routes' has in common with it.
fn hostnames(listeners: &[Behind<'_>]) -> BTreeMap<Precedence, BTreeSet<usize>> {
    let mut hostnames = BTreeMap::<Precedence, BTreeSet<usize>>::new();
    for (number, Behind { listener, routes }) in listeners.iter().enumerate() {
        let own = listener.hostname.as_ref();
        let routes = routes.iter().flat_map(|route| &route.hostnames);
        let common = routes.filter_map(|name| match own {
            Some(own) => own.intersection(name).cloned(),
            None => Some(name.clone()),
        });
        for hostname in std::iter::once(own.cloned()).chain(common.map(Some)) {
            hostnames.entry(Precedence(hostname)).or_default().insert(number);
        }
    }
    hostnames
}

/// The most specific of some numbered listeners that covers a hostname; `None` if none does.
pub(crate) fn owner<'a>(
    listeners: impl Iterator<Item = (usize, &'a Listener)>,
    hostname: Option<&Hostname>,
) -> Option<(usize, &'a Listener)> {
    let covering = listeners.filter(|(_, listener)| match (&listener.hostname, hostname) {
        (Some(own), Some(hostname)) => own.covers(hostname),
        (own, _) => own.is_none(),
    });
    covering.min_by_key(|(_, listener)| Precedence(listener.hostname.clone()))
}

fn terminate(tls: &ListenerTls, listener: Option<usize>) -> ServerTls {
    let mut by_host = Vec::new();
    for certificate in tls.certificates.iter().skip(1) {
        let hosts = certificate.hosts.iter().cloned();
        by_host.extend(hosts.map(|host| (host, certificate_file(&certificate.secret))));
    }
    if let (Some(first), false) = (tls.certificates.first(), by_host.is_empty()) {
        by_host.extend(
            first
                .hosts
                .iter()
                .cloned()
                .map(|host| (host, certificate_file(&first.secret))),
        );
    }
    by_host.sort();
    by_host.dedup_by(|later, earlier| later.0 == earlier.0);
    let default = tls
        .certificates
        .first()
        .map(|certificate| certificate_file(&certificate.secret))
        .unwrap_or_default();
    ServerTls::Terminate {
        certificates: Certificates { default, by_host },
        client: tls.client.clone(),
        listener,
    }
}

/// Name of the file that holds the certificate of a Secret; no two Secrets share one, as names have no underscore.
pub(crate) fn certificate_file(secret: &ObjectKey) -> String {
    format!("{}_{}.pem", secret.namespace, secret.name)
}

/// What answers for hosts that no listener covers.
fn nobody(listen: Listen, tls: bool) -> Server {
    Server {
        listen,
        hostname: None,
        tls: tls.then_some(ServerTls::Reject),
        locations: Vec::new(),
        internal: BTreeMap::new(),
    }
}

fn misdirected(listeners: &[Behind<'_>]) -> Misdirected {
    let mut misdirected = Misdirected::default();
    for (number, behind) in listeners.iter().enumerate() {
        match &behind.listener.hostname {
            Some(hostname) => misdirected.listeners.push((hostname.clone(), number)),
            None => misdirected.default = Some(number),
        }
    }
    misdirected.listeners.sort();
    misdirected
}
