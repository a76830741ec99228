//! How long a user's texts may be once they are printed.
//!
//! NGINX reads its configuration through a buffer of 4,096 bytes and refuses all of it if a parameter does not fit
//! (`NGX_CONF_BUFFER` in its `src/core/ngx_conf_file.c`). The lengths here are upper bounds of what `render` prints.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::mistake::Mistake;
use crate::{
    config::{Condition, HeaderChanges, Subject},
    syntax::{HeaderName, Path, Pattern},
};

/// Most bytes of a parameter of NGINX's configuration, with some left for what we print around a user's text.
const PARAMETER: usize = 3950;

/// Most characters of a path, as the specification has it, and of a regular expression.
pub(super) const LONGEST: usize = 1024;

/// Refuses a condition that would be too long as a quoted regular expression.
pub(super) fn condition(condition: &Condition) -> Result<(), Mistake> {
    let Condition { subject, pattern } = condition;
    match subject {
        Subject::Method(_) | Subject::Preflight(_) => Ok(()),
        Subject::Path | Subject::Header(_) => self::pattern(pattern),
        // The name stands there twice: as the parameter that is looked for, and as those that are passed over.
        Subject::Query(name) => {
            let name = Bytes::Encoded.printed_all(name.as_bytes());
            fits(
                "value",
                2 * name + Bytes::Encoded.printed_expression(pattern.hir()),
            )
        }
    }
}

/// Refuses a pattern that would be too long as a quoted regular expression.
pub(super) fn pattern(pattern: &Pattern) -> Result<(), Mistake> {
    fits("value", Bytes::Plain.printed_expression(pattern.hir()))
}

/// Refuses a prefix that would be too long as a regular expression, which is how the prefix of a path is replaced.
pub(super) fn replaced_prefix(prefix: &Path) -> Result<(), Mistake> {
    fits(
        "replacePrefixMatch",
        Bytes::Encoded.printed_all(prefix.as_bytes()),
    )
}

/// Refuses a text in the field that would be too long as a quoted parameter.
pub(super) fn text(field: &str, text: &str) -> Result<(), Mistake> {
    fits(field, quoted_text(text))
}

/// Refuses changes of one header, the second after the first, that would be too long together.
pub(super) fn header_changes(
    field: &str,
    first: &HeaderChanges,
    second: &HeaderChanges,
) -> Result<(), Mistake> {
    for name in names(second) {
        let length: usize = values(first, name)
            .chain(values(second, name))
            .map(|value| quoted_text(value) + 1)
            .sum();
        fits(field, length)?;
    }
    Ok(())
}

/// Refuses a list of names that would be too long as one parameter.
pub(super) fn list(field: &str, names: &[String]) -> Result<(), Mistake> {
    fits(field, names.iter().map(|name| name.len() + 2).sum())
}

fn fits(field: &str, length: usize) -> Result<(), Mistake> {
    if length <= PARAMETER {
        return Ok(());
    }
    let problem = format!(
        "takes up to {length} bytes in NGINX's configuration, which can hold {PARAMETER}; shorten it"
    );
    Err(Mistake::unsupported(field, problem))
}

/// Bytes that a text takes: a dollar sign is printed as a variable, quotes and backslashes are escaped.
fn quoted_text(text: &str) -> usize {
    let printed = |byte| match byte {
        b'$' => 9,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    text.bytes().map(printed).sum()
}

/// How the bytes of an expression are printed.
#[derive(Clone, Copy)]
enum Bytes {
    /// As they are, or as `\x2e`.
    Plain,
    /// The same, or percent-encoded in either case, as `(?:\x2e|%2[eE])`.
    Encoded,
}

impl Bytes {
    fn printed(self, byte: u8) -> usize {
        let plain = if byte.is_ascii_alphanumeric() { 1 } else { 4 };
        let digit = |value: u8| if value < 10 { 1 } else { 4 };
        match self {
            Self::Plain => plain,
            Self::Encoded => 6 + plain + digit(byte >> 4) + digit(byte & 15),
        }
    }

    fn printed_all(self, bytes: &[u8]) -> usize {
        bytes.iter().map(|byte| self.printed(*byte)).sum()
    }

    /// A range of a class: its ends, and the last digit of its percent-encodings for each first one.
    fn printed_range(self, start: u32, end: u32) -> usize {
        let plain = 9;
        let firsts = (end >> 4) - (start >> 4) + 1;
        match self {
            Self::Plain => plain,
            Self::Encoded => plain + 31 * firsts.min(16) as usize,
        }
    }

    fn printed_expression(self, hir: &Hir) -> usize {
        match hir.kind() {
            HirKind::Empty => 0,
            HirKind::Literal(literal) => self.printed_all(&literal.0),
            HirKind::Class(class) => {
                let ranges = ranges(class).into_iter();
                6 + ranges
                    .map(|(start, end)| self.printed_range(start, end))
                    .sum::<usize>()
            }
            HirKind::Look(_) => 40,
            HirKind::Repetition(repetition) => 28 + self.printed_expression(&repetition.sub),
            HirKind::Capture(capture) => self.printed_expression(&capture.sub),
            HirKind::Concat(parts) => parts.iter().map(|part| self.printed_expression(part)).sum(),
            HirKind::Alternation(parts) => {
                4 + parts
                    .iter()
                    .map(|part| 1 + self.printed_expression(part))
                    .sum::<usize>()
            }
        }
    }
}

/// The ranges of a class, each from its first character to its last.
fn ranges(class: &Class) -> Vec<(u32, u32)> {
    match class {
        Class::Bytes(class) => class
            .iter()
            .map(|range| (range.start().into(), range.end().into()))
            .collect(),
        Class::Unicode(class) => class
            .iter()
            .map(|range| (range.start().into(), range.end().into()))
            .collect(),
    }
}

fn names(changes: &HeaderChanges) -> impl Iterator<Item = &HeaderName> {
    let set = changes.set.iter().map(|(name, _)| name);
    set.chain(changes.add.iter().map(|(name, _)| name))
}

fn values<'a>(changes: &'a HeaderChanges, name: &'a HeaderName) -> impl Iterator<Item = &'a String> {
    let set = changes
        .set
        .iter()
        .filter(move |(set, _)| set == name)
        .map(|(_, value)| value);
    set.chain(
        changes
            .add
            .iter()
            .filter(move |(added, _)| added == name)
            .flat_map(|(_, values)| values),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::render::fits;

    /// Expressions, and texts of bytes that are printed in different ways, of about the length that still fits.
    fn patterns() -> impl Strategy<Value = Pattern> {
        let literal = ("[a-c1% é.$-]", 1..4000_usize)
            .prop_map(|(text, times)| Pattern::literal(text.repeat(times).as_bytes()));
        let parts = [
            "x",
            "[a-z]",
            r"\w",
            "(?i:k)",
            "[^a-c]",
            "(y|z)",
            "_{2,3}",
            r"\.",
            "é",
            r"[\x01\x03\x05]",
        ];
        let regex = (proptest::sample::select(parts.to_vec()), 1..250_usize)
            .prop_filter_map("refused", |(part, times)| {
                Pattern::regex(&part.repeat(times)).ok()
            });
        prop_oneof![literal, regex]
    }

    fn query(name: &str, pattern: Pattern) -> Result<(), Mistake> {
        condition(&Condition {
            subject: Subject::Query(name.to_owned()),
            pattern,
        })
    }

    #[test]
    fn ordinary_conditions_fit() {
        assert_eq!(
            query(
                "page",
                Pattern::regex("[0-9]{1,5}|first|last").expect("an expression")
            ),
            Ok(())
        );
        assert_eq!(
            pattern(&Pattern::literal("x".repeat(PARAMETER).as_bytes())),
            Ok(())
        );
        assert_eq!(
            pattern(&Pattern::regex(r"/v[0-9]+/(users|orders)(/.*)?").expect("an expression")),
            Ok(())
        );
    }

    #[test]
    fn a_literal_is_measured_as_it_is_escaped() {
        assert!(pattern(&Pattern::literal("-".repeat(1001).as_bytes())).is_err());
    }

    #[test]
    fn a_query_parameter_is_measured_with_its_percent_encodings() {
        assert_eq!(query("q", Pattern::literal("x".repeat(400).as_bytes())), Ok(()));
        assert!(query("q", Pattern::literal("x".repeat(500).as_bytes())).is_err());
        assert!(query(&"q".repeat(256), Pattern::literal(b"x")).is_err());
    }

    #[test]
    fn dollar_signs_are_measured_as_variables() {
        assert!(text("value", &"$".repeat(500)).is_err());
    }

    #[test]
    fn values_of_one_header_are_measured_together() {
        let name = HeaderName::new("x-a").expect("a name");
        let add = |length| HeaderChanges {
            add: vec![(name.clone(), vec!["v".repeat(length)])],
            ..HeaderChanges::default()
        };
        assert_eq!(header_changes("add", &add(1000), &add(1000)), Ok(()));
        assert!(header_changes("add", &add(3000), &add(3000)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_accepted_fits_into_nginx_buffer(
            pattern in patterns(), name in prop_oneof!["[a-zé /.]{1,60}", Just(String::new())],
        ) {
            let subject = if name.is_empty() { Subject::Path } else { Subject::Query(name) };
            let condition = Condition { subject, pattern };
            if super::condition(&condition).is_ok() {
                prop_assert!(fits(&condition));
            }
        }
    }
}
