//! Regular expressions of routes.
//!
//! They are written in RE2's syntax, as everywhere in Kubernetes, and matched by PCRE in NGINX. What is accepted
//! here means the same to both and cannot hold a worker: no look-around, no back-references, and no expression
//! that can match one text in exponentially many ways.

use std::fmt;

use regex_automata::nfa::thompson::{NFA, WhichCaptures};
use regex_syntax::{
    ast,
    hir::{Class, Hir, HirKind, Look},
};
use serde::{Serialize, Serializer};

use super::ambiguity::{self, Ambiguity};

/// What a whole string must be like: one literal, or a regular expression that NGINX can run safely.
#[derive(Clone, PartialEq)]
pub struct Pattern {
    source: String,
    hir: Hir,
}

/// Why a regular expression is refused, in words for the one who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError(String);

/// Bytes of memory that the automaton of an expression may take, which bounds the time to check it.
const AUTOMATON_LIMIT: usize = 1 << 20;

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
    ///
    /// `^` at the start and `$` at the end are accepted and change nothing.
    pub fn regex(source: &str) -> Result<Self, PatternError> {
        let hir = regex_syntax::ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .build()
            .parse(source)
            .map_err(|error| PatternError(explanation(&error)))?;
        let hir = without_anchor(without_anchor(hir, Look::Start), Look::End);
        check(&hir)?;
        let nfa = NFA::compiler()
            .configure(
                NFA::config()
                    .utf8(false)
                    .which_captures(WhichCaptures::None)
                    .nfa_size_limit(Some(AUTOMATON_LIMIT)),
            )
            .build_from_hir(&hir)
            .map_err(|_| too_large())?;
        match ambiguity::of(&nfa) {
            Ambiguity::Bounded => Ok(Self {
                source: source.to_owned(),
                hir,
            }),
            Ambiguity::Exponential => Err(PatternError(
                "a repetition can match the same text in more than one way, so the time to match could grow \
                 exponentially, as in (a+)+ or (a|aa)*; write it so that each text is matched in one way, as in a+"
                    .to_owned(),
            )),
            Ambiguity::TooLarge => Err(too_large()),
        }
    }

    /// The expression as the user wrote it; a literal with its special characters escaped.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The parsed expression, over bytes, without the anchors at its start and end.
    #[must_use]
    pub fn hir(&self) -> &Hir {
        &self.hir
    }
}

/// What is wrong with an expression that does not parse, and what to do.
fn explanation(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => match error.kind() {
            ast::ErrorKind::UnsupportedLookAround => {
                "look-around such as (?=…) or (?!…) is not supported: the syntax is RE2's".to_owned()
            }
            ast::ErrorKind::UnsupportedBackreference => {
                r"back-references such as \1 are not supported: the syntax is RE2's".to_owned()
            }
            kind => format!("{kind} (at character {})", error.span().start.column),
        },
        regex_syntax::Error::Translate(error) => {
            format!("{} (at character {})", error.kind(), error.span().start.column)
        }
        _ => "it cannot be parsed".to_owned(),
    }
}

fn too_large() -> PatternError {
    PatternError("it is too large: shorten it or lower its repetition counts".to_owned())
}

/// The expression without the anchors that stand where the whole string starts or ends anyway.
fn without_anchor(hir: Hir, anchor: Look) -> Hir {
    match hir.into_kind() {
        HirKind::Look(look) if look == anchor => Hir::empty(),
        HirKind::Capture(capture) => without_anchor(*capture.sub, anchor),
        HirKind::Alternation(branches) => Hir::alternation(
            branches
                .into_iter()
                .map(|branch| without_anchor(branch, anchor))
                .collect(),
        ),
        HirKind::Concat(mut parts) => {
            let outer = if anchor == Look::Start { 0 } else { parts.len() - 1 };
            let part = std::mem::replace(&mut parts[outer], Hir::empty());
            parts[outer] = without_anchor(part, anchor);
            Hir::concat(parts)
        }
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Repetition(repetition) => Hir::repetition(repetition),
    }
}

/// Refuses what PCRE understands otherwise, or not at all.
fn check(hir: &Hir) -> Result<(), PatternError> {
    match hir.kind() {
        HirKind::Look(Look::Start | Look::End) => Err(PatternError(
            "^ and $ can stand at the start and the end only: the whole value is matched".to_owned(),
        )),
        HirKind::Look(
            Look::StartLF
            | Look::EndLF
            | Look::WordAscii
            | Look::WordAsciiNegate
            | Look::WordStartAscii
            | Look::WordEndAscii
            | Look::WordStartHalfAscii
            | Look::WordEndHalfAscii,
        )
        | HirKind::Empty
        | HirKind::Literal(_)
        | HirKind::Class(Class::Bytes(_)) => Ok(()),
        HirKind::Class(Class::Unicode(class)) if class.is_ascii() => Ok(()),
        HirKind::Look(_) | HirKind::Class(_) => Err(PatternError(
            "Unicode classes are not supported: values are matched byte by byte".to_owned(),
        )),
        HirKind::Repetition(repetition) => check(&repetition.sub),
        HirKind::Capture(capture) => check(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().try_for_each(check),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(source: &str) -> String {
        Pattern::regex(source).expect_err(source).to_string()
    }

    #[test]
    fn look_around_and_back_references_are_refused_by_name() {
        assert!(refusal("(?=a)b").contains("look-around"));
        assert!(refusal("(?<!a)b").contains("look-around"));
        assert!(refusal(r"(a)\1").contains("back-references"));
        assert!(refusal("(a").contains("unclosed group"));
    }

    #[test]
    fn exponential_expressions_are_refused() {
        for source in [
            "(a+)+",
            "(a*)*",
            "(a|ab|b)*c(a+)+",
            r"(\w+\s?)*",
            "(.*,)*x",
            "((ab)*)+",
            "(a|aa)+",
        ] {
            assert!(refusal(source).contains("exponentially"), "{source}");
        }
    }

    #[test]
    fn useful_expressions_are_accepted() {
        for source in [
            "",
            "a",
            "^/api/v[0-9]+/.*$",
            "(a|b|c)*",
            "([^/]+/)+",
            r"([a-z]+-)*[a-z]+",
            r".*\bbot\b.*",
            ".*.*=.*",
            "(^a|b$)",
            "(?i)abc",
            "a{1,200}",
            "(?:^|x)y",
            "ü+",
            r"[\x80-\xff]*",
            "(?s).*",
        ] {
            assert!(
                Pattern::regex(source).is_ok(),
                "{source}: {:?}",
                Pattern::regex(source)
            );
        }
    }

    #[test]
    fn what_would_take_long_to_check_is_refused() {
        for source in [
            "((a{100}){100}){100}",
            "(a{0,900}b?){0,900}",
            ".{1000}.{1000}.{1000}",
        ] {
            assert!(refusal(source).contains("too large"), "{source}");
        }
    }

    #[test]
    fn anchors_in_the_middle_are_refused() {
        assert!(refusal("a^b").contains("start and the end"));
        assert!(refusal("(a$)+b").contains("start and the end"));
    }
}
