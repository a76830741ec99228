//! Where objects come from. A source is no trait: it is whatever feeds [`Writers`](crate::stores::Writers).
//!
//! ```text
//! files of a folder ──documents──> manifests ──names, kinds, first wins──> api_server ──watcher::Event──> stores
//!        ^                                                                     ^
//!      notify, and a look every few seconds                                 statuses
//!
//! an API server ──kubernetes──> stores
//! ```

mod api_server;
mod content;
mod documents;
mod files;
mod folder;
mod follow;
mod kinds;
mod kubernetes;
mod ledger;
mod manifest;
mod names;
mod problem;

pub use api_server::{ApiServer, StatusError};
pub use folder::{Error, Folder};
pub use follow::follow;
pub use kinds::{Object, ObjectId};
pub(crate) use kubernetes::{Doubling, places};
pub use kubernetes::{Kubernetes, OnDemand};
pub use ledger::Ledger;
pub use problem::{Position, Problem, Severity};

#[cfg(test)]
mod tests;
