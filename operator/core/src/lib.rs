//! From Kubernetes objects to NGINX configuration, as one pure function: [`reconcile()`].

pub mod api;
pub mod config;
pub mod data;
pub mod explain;
pub mod generation;
pub mod infra;
pub mod object;
pub mod observed;
pub mod options;
pub mod outcome;
pub mod reconcile;
pub mod render;
pub mod resolve;
pub mod snapshot;
pub mod status;
pub mod syntax;
pub mod translate;

pub use reconcile::reconcile;
