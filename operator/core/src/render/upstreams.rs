use std::collections::BTreeMap;

use askama::Template;

use super::text::{Comment, Number, UpstreamName, Verbatim, Word, print, views};
use crate::{config::Upstream, syntax::Id};

/// `upstreams.conf`.
pub(super) fn view(upstreams: &BTreeMap<Id, Upstream>) -> String {
    let size = zone_size(upstreams.len());
    let upstreams = upstreams.iter().enumerate().map(|(index, (&id, upstream))| {
        let Upstream {
            namespace,
            service,
            port,
        } = upstream;
        UpstreamView {
            service: Comment(format!("{namespace}/{service} port {port}")),
            name: UpstreamName(id),
            // All share one zone, whose size is said once: a zone each makes `nginx -t` grow with its square.
            zone_size: (index == 0).then_some(Number(size)),
            domain: Verbatim(Upstream::domain(id)),
            srv: Word(Upstream::SERVICE),
        }
    });
    print(&Upstreams {
        upstreams: upstreams.collect(),
    })
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
