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

/// `upstreams.conf`.
///
/// NGINX keeps idle connections for each upstream and knows them by their address alone, so an upstream that is
/// spoken to in two protocols, or with two kinds of TLS, is printed twice.
pub(super) fn view(config: &Config) -> String {
    let used = used(config);
    let size = zone_size(used.len());
    let mut upstreams: Vec<UpstreamView> = used
        .into_iter()
        .filter_map(|name| upstream_view(name, config))
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
fn upstream_view(name: UpstreamName, config: &Config) -> Option<UpstreamView> {
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
        /// Whose endpoints the servers are, after those sockets if there are both.
        domain: Option<Verbatim>,
        srv: Word,
    }
}
