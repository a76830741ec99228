//! Statuses: what they say is wrong, and how they get to the objects of a folder.

mod conditions;
mod writer;

pub use conditions::{Complaint, complaints};
pub use writer::write;
