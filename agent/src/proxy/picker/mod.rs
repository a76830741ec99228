//! The endpoint picker protocol: who of a pool's endpoints serves a request, asked of the pool's picker.
//!
//! ```text
//!            ┌── ask ──────> Chosen: endpoints, request, Consulted ── respond ──> response through the picker
//!  request ──┤   │           Answer: the picker's own response          │
//!            │   │           Refused: go on without, or not            │
//!            │   └──────── exchange: what is said, no I/O ─────────────┘
//!            └── Pickers ── connections ── call: one HTTP/2 stream, framed as gRPC
//! ```
//!
//! Read [`exchange`] first, then [`ask`] and [`respond`]. The protocol is
//! <https://github.com/kubernetes-sigs/gateway-api-inference-extension/tree/main/docs/proposals/004-endpoint-picker-protocol>,
//! carried by Envoy's `ext_proc`.
//!
//! Calls use HTTP/2 streams as they are and not a gRPC client: a stream must be broken off, half closed or read to its
//! trailers as the exchange has it, the number of streams must have no limit but the picker's, and every layer between
//! costs more than the exchange itself.

pub mod ask;
pub mod call;
pub mod connections;
pub mod destination;
pub mod exchange;
pub mod frame;
pub mod half;
pub mod held;
pub mod message;
pub mod passage;
pub mod respond;
pub mod violation;

mod answer;
mod conversation;
mod gather;
mod joined;
mod mutation;
mod request_id;

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    error::Error,
    net::SocketAddr,
    rc::Rc,
};

use http::uri::Authority;
use proto::fleet;
use tracing::error;

use self::connections::{Connections, Refused, Target};
use super::{settings::Settings, table, tls};

/// One thread's connections to all pickers.
#[derive(Debug, Default)]
pub struct Pickers {
    /// By the name of their endpoints.
    known: RefCell<HashMap<String, Vec<Known>>>,
}

#[derive(Debug)]
struct Known {
    tls: Option<fleet::Tls>,
    one_leads: bool,
    connections: Rc<Connections>,
}

impl Pickers {
    /// Connects to these pickers and no others; connections of those that were there before are kept.
    pub fn put<'a>(&self, pickers: impl IntoIterator<Item = &'a table::Picker>, settings: &Settings) {
        let mut before = self.known.take();
        let mut after: HashMap<String, Vec<Known>> = HashMap::new();
        for picker in pickers {
            let fleet::Picker {
                endpoints,
                tls,
                fail_open: _,
                one_leads,
            } = &*picker.message;
            let same = after.entry(endpoints.clone()).or_default();
            if same.iter().any(|known| known.is_for(&picker.message)) {
                continue;
            }
            let pods: BTreeSet<SocketAddr> =
                picker.endpoints.iter().map(|endpoint| endpoint.address).collect();
            let mut earlier = before.get_mut(endpoints).into_iter().flatten();
            let connections = match earlier.find(|known| known.is_for(&picker.message)) {
                Some(known) => {
                    known.connections.put(&pods, settings.picker_connect_timeout);
                    Rc::clone(&known.connections)
                }
                None => match target(&picker.message) {
                    Some(target) => Rc::new(Connections::new(target, &pods, settings.picker_connect_timeout)),
                    None => continue,
                },
            };
            same.push(Known {
                tls: tls.clone(),
                one_leads: *one_leads,
                connections,
            });
        }
        self.known.replace(after);
    }

    /// What is not spoken with because of its TLS.
    pub fn refusals(&self) -> Vec<fleet::PickerRefusal> {
        let known = self.known.borrow();
        let refused = known.iter().flat_map(|(endpoints, known)| {
            known.iter().flat_map(move |Known { tls, connections, .. }| {
                let refused = connections.refused().into_iter();
                refused.map(move |Refused { address, reason }| fleet::PickerRefusal {
                    endpoints: endpoints.clone(),
                    address: address.to_string(),
                    reason: reason.to_string(),
                    tls: tls.clone(),
                })
            })
        });
        refused.collect()
    }

    /// The connections to a picker; none when it cannot be spoken to as it was said.
    #[must_use]
    pub fn connections(&self, picker: &table::Picker) -> Option<Rc<Connections>> {
        let known = self.known.borrow();
        let same = known.get(&picker.message.endpoints)?;
        let known = same.iter().find(|known| known.is_for(&picker.message))?;
        Some(Rc::clone(&known.connections))
    }
}

impl Known {
    /// Whether a picker with these endpoints is asked in this way.
    fn is_for(&self, picker: &fleet::Picker) -> bool {
        self.tls == picker.tls && self.one_leads == picker.one_leads
    }
}

fn target(picker: &fleet::Picker) -> Option<Target> {
    let endpoints = &picker.endpoints;
    let tls = picker.tls.as_ref();
    let name = tls.map_or(endpoints, |tls| &tls.server_name);
    let authority = Authority::try_from(name.as_str()).unwrap_or_else(|_| Authority::from_static("picker"));
    let client = tls
        .map(|tls| tls::Client::new(tls, &[b"h2"]))
        .transpose()
        .inspect_err(|error| {
            // The operator reports it on the policy; here the picker is as one that fails.
            error!(
                endpoints,
                error = error as &dyn Error,
                "cannot use the picker's TLS"
            );
        });
    Some(Target::new(client.ok()?, &authority, picker.one_leads))
}
