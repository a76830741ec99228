//! Durations as Gateway API writes them.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A duration as it was written, for example `1h30m` or `500ms`.
///
/// See <https://gateway-api.sigs.k8s.io/geps/gep-2257/>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Duration(pub String);

impl Duration {
    /// The pattern that the API server checks.
    pub const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

    /// The duration's length, with a resolution of one millisecond; `None` where the text is no GEP-2257 duration.
    #[must_use]
    pub fn length(&self) -> Option<std::time::Duration> {
        let mut rest = self.0.as_str();
        let mut milliseconds = 0;
        for _ in 0..4 {
            let number = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, tail) = rest.split_at(number);
            let unit = tail.bytes().take_while(u8::is_ascii_lowercase).count();
            let (unit, tail) = tail.split_at(unit);
            milliseconds += quantity(digits)? * milliseconds_of(unit)?;
            rest = tail;
            if rest.is_empty() {
                return Some(std::time::Duration::from_millis(milliseconds));
            }
        }
        None
    }
}

/// One to five digits.
fn quantity(digits: &str) -> Option<u64> {
    (digits.len() <= 5).then(|| digits.parse().ok()).flatten()
}

/// How many milliseconds a unit has.
fn milliseconds_of(unit: &str) -> Option<u64> {
    match unit {
        "h" => Some(3_600_000),
        "m" => Some(60_000),
        "s" => Some(1_000),
        "ms" => Some(1),
        _ => None,
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": Self::PATTERN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn milliseconds(text: &str) -> Option<u128> {
        Duration(text.to_owned())
            .length()
            .map(|length| length.as_millis())
    }

    #[test]
    fn units_add_up() {
        assert_eq!(milliseconds("0s"), Some(0));
        assert_eq!(milliseconds("1h30m"), Some(5_400_000));
        assert_eq!(milliseconds("10s500ms"), Some(10_500));
        assert_eq!(milliseconds("1h1m1s1ms"), Some(3_661_001));
        assert_eq!(
            milliseconds("99999h99999h99999h99999h"),
            Some(4 * 99_999 * 3_600_000)
        );
    }

    proptest! {
        #[test]
        fn what_the_pattern_admits_has_a_length_and_nothing_else_has(
            text in prop_oneof!["([0-9]{0,6}(h|m|s|ms|d)){0,5}", ".*"],
        ) {
            let pattern = regex::Regex::new(Duration::PATTERN).expect("the pattern is a regular expression");
            prop_assert_eq!(Duration(text.clone()).length().is_some(), pattern.is_match(&text));
        }
    }
}
