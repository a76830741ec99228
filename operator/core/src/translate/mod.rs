//! How one NGINX does what a gateway means.
//!
//! ```text
//!  Gateway, its routes ── server (hostnames of each port, and the listener that owns each)
//!                            └─ location (paths of a server, and the rules that can match at each)
//!                                  └─ action (filters, backends, splits, mirrors, redirects)
//!                                        └─ leg (NGINX or the agent's proxy)
//! ```

mod action;
mod headers;
mod leg;
mod location;
mod precedence;
mod server;
mod share;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use serde::Serialize;

pub use precedence::{Candidate, RouteIndex};
pub(crate) use server::{certificate_file, owner};

use crate::{
    config::{BackendTls, Config, Upstream},
    options::bound_port,
    resolve::{Gateway, HttpRoute, certificate::Certificate},
    syntax::Id,
};

/// Where a gateway's NGINX binds its listeners' ports.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// `None` for every address of the machine.
    pub address: Option<IpAddr>,
    /// What is added to ports below 1024.
    pub privileged_port_shift: u16,
}

impl Binding {
    /// The port that is bound for a listener's port.
    #[must_use]
    pub fn port(self, listener: u16) -> u16 {
        bound_port(listener, self.privileged_port_shift)
    }
}

/// What NGINX must do for `gateway`, behind whose listeners stand `routes`: one list per listener, in their order.
#[must_use]
pub fn translate(gateway: &Gateway, routes: &[Vec<Arc<HttpRoute>>], binding: Binding) -> Config {
    let config = Config {
        settings: gateway.settings.clone(),
        ..Config::default()
    };
    let mut tables = Tables {
        config,
        upstreams: BTreeMap::new(),
        client_certificate: gateway.client_certificate.as_ref().map(file_of),
        authorities: BTreeMap::new(),
    };
    let mut ports = BTreeMap::<u16, Vec<server::Behind<'_>>>::new();
    for (listener, routes) in gateway.listeners.iter().zip(routes) {
        if listener.listens() {
            let routes = if listener.serves { routes.as_slice() } else { &[] };
            ports
                .entry(listener.port)
                .or_default()
                .push(server::Behind { listener, routes });
        }
    }
    for (port, listeners) in ports {
        server::add_port(&mut tables, port, &listeners, binding);
    }
    let usual = tables.authorities.into_values().max();
    tables.config.usual_tls = usual.map(|(_, tls)| tls);
    tables.config
}

/// The configuration in the making.
struct Tables {
    config: Config,
    /// Names that upstreams have already, as most are asked for many times.
    upstreams: BTreeMap<Upstream, Id>,
    /// File with the certificate that backends are shown.
    client_certificate: Option<String>,
    /// How many ways to backends want which authorities, and one of those that do.
    authorities: BTreeMap<Option<String>, (usize, Id)>,
}

impl Tables {
    fn upstream(&mut self, upstream: &Upstream) -> Id {
        if let Some(id) = self.upstreams.get(upstream) {
            return *id;
        }
        let id = define(&mut self.config.upstreams, upstream.clone());
        self.upstreams.insert(upstream.clone(), id);
        id
    }
}

impl Tables {
    fn tls(&mut self, tls: BackendTls) -> Id {
        let authorities = tls.verification.as_ref();
        let authorities = authorities.and_then(|verification| verification.authorities.clone());
        let id = define(&mut self.config.tls, tls);
        self.authorities.entry(authorities).or_insert((0, id)).0 += 1;
        id
    }
}

/// Name of the file that holds a certificate.
fn file_of(certificate: &Certificate) -> String {
    certificate_file(&certificate.secret)
}

/// Puts `value` into `table` under the name that its content gives it.
fn define<T: Serialize>(table: &mut BTreeMap<Id, T>, value: T) -> Id {
    let id = Id::of(&value);
    table.entry(id).or_insert(value);
    id
}
