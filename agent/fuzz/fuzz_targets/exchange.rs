//! Arbitrary exchanges with pickers, chosen by libFuzzer; in `agent`:
//!
//! ```text
//! cargo +nightly fuzz run exchange
//! ```
//!
//! Bytes describe what both sides do, as in the test `exchange`, which holds the same claims against fewer of them.

#![no_main]

#[path = "../../tests/exchange/script.rs"]
mod script;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| script::play(bytes));
