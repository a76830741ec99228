//! Gateways and endpoint pickers as pods of a cluster.
//!
//! ```text
//!         Gateways, Pickers
//! wanted ──core::infra──> what must be there ──what differs──> applied, by the leader
//!                                            └─ what is ours and not wanted ──> deleted, by the leader
//! what is there ──addresses of Services, pods of Deployments──> observations, by every replica
//! ```
//!
//! Level-triggered: whatever changes, be it by us or by others, all of it is compared anew. A `Convergence` does that for
//! the objects of one `Family`.

mod apply;
mod convergence;
mod family;
mod gateways;
mod owned;
mod pickers;

pub use gateways::Gateways;
pub use pickers::Pickers;
