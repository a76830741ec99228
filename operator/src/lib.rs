//! The half of the operator that does I/O: it feeds `operator-core` and carries out what that wants.
//!
//! ```text
//! source ──> stores ──> controller ──┬─ generations ────> fleet ──gRPC──> agents
//!                        ^           ├─ infrastructure ─> infrastructure ──starts──> agents
//!                        │           └─ statuses ───────> status ──> source
//!                  observations <──── reports of agents, addresses of infrastructure
//! ```

pub mod admin;
pub mod args;
mod calls;
pub mod certificates;
pub mod commands;
pub mod controller;
mod digest;
pub mod fleet;
pub mod gaps;
pub mod infrastructure;
pub mod leader;
mod listen;
pub mod metrics;
#[cfg(test)]
mod mock;
pub mod observations;
pub mod parts;
mod refusal;
pub mod source;
pub mod status;
pub mod stores;
pub mod telemetry;
