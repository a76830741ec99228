//! From Kubernetes objects to NGINX configuration, as one pure function: [`reconcile`].

pub mod api;
pub mod config;
pub mod generation;
pub mod object;
pub mod observed;
pub mod options;
pub mod syntax;
