//! The agent with a real NGINX and an operator that says what the test tells it to.
//!
//! Takes the NGINX of `$NGINX`, or the one on the path; without a sufficient one the tests say so and prove nothing.

#![allow(unreachable_pub, reason = "nothing of a test can be reached from outside")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod apply;
mod data;
mod proxy;
mod setting;
mod stop;
mod survival;
