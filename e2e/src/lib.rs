//! The test harness: everything that surrounds Flotilla in a test, and nothing of Flotilla itself.
//!
//! ```text
//!  client, load ──> gateway addresses ──> NGINX <── agent <── flotilla run <── folder of manifests
//!                                           │       └──────── started by standalone ────────┘
//!                                           └──> echo, on loopback addresses of the test's own
//! ```
//!
//! Each test leases a range of loopback addresses, so tests run side by side with the real ports and no
//! port is ever raced for. [`nginx`] finds or gets the NGINX they all use.

#![allow(
    clippy::must_use_candidate,
    reason = "a test that drops an answer shows it by itself"
)]
#![allow(
    clippy::missing_panics_doc,
    reason = "each `expect` states what makes it true"
)]

pub mod certificates;
pub mod client;
pub mod cluster;
pub mod command;
pub mod conformance;
#[cfg(test)]
mod documents;
pub mod echo;
pub mod environment;
pub mod go;
pub mod image;
pub mod inference;
pub mod load;
pub mod loopback;
pub mod manifests;
pub mod network;
pub mod nginx;
pub mod plain;
pub mod process;
pub mod random;
pub mod reference;
pub mod run;
pub mod standalone;
pub mod suggestions;
pub mod tiers;
pub mod workspace;
