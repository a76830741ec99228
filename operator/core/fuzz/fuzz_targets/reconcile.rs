//! Arbitrary objects, chosen by libFuzzer; in `operator/core`:
//!
//! ```text
//! cargo +nightly fuzz run reconcile -- -len_control=0 -max_len=258
//! ```
//!
//! Two bytes choose documents to start from, eight more each change them, as in the test `arbitrary`, whose claims
//! are held against the outcome. The golden cases are the seeds, so none are kept here.

#![no_main]

#[path = "../../tests/arbitrary/claims.rs"]
mod claims;
#[path = "../../tests/arbitrary/inputs.rs"]
mod inputs;
#[path = "../../tests/arbitrary/mutation.rs"]
mod mutation;
#[path = "../../tests/objects/mod.rs"]
mod objects;

use std::{path::Path, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

use crate::mutation::Mutation;

/// More changes of one case tell nothing new.
const MOST_MUTATIONS: usize = 32;

static INPUTS: LazyLock<Vec<Vec<Value>>> =
    LazyLock::new(|| inputs::inputs(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))));

fuzz_target!(|bytes: &[u8]| {
    let Some((input, mutations)) = bytes.split_first_chunk() else {
        return;
    };
    let mut documents = INPUTS[usize::from(u16::from_be_bytes(*input)) % INPUTS.len()].clone();
    let (mutations, _) = mutations.as_chunks();
    for mutation in mutations.iter().take(MOST_MUTATIONS) {
        Mutation::from(*mutation).apply(&mut documents);
    }
    claims::assert_claims(documents);
});
