//! What surrounds an `InferencePool` in a test.
//!
//! ```text
//!  client ──> NGINX ──> agent's proxy ──> model_server, or llm-d's simulator
//!                            │                  ▲ asked for its metrics
//!                            └── ext_proc ──> picker: says what a test has it say
//!                                             queue_picker: the small one of `cargo xtask run`
//!                                             full_picker: the inference extension's, with api_server
//! ```
//!
//! [`programs`] compiles what upstream publishes as Go modules.

pub mod api_server;
pub mod full_picker;
pub mod holdings;
pub mod manifests;
pub mod model_server;
pub mod picker;
pub mod programs;
pub mod queue_picker;
pub mod served_pool;
