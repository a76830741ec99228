//! The NGINX that runs from a prefix: its binary, its processes, its answers, its refusals.
//!
//! NGINX runs as a daemon, so that it is init's child and outlives the supervisor. What it is asked to do it is asked
//! by signals; what came of it is read from its own socket ([`answer`]) and from its own words ([`refusal`]), because
//! a signal has no result.

pub mod answer;
mod binary;
pub mod process;
pub mod refusal;

pub use self::{
    answer::Answer,
    binary::{Binary, Error},
    process::Master,
    refusal::Refusal,
};
