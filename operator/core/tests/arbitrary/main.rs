//! Objects that nobody would write, thrown at `reconcile`.
//!
//! Each case takes the documents of a golden case and changes them as random bytes say. `CASES` sets how many there
//! are, `SEED` where the random numbers begin. Where `$NGINX` names a program, it has to accept what is rendered in
//! some of them. The same claims are held against what libFuzzer finds, see `fuzz/`.

mod claims;
mod inputs;
mod mutation;
#[path = "../nginx/mod.rs"]
mod nginx;
#[path = "../objects/mod.rs"]
mod objects;

use std::{
    env,
    path::{Path, PathBuf},
};

use operator_core::outcome::Outcome;
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::Value;

use self::mutation::Mutation;

/// How many cases there are where `CASES` does not say; they take some seconds.
const CASES: u32 = 300;

/// One of this many cases is shown to NGINX.
const SHARE: u8 = 4;

#[test]
fn claims_hold_whatever_the_objects_are() {
    let inputs = inputs::inputs(Path::new(env!("CARGO_MANIFEST_DIR")));
    let nginx = env::var_os("NGINX").map(PathBuf::from);
    let seed = number("SEED").unwrap_or(0);
    let cases = number("CASES").map_or(CASES, |cases| cases.try_into().unwrap_or(u32::MAX));
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let case = (any::<u16>(), any::<u8>(), vec(any::<[u8; 8]>(), 1..12));
    let result = runner.run(&case, |(input, share, mutations)| {
        let input = &inputs[usize::from(input) % inputs.len()];
        let mut documents = input.clone();
        for mutation in mutations {
            Mutation::from(mutation).apply(&mut documents);
        }
        let changed: Vec<Value> = documents
            .iter()
            .filter(|document| !input.contains(document))
            .cloned()
            .collect();
        // Shown for the last case that fails, which is the smallest.
        println!(
            "--- changed:\n{}",
            serde_saphyr::to_string(&changed).expect("documents are YAML")
        );
        let outcome = claims::assert_claims(documents);
        if let Some(nginx) = nginx.as_deref().filter(|_| share % SHARE == 0) {
            assert_accepted(nginx, &outcome);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("with SEED={seed}: {error}");
    }
}

fn assert_accepted(nginx: &Path, outcome: &Outcome) {
    for (key, gateway) in &outcome.gateways {
        if let Some(generation) = &gateway.generation {
            let refusal = nginx::refusal(nginx, generation).expect("NGINX runs");
            assert_eq!(refusal, None, "{key}");
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}
