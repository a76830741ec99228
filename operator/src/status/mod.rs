//! Statuses: what they say is wrong, and how they get to objects, be they a folder's or a cluster's, and to people.

mod conditions;
mod events;
mod kubernetes;
mod time;
mod writer;

pub use conditions::{Complaint, complaints};
pub use kubernetes::{Author, write_to_cluster};
pub use writer::write;
