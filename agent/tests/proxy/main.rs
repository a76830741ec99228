//! The proxy with real sockets: clients on its unix socket as NGINX would be, endpoints on loopback that do what a test
//! says byte by byte.

#![allow(unreachable_pub, reason = "nothing of a test can be reached from outside")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod control;
mod endings;
mod heads;
mod http1;
mod http2;
mod picker;
mod retry;
mod setting;
mod timeouts;
mod tls;
mod usage;
