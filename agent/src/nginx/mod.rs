//! The NGINX that runs from a prefix: its binary, its processes, its answers, its refusals.
//!
//! NGINX outlives the supervisor that started it and is then init's child, so that it is found by its pid file and its
//! processes' titles ([`process`]). What it is to do it is told by signals; what came of that is read from its own
//! socket ([`answer`]) and from its own words ([`refusal`]), because a signal has no result.

pub mod answer;
mod attention;
mod binary;
pub mod process;
pub mod refusal;

pub use self::{
    answer::{Answer, Connections},
    attention::Attention,
    binary::{Binary, Error},
    process::Master,
    refusal::Refusal,
};
