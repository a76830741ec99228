//! What agents are told, and what they say.
//!
//! ```text
//! Generations ──watch, newest only──> wanted ──Wanted──> agent
//! Observations <──────────────────── reports <──Report── agent
//! ```

mod reports;
mod server;
mod tokens;
mod wanted;

pub use server::{Error, Server, listen, serve};
pub use tokens::{Token, Tokens};

#[cfg(test)]
mod tests;
