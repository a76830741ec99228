//! What is wrong with an object, on its way to becoming a condition.

/// Something that is wrong, and how it will be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<R> {
    /// The reason of the condition.
    pub reason: R,
    /// What is wrong, where, and what would be right, in a sentence without a full stop.
    pub message: String,
}

impl<R> Finding<R> {
    /// A finding of that reason and message.
    pub fn new(reason: R, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// A reason as conditions have it.
pub trait Reason: Copy {
    /// In the specification's spelling.
    fn as_str(self) -> &'static str;
}

/// Defines an enumeration of reasons.
macro_rules! reasons {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $text:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility enum $name {
            $( $(#[$variant_meta])* $variant, )+
        }

        impl $crate::resolve::finding::Reason for $name {
            fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )+
                }
            }
        }
    };
}

pub(crate) use reasons;
