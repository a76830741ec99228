//! Regular expressions of routes.

use std::fmt;

use regex_syntax::hir::Hir;
use serde::{Serialize, Serializer};

/// What a whole string must be like: one literal, or a regular expression that NGINX can run safely.
#[derive(Clone, PartialEq)]
pub struct Pattern {
    source: String,
    hir: Hir,
}

/// Why a regular expression is refused, in words for the one who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError(String);

impl Pattern {
    /// Matches exactly these bytes.
    #[must_use]
    pub fn literal(bytes: &[u8]) -> Self {
        let source = regex_syntax::escape(&String::from_utf8_lossy(bytes));
        Self {
            source,
            hir: Hir::literal(bytes),
        }
    }

    /// Matches what the regular expression matches from the first to the last byte.
    pub fn regex(source: &str) -> Result<Self, PatternError> {
        let hir = regex_syntax::ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .build()
            .parse(source);
        let hir = hir.map_err(|error| PatternError(error.to_string()))?;
        Ok(Self {
            source: source.to_owned(),
            hir,
        })
    }

    /// The expression as the user wrote it; a literal with its special characters escaped.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The parsed expression, over bytes.
    #[must_use]
    pub fn hir(&self) -> &Hir {
        &self.hir
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pattern({:?})", self.source)
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}
