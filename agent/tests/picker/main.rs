//! Exchanges with a picker that does what each test tells it, over the network.

#![allow(unreachable_pub, reason = "nothing of a test can be reached from outside")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod connections;
mod patience;
mod request;
mod response;
mod setting;
mod subset;
