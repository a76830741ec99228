//! What a person can ask of a test beside its name.

use std::{env, time::Duration};

/// A number from the environment, for tests whose full length is too long for every change.
pub fn number(variable: &str, otherwise: usize) -> usize {
    let number = env::var(variable).ok();
    number.map_or(otherwise, |number| {
        number.parse().expect("numbers in the environment are numbers")
    })
}

/// How long something may take that is claimed to take this long at most on a machine at rest: that long where `$AT_REST`
/// is set, and else ten times as long, by which a busy machine can be told from a wait in vain.
pub fn limit(at_rest: Duration) -> Duration {
    if env::var_os("AT_REST").is_some() {
        at_rest
    } else {
        10 * at_rest
    }
}
