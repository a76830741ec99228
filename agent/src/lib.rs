//! Runs one NGINX for the operator: applies its configuration, answers for its endpoints, reports what is served.
//!
//! ```text
//! init ──starts──> supervisor ──starts, signals──> nginx master + workers
//!  │                ├── link        <──gRPC──> operator
//!  │                ├── apply       stage, test, switch, reload, confirm
//!  │                ├── data        endpoints, certificates, legs: never a reload
//!  │                ├── dns         <──questions── nginx
//!  │                ├── proxy_link  ──data──> proxy, and looks after it
//!  │                └── admin       <──probes── kubelet
//!  └────starts────> proxy           <──requests── nginx
//! ```
//!
//! Read [`supervisor`] first.

pub mod admin;
pub mod apply;
pub mod args;
pub mod backoff;
pub mod causes;
pub mod child;
pub mod data;
pub mod dns;
pub mod files;
pub mod generation;
pub mod init;
pub mod link;
pub mod metrics;
pub mod nginx;
pub mod prefix;
pub mod proxy;
pub mod proxy_link;
pub mod supervisor;
