use std::collections::BTreeSet;

use askama::Template;

use super::{
    actions,
    backend_tls::{CertificatesView, usual_certificates_view},
    text::{Comment, Number, UpstreamName, Verbatim, Word},
    view::{print, views},
};
use crate::{
    config::{Action, Config, MirrorRequest, Protocol, Proxy, Share, Step, Target, Upstream},
    syntax::Id,
};

/// Idle connections that a worker keeps to endpoints of one upstream, at most.
const IDLE: u64 = 64;

/// The same, where there are very many upstreams.
const IDLE_OF_MANY: u64 = 8;

/// `upstreams.conf`.
///
/// NGINX keeps idle connections for each upstream and knows them by their address alone, so an upstream that is
/// spoken to in two protocols, or with two kinds of TLS, is printed twice.
pub(super) fn view(config: &Config) -> String {
    let used = used(config);
    let size = zone_size(used.len());
    let idle = idle_connections(used.len());
    let mut upstreams: Vec<UpstreamView> = used
        .into_iter()
        .filter_map(|name| upstream_view(name, idle, config))
        .collect();
    // All share one zone, whose size is said once: a zone each makes `nginx -t` grow with its square.
    if let Some(first) = upstreams.first_mut() {
        first.zone_size = Some(Number(size));
    }
    print(&Upstreams {
        certificates: usual_certificates_view(config),
        upstreams,
    })
}

/// `None` for endpoints that the configuration does not have.
fn upstream_view(name: UpstreamName, idle: u64, config: &Config) -> Option<UpstreamView> {
    let (about, proxy, endpoints) = match name {
        UpstreamName::Endpoints(id, ..) => (config.upstreams.get(&id)?.to_string(), false, Some(id)),
        UpstreamName::Proxy(_) => ("The agent's proxy".to_owned(), true, None),
        UpstreamName::ProxyOr(id, _) => {
            let endpoints = config.upstreams.get(&id)?;
            let about = format!("The agent's proxy; while it is gone, {endpoints}");
            (about, true, Some(id))
        }
    };
    Some(UpstreamView {
        about: Comment(about),
        name,
        zone_size: None,
        proxy,
        // All that goes over the proxy goes over these few.
        idle: Number(if proxy { IDLE } else { idle }),
        domain: endpoints.map(|id| Verbatim(Upstream::domain(id))),
        srv: Word(Upstream::SERVICE),
    })
}

/// The upstreams that some action sends requests to.
fn used(config: &Config) -> BTreeSet<UpstreamName> {
    let mut used = BTreeSet::new();
    for Action { step, .. } in config.servers.iter().flat_map(actions) {
        match step {
            Step::Proxy(Proxy {
                target,
                protocol,
                tls,
                ..
            })
            | Step::Mirror(MirrorRequest {
                target,
                protocol,
                tls,
                ..
            }) => used.extend(names(*target, *protocol, *tls, config)),
            Step::Redirect(_) | Step::Split(_) | Step::Refuse(_) => {}
        }
    }
    used
}

/// The upstreams that requests to a target are sent to.
fn names(target: Target, protocol: Protocol, tls: Option<Id>, config: &Config) -> Vec<UpstreamName> {
    match target {
        Target::Upstream(id) => vec![UpstreamName::Endpoints(id, protocol, tls)],
        Target::Leg(leg) => vec![proxy(leg, protocol, config)],
        Target::Split(split) => {
            let shares = config.splits.get(&split).map_or(&[][..], |split| &split.shares);
            let upstreams = shares.iter().filter_map(|(share, _)| match share {
                Share::Upstream(id) => Some(UpstreamName::Endpoints(*id, protocol, tls)),
                Share::Backend(_) | Share::Flag(_) => None,
            });
            upstreams.collect()
        }
    }
}

/// The upstream through which NGINX hands requests to the agent's proxy for a leg.
pub(super) fn proxy(leg: Id, protocol: Protocol, config: &Config) -> UpstreamName {
    match config.legs.get(&leg).filter(|leg| leg.fails_open()) {
        Some(leg) => UpstreamName::ProxyOr(leg.upstream, protocol),
        None => UpstreamName::Proxy(protocol),
    }
}

/// Mebibytes for the endpoints of so many upstreams, 64 KiB each; it grows in steps, to change rarely.
///
/// Pages that nothing is written to take no memory.
fn zone_size(upstreams: usize) -> u64 {
    let mebibytes = (upstreams as u64).div_ceil(16);
    mebibytes.next_power_of_two().max(8)
}

/// Idle connections that are kept for each of so many upstreams; fewer in steps, to change rarely.
///
/// NGINX sets 150 bytes aside for each, whether it will be there or not, and every reload does so anew: 64 of each of
/// 1,000 upstreams would be 9 MiB.
fn idle_connections(upstreams: usize) -> u64 {
    let steps = (upstreams as u64).div_ceil(256).next_power_of_two();
    (IDLE / steps).max(IDLE_OF_MANY)
}

views! {
    #[derive(Template)]
    #[template(path = "upstreams.conf")]
    struct Upstreams {
        certificates: Option<CertificatesView>,
        upstreams: Vec<UpstreamView>,
    }

    struct UpstreamView {
        about: Comment,
        name: UpstreamName,
        zone_size: Option<Number>,
        /// Whether the servers are the sockets of the agent's proxy.
        proxy: bool,
        idle: Number,
        /// Whose endpoints the servers are, after those sockets if there are both.
        domain: Option<Verbatim>,
        srv: Word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_upstreams_there_are_the_fewer_idle_connections_has_each() {
        let idle = [0, 1, 256, 257, 1000, 2048, 100_000].map(idle_connections);
        assert_eq!(idle, [64, 64, 64, 32, 16, 8, 8]);
    }
}
