//! Runs one NGINX for the operator: applies its configuration, answers for its endpoints, reports what is served.
//!
//! ```text
//! init ──starts──> supervisor ──starts, signals──> nginx master + workers
//!                   ├── link   <──gRPC──> operator
//!                   ├── apply  stage, test, switch, reload, confirm
//!                   ├── data   endpoints, certificates: never a reload
//!                   ├── dns    <──questions── nginx
//!                   └── admin  <──probes── kubelet
//! ```
//!
//! Read [`supervisor`] first.

pub mod admin;
pub mod apply;
pub mod args;
pub mod backoff;
pub mod causes;
pub mod data;
pub mod dns;
pub mod files;
pub mod generation;
pub mod init;
pub mod link;
pub mod nginx;
pub mod prefix;
pub mod proxy;
pub mod supervisor;
