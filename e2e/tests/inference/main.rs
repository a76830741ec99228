//! What an `InferencePool` promises, through real NGINX, agent and proxy, with a picker that says what a test wants.
//!
//! The files follow the contract of the endpoint picker protocol, see
//! <https://github.com/kubernetes-sigs/gateway-api-inference-extension/tree/main/docs/proposals/004-endpoint-picker-protocol>.

#![allow(unreachable_pub, reason = "nothing of a test can be reached from outside")]

mod bodies;
mod cancellation;
mod choice;
mod example;
mod failures;
mod heads;
mod ipv6;
mod leaks;
mod pools;
mod real_picker;
mod refusals;
mod requests;
mod responses;
mod slow_clients;
mod steadiness;
mod subset;
