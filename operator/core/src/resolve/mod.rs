//! What the objects mean, and what is wrong with them.
//!
//! ```text
//!  Snapshot ── class ──> gateway (with its listeners, ListenerSets' too) ──┐
//!     └─────── route (matches, filters, backends; grants) ─────────────────┴─ attach ──> Resolved
//!                                          └─ inference (pools) ── picking (who chooses among their endpoints)
//! ```
//!
//! A mistake never fails anything: it becomes a finding on the part that has it, which `status` turns into a
//! condition, and the rest goes on.

pub mod attach;
mod backend;
pub mod backend_tls;
pub mod certificate;
pub mod class;
mod client_validation;
mod conflict;
mod cors;
mod endpoint_picker;
#[cfg(test)]
pub(crate) mod example;
mod filter;
pub mod finding;
pub mod fleet;
pub mod gateway;
pub mod grant;
mod header_modifier;
mod http_route;
pub mod inference;
mod limit;
pub mod listener;
mod listener_context;
mod listener_findings;
pub mod listener_set;
mod listener_tls;
mod lookup;
mod matching;
mod mirror;
pub mod mistake;
mod name;
pub mod namespaces;
mod parent;
mod picking;
mod pod;
mod redirect;
pub mod route;
mod rule;
mod service;
mod timeouts;

use std::{collections::BTreeMap, sync::Arc};

pub use attach::{Attachment, Attachments};
pub use endpoint_picker::Picker;
pub use gateway::Gateway;
pub use listener::{Listener, ListenerOwner};
pub use route::{Backend, BackendTarget, Filters, HttpRoute, Match, Mirror, PathMatch, Rule};

use crate::{object::ObjectKey, observed::Observed, options::Options, outcome::Needs, snapshot::Snapshot};

/// The meaning of a snapshot.
#[derive(Debug)]
pub struct Resolved {
    /// Every GatewayClass that names our controller.
    pub classes: BTreeMap<ObjectKey, class::Class>,
    /// Every Gateway of those classes.
    pub gateways: BTreeMap<ObjectKey, Gateway>,
    /// Every ListenerSet whose parent is one of those Gateways.
    pub listener_sets: BTreeMap<ObjectKey, gateway::ListenerSet>,
    /// Every HTTPRoute, whether or not it has a parent of ours.
    pub http_routes: BTreeMap<ObjectKey, Arc<HttpRoute>>,
    /// Every `BackendTLSPolicy`, whether or not it is about a backend of ours.
    pub policies: backend_tls::Policies,
    /// Every InferencePool, whether or not a route leads there.
    pub inference_pools: BTreeMap<ObjectKey, inference::Pool>,
    /// Which route serves behind which listener, and what each parent makes of each route.
    pub attachments: Attachments,
    /// Every EndpointPicker.
    pub pickers: BTreeMap<ObjectKey, Picker>,
    /// What was looked for.
    pub needs: Needs,
}

/// Resolves all that is ours in the snapshot.
#[must_use]
pub fn resolve(snapshot: &Snapshot, observed: &Observed, options: &Options) -> Resolved {
    let mut needs = Needs::default();
    let grants = grant::Grants::new(snapshot);
    let classes = class::resolve(snapshot, options);
    let (gateways, listener_sets) = gateway::resolve(snapshot, options, &classes, &grants, &mut needs);
    let policies = backend_tls::Policies::new(snapshot, &grants, &mut needs);
    let pickers = endpoint_picker::resolve(snapshot);
    let inference_pools = inference::resolve(&picking::Pickers {
        snapshot,
        policies: &policies,
        ours: &pickers,
        authorities: &observed.authorities,
    });
    let namespaces = inference_pools.keys().map(|pool| pool.namespace.clone());
    needs.pods.extend(namespaces);
    let http_routes = http_route::resolve(&backend::Backends {
        snapshot,
        grants: &grants,
        policies: &policies,
        pools: &inference_pools,
    });
    let attachments = attach::attach(snapshot, &gateways, &listener_sets, &http_routes);
    Resolved {
        classes,
        gateways,
        listener_sets,
        http_routes,
        policies,
        inference_pools,
        attachments,
        pickers,
        needs,
    }
}
