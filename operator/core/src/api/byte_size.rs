//! Sizes as Kubernetes writes them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A number of bytes as it was written: `1048576`, or as a quantity `1Mi`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ByteSize {
    /// A number.
    Bytes(i64),
    /// A number with a suffix of Kubernetes' quantities; not NGINX's, whose `1m` would be a thousandth there.
    Quantity(String),
}

impl ByteSize {
    /// The pattern that the API server checks; as in Kubernetes, `M` is a million and `Mi` is 1,048,576.
    pub const PATTERN: &str = "^[0-9]{1,12}(k|M|G|Ki|Mi|Gi)?$";

    /// The number of bytes; `None` where the text is no such quantity, or the number negative or too large.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => u64::try_from(*bytes).ok(),
            Self::Quantity(text) => {
                let digits = text.bytes().take_while(u8::is_ascii_digit).count();
                let (digits, suffix) = text.split_at(digits);
                let unit = match suffix {
                    "" => 1,
                    "k" => 1_000,
                    "M" => 1_000_000,
                    "G" => 1_000_000_000,
                    "Ki" => 1 << 10,
                    "Mi" => 1 << 20,
                    "Gi" => 1 << 30,
                    _ => return None,
                };
                digits.parse::<u64>().ok()?.checked_mul(unit)
            }
        }
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "minimum": 0, "pattern": Self::PATTERN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_quantities() {
        let bytes = |text: &str| ByteSize::Quantity(text.to_owned()).bytes();
        assert_eq!(ByteSize::Bytes(0).bytes(), Some(0));
        assert_eq!(ByteSize::Bytes(-1).bytes(), None);
        assert_eq!(bytes("1048576"), Some(1_048_576));
        assert_eq!(bytes("8Mi"), Some(8 * 1_048_576));
        assert_eq!(bytes("8M"), Some(8_000_000));
        assert_eq!(bytes("8m"), None);
        assert_eq!(bytes("Mi"), None);
        assert_eq!(bytes("99999999999999999Gi"), None);
    }
}
