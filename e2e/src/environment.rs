//! What a person can ask of a test beside its name.

use std::env;

/// A number from the environment, for tests whose full length is too long for every change.
pub fn number(variable: &str, otherwise: usize) -> usize {
    let number = env::var(variable).ok();
    number.map_or(otherwise, |number| {
        number.parse().expect("numbers in the environment are numbers")
    })
}
