//! Exchanges with pickers in any order; the fuzz target `exchange` plays the same ones.

mod script;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exchanges_end_and_bytes_are_kept(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        script::play(&bytes);
    }
}
