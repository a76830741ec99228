use std::collections::BTreeSet;

use askama::Template;

use super::{
    actions,
    text::{Comment, Number, UpstreamName, Verbatim, Word},
    view::{print, views},
};
use crate::config::{Action, Config, MirrorRequest, Proxy, Share, Step, Target, Upstream};

/// `upstreams.conf`.
///
/// NGINX keeps idle connections for each upstream and knows them by their address alone, so an upstream that is
/// spoken to in two protocols is printed twice.
pub(super) fn view(config: &Config) -> String {
    let used = used(config);
    let size = zone_size(used.len());
    let printed = used
        .into_iter()
        .filter_map(|name| Some((name, config.upstreams.get(&name.0)?)));
    let upstreams = printed.enumerate().map(|(index, (name, upstream))| {
        let Upstream {
            namespace,
            service,
            port,
        } = upstream;
        UpstreamView {
            service: Comment(format!("{namespace}/{service} port {port}")),
            name,
            // All share one zone, whose size is said once: a zone each makes `nginx -t` grow with its square.
            zone_size: (index == 0).then_some(Number(size)),
            domain: Verbatim(Upstream::domain(name.0)),
            srv: Word(Upstream::SERVICE),
        }
    });
    print(&Upstreams {
        upstreams: upstreams.collect(),
    })
}

/// The upstreams that some action sends requests to, with the protocols that it speaks.
fn used(config: &Config) -> BTreeSet<UpstreamName> {
    let mut used = BTreeSet::new();
    for Action { step, .. } in config.servers.iter().flat_map(actions) {
        match step {
            Step::Proxy(Proxy { target, protocol, .. }) => match target {
                Target::Upstream(id) => {
                    used.insert(UpstreamName(*id, *protocol));
                }
                Target::Split(split) => {
                    let shares = config
                        .splits
                        .get(split)
                        .into_iter()
                        .flat_map(|split| &split.shares);
                    used.extend(shares.filter_map(|(share, _)| match share {
                        Share::Upstream(id) => Some(UpstreamName(*id, *protocol)),
                        Share::Backend(_) | Share::Flag(_) => None,
                    }));
                }
            },
            Step::Mirror(MirrorRequest {
                upstream, protocol, ..
            }) => {
                used.insert(UpstreamName(*upstream, *protocol));
            }
            Step::Redirect(_) | Step::Split(_) | Step::Refuse(_) => {}
        }
    }
    used
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
        upstreams: Vec<UpstreamView>,
    }

    struct UpstreamView {
        service: Comment,
        name: UpstreamName,
        zone_size: Option<Number>,
        domain: Verbatim,
        srv: Word,
    }
}
