//! The product in a real cluster: `cargo xtask cluster up`, `cargo xtask image`, then
//! `cargo test -p e2e --test cluster`, as root.
//!
//! Tests run side by side, each in a namespace of its own, but for those that disturb or measure what all share: these
//! have the cluster to themselves for as long as they take. Full lengths, which take longer than every change should
//! wait for, are asked for in the environment: `REQUESTS=6000 SECONDS=8 ROUTES=1000 STRANGERS=20000 GATEWAYS=50
//! HOSTILE=2500`. So are the limits on time that are claimed, `AT_REST=yes`; they are ten times as wide otherwise.

mod chart;
mod disruption;
mod harness;
mod hostile;
mod inference;
mod isolation;
mod lifecycle;
mod neighbours;
mod provisioning;
mod replicas;
mod report;
mod scale;
mod serving;
mod status;
mod validation;
mod workload;
