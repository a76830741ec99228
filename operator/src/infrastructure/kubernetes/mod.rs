//! Gateways and endpoint pickers as pods of a cluster.
//!
//! ```text
//!         Gateways, Pickers
//! wanted ──core::infra──> what must be there ──what differs──> applied, by the leader
//!                                            └─ what is ours and not wanted ──> deleted, by the leader
//! what is there ──addresses of Services, Deployments, pods──> observations, by every replica
//! ```
//!
//! Level-triggered: whatever changes, be it by us or by others, all of it is compared anew. A `Convergence` does that for
//! the objects of one `Family`.

mod apply;
mod convergence;
mod family;
mod gateways;
mod obstacle;
mod owned;
mod pickers;
mod pods;
mod shortfall;

use kube::Client;
use tokio::sync::watch;

pub use self::{gateways::Gateways, pickers::Pickers};
use crate::{gaps::Gaps, stores::Stores};

/// The cluster that objects are made in, and what decides which of them are.
#[derive(Clone)]
pub struct Site {
    /// The API server.
    pub client: Client,
    /// Where to say what it does not let us read.
    pub gaps: Gaps,
    /// Namespaces to make objects in; all if empty.
    pub namespaces: Vec<String>,
    /// Whether it is on this operator to act.
    pub leads: watch::Receiver<bool>,
    /// Who has objects made. One that goes takes its objects along, which are not made again meanwhile.
    pub stores: Stores,
}
