//! What agents are told, and what they say.
//!
//! ```text
//! Generations ──watch, newest only──> wanted ──Wanted──> agent
//! Observations <──────────────────── reports <──Report── agent
//! ```

mod admission;
mod bucket;
mod guard;
mod leg;
mod relay;
mod reports;
mod reviews;
mod server;
mod tls;
mod tokens;
mod wanted;

pub use guard::Guard;
pub use relay::Relay;
pub use reviews::Reviews;
pub use server::{Error, Server, listen, serve, serve_tls};
pub use tokens::{Token, Tokens};

#[cfg(test)]
mod tests;
