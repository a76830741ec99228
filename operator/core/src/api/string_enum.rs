//! Enumerations that decode any string, because tomorrow's value must not make today's object unreadable.

/// Defines an enumeration of strings whose last variant, `Unknown`, keeps a value that no other stands for.
///
/// What to do with an unknown value is a decision for whoever reads the field (mostly: the condition
/// `UnsupportedValue`), so decoding never fails over it and encoding gives back what was read.
/// The schema, for kinds of our own, admits the known values only.
macro_rules! string_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $text:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )+
            /// A value that is none of [`Self::KNOWN`], as it was written.
            Unknown(String),
        }

        impl $name {
            /// The values that have a variant, in the order of the reference.
            pub const KNOWN: &'static [&'static str] = &[$($text),+];

            /// The value as it is written in an object.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $( Self::$variant => $text, )+
                    Self::Unknown(text) => text,
                }
            }
        }

        impl ::std::convert::From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $( $text => Self::$variant, )+
                    _ => Self::Unknown(text),
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as ::serde::Deserialize>::deserialize(deserializer).map(Self::from)
            }
        }

        impl ::schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                ::schemars::json_schema!({ "type": "string", "enum": Self::KNOWN })
            }
        }
    };
}

pub(crate) use string_enum;

#[cfg(test)]
#[allow(
    unreachable_pub,
    reason = "the macro makes public types, here in a private module"
)]
mod tests {
    string_enum! {
        /// Two sizes.
        #[derive(Default)]
        pub enum Size {
            /// The smaller one.
            #[default]
            Small = "small",
            /// The larger one.
            Large = "LARGE",
        }
    }

    #[test]
    fn known_values_are_written_as_declared() {
        assert_eq!(Size::default().as_str(), "small");
        assert_eq!(
            serde_json::to_value(Size::Large).expect("a string encodes"),
            "LARGE"
        );
        assert_eq!(Size::KNOWN, ["small", "LARGE"]);
    }

    #[test]
    fn unknown_values_survive_decoding_and_encoding() {
        let size: Size = serde_json::from_str(r#""huge""#).expect("any string decodes");
        assert_eq!(size, Size::Unknown("huge".to_owned()));
        assert_eq!(size.to_string(), "huge");
    }
}
