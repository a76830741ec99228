//! Patterns as PCRE reads them.
//!
//! Nothing of what a user wrote is copied: an expression is printed from its parsed form, and every byte that is
//! neither a letter nor a digit nor harmless is printed as its number.

#![expect(clippy::format_push_string, reason = "a printer reads as what it prints")]

use std::fmt;

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

use super::view::Printable;
use crate::{
    config::{Condition, Subject},
    syntax::{Path, Pattern},
};

/// The left side of an entry of a `map` that is a regular expression.
#[derive(Clone, Debug)]
pub(super) struct Regex(String);

/// Steps that PCRE may take for one expression, some milliseconds; what needs more does not match.
///
/// The time of an accepted expression can still be a polynomial of the length of the request.
const STEPS: u32 = 200_000;

/// Most bytes of an expression: NGINX reads a parameter through a buffer of 4,096 bytes, quotes included
/// (`NGX_CONF_BUFFER` in its `src/core/ngx_conf_file.c`).
const LONGEST: usize = 4_000;

/// Whether NGINX can read the expression that a condition is printed as, which can be many times longer than what
/// the user wrote.
///
/// A condition that does not fit is printed as one that never holds, so that nothing else suffers.
#[cfg(test)]
pub(crate) fn fits(condition: &Condition) -> bool {
    expression(condition).len() <= LONGEST
}

impl Printable for Regex {}

impl fmt::Display for Regex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What this module prints has neither quotes nor doubled backslashes, which NGINX would take for itself.
        write!(formatter, "\"~{}\"", self.0)
    }
}

impl Regex {
    /// Matches the subjects of a condition that satisfy it.
    pub(super) fn condition(condition: &Condition) -> Self {
        let expression = expression(condition);
        Self(if expression.len() <= LONGEST {
            expression
        } else {
            "(?!)".to_owned()
        })
    }

    /// Matches a URI as sent whose decoded path starts with these segments, which is known: it need not be compared
    /// byte by byte, just as many bytes are left out, however they are encoded.
    ///
    /// The first group is the rest of the path behind a slash, which a client may have encoded, the second the query
    /// with its question mark; with `rest` false there is no more path, and the first group is the query.
    pub(super) fn encoded_prefix(prefix: &Path, rest: bool) -> Self {
        let length = prefix.without_trailing_slash().len();
        let rest = if rest { "(?:/|%2[Ff])([^?]*)" } else { "" };
        Self(format!(r"^(?:%..|[^%?]){{{length}}}{rest}(\?.*)?\z"))
    }

    /// As [`Self::encoded_prefix`], of a decoded path without its query.
    pub(super) fn decoded_prefix(prefix: &Path, rest: bool) -> Self {
        let length = prefix.without_trailing_slash().len();
        let rest = if rest { "(/.*)" } else { "" };
        Self(format!(r"^(?s).{{{length}}}{rest}\z"))
    }

    /// Matches an origin that starts with `scheme`, ends with `rest`, and has part of a host between.
    pub(super) fn origin(scheme: &str, rest: &str) -> Self {
        let printed = |text: &str| {
            let mut printer = Printer::new(Encoding::None);
            printer.literal(text.as_bytes());
            printer.output
        };
        Self(format!(r"^{}[a-z0-9.-]+{}\z", printed(scheme), printed(rest)))
    }

    /// Matches strings of `0` and `1` that have `1` at all of these places, counted from 0 and in order.
    pub(super) fn ones_at(places: impl IntoIterator<Item = usize>) -> Self {
        let mut output = "^".to_owned();
        let mut end = 0;
        for place in places {
            match place - end {
                0 => {}
                gap @ 1..=4 => output += &".".repeat(gap),
                gap => output += &format!(".{{{gap}}}"),
            }
            output.push('1');
            end = place + 1;
        }
        Self(output)
    }
}

/// Matches the subjects of a condition that satisfy it, however long it gets.
fn expression(condition: &Condition) -> String {
    let Condition { subject, pattern } = condition;
    match subject {
        Subject::Method(method) | Subject::Preflight(method) => {
            whole(&Pattern::literal(method.as_str().as_bytes()))
        }
        Subject::Path | Subject::Header(_) => whole(pattern),
        Subject::Query(name) => query(name, pattern),
    }
}

/// Matches strings that the pattern matches as a whole.
fn whole(pattern: &Pattern) -> String {
    let mut printer = Printer::new(Encoding::None);
    printer.expression(pattern.hir());
    format!(r"{}^{}\z", limit(pattern), printer.output)
}

/// Matches queries whose first parameter of this name has a value that the pattern matches.
fn query(name: &str, pattern: &Pattern) -> String {
    let mut name_printer = Printer::new(Encoding::QueryName);
    name_printer.literal(name.as_bytes());
    let name = name_printer.output;
    let mut printer = Printer::new(Encoding::QueryValue);
    printer.expression(pattern.hir());
    let value = printer.output;
    let limit = limit(pattern);
    // A parameter without an equals sign has an empty value.
    let value = if pattern.hir().properties().minimum_len() == Some(0) {
        format!("(?:={value})?")
    } else {
        format!("={value}")
    };
    format!(r"{limit}^(?:(?!{name}(?:[=&]|\z))[^&]*+&)*+{name}{value}(?:&|\z)")
}

fn limit(pattern: &Pattern) -> String {
    match pattern.hir().properties().maximum_len() {
        Some(_) => String::new(),
        None => format!("(*LIMIT_MATCH={STEPS})"),
    }
}

/// How a byte stands in the text that is matched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// As it is.
    None,
    /// As it is or percent-encoded, in a name of a query parameter.
    QueryName,
    /// The same, in a value of a query parameter.
    QueryValue,
}

impl Encoding {
    /// Whether the byte can stand for itself.
    fn admits(self, byte: u8) -> bool {
        match self {
            Self::None => true,
            Self::QueryName => byte > b' ' && byte != 0x7f && !b"%&+#=".contains(&byte),
            Self::QueryValue => byte > b' ' && byte != 0x7f && !b"%&+#".contains(&byte),
        }
    }
}

struct Printer {
    encoding: Encoding,
    output: String,
}

impl Printer {
    fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            output: String::new(),
        }
    }

    fn expression(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Empty => {}
            HirKind::Literal(literal) => self.literal(&literal.0),
            HirKind::Class(class) => self.set(&bytes_of(class)),
            HirKind::Look(look) => self.output += look_around(*look),
            HirKind::Repetition(repetition) => self.repetition(repetition),
            HirKind::Capture(capture) => self.expression(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.expression(part)),
            HirKind::Alternation(branches) => {
                self.output += "(?:";
                for (index, branch) in branches.iter().enumerate() {
                    if index > 0 {
                        self.output.push('|');
                    }
                    self.expression(branch);
                }
                self.output.push(')');
            }
        }
    }

    fn repetition(&mut self, repetition: &Repetition) {
        let Repetition {
            min,
            max,
            greedy,
            sub,
        } = repetition;
        let mut printer = Self::new(self.encoding);
        printer.expression(sub);
        let sub = printer.output;
        let is_one = sub.len() == 1
            || (matches!(repetition.sub.kind(), HirKind::Class(_)) && sub.starts_with("(?:"))
            || (sub.starts_with('[') && sub.find(']') == Some(sub.len() - 1));
        self.output += &if is_one { sub } else { format!("(?:{sub})") };
        self.output += &match (min, max) {
            (0, None) => "*".to_owned(),
            (1, None) => "+".to_owned(),
            (0, Some(1)) => "?".to_owned(),
            (min, None) => format!("{{{min},}}"),
            (min, Some(max)) if min == max => format!("{{{min}}}"),
            (min, Some(max)) => format!("{{{min},{max}}}"),
        };
        if !greedy {
            self.output.push('?');
        }
    }

    fn literal(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.encoding == Encoding::None {
                self.output += &byte_outside_class(byte);
            } else {
                let mut only = [false; 256];
                only[usize::from(byte)] = true;
                self.set(&only);
            }
        }
    }

    /// Prints what matches one byte of the set.
    fn set(&mut self, set: &Set) {
        let bare = std::array::from_fn(|byte| set[byte] && self.encoding.admits(as_byte(byte)));
        let mut alternatives = class(&bare).into_iter().collect::<Vec<_>>();
        if self.encoding != Encoding::None {
            if set[usize::from(b' ')] {
                alternatives.push(r"\x2b".to_owned());
            }
            alternatives.extend(percent_encodings(set));
        }
        match alternatives.as_slice() {
            [] => self.output += "(?!)",
            [one] => self.output += one,
            several => self.output += &format!("(?:{})", several.join("|")),
        }
    }
}

/// Which bytes are meant.
type Set = [bool; 256];

fn as_byte(index: usize) -> u8 {
    u8::try_from(index).expect("a set has an entry for each byte")
}

fn bytes_of(class: &Class) -> Set {
    let mut set = [false; 256];
    match class {
        Class::Bytes(class) => {
            for range in class.ranges() {
                set[usize::from(range.start())..=usize::from(range.end())].fill(true);
            }
        }
        // Patterns have ASCII classes only, so each character is a byte.
        Class::Unicode(class) => {
            for range in class.ranges() {
                let ends = (u8::try_from(range.start()), u8::try_from(range.end()));
                if let (Ok(start), Ok(end)) = ends {
                    set[usize::from(start)..=usize::from(end)].fill(true);
                }
            }
        }
    }
    set
}

/// One byte of the set: itself, or a class, negated where that is shorter; `None` if the set is empty.
fn class(set: &Set) -> Option<String> {
    let count = set.iter().filter(|member| **member).count();
    let single = set.iter().position(|member| *member)?;
    if count == 1 {
        return Some(byte_outside_class(as_byte(single)));
    }
    if count == 256 {
        return Some(r"[\x00-\xff]".to_owned());
    }
    let negated = count > 128;
    let mut output = if negated { "[^" } else { "[" }.to_owned();
    let mut byte = 0;
    while byte < 256 {
        let end = (byte..256).find(|&end| set[end] == negated).unwrap_or(256);
        match end - byte {
            0 => byte += 1,
            1 => output += &byte_in_class(as_byte(byte)),
            length => {
                let between = if length == 2 { "" } else { "-" };
                output += &byte_in_class(as_byte(byte));
                output += between;
                output += &byte_in_class(as_byte(end - 1));
            }
        }
        byte = byte.max(end);
    }
    output.push(']');
    Some(output)
}

/// The percent-encodings of the bytes of the set, in either case, as alternatives.
fn percent_encodings(set: &Set) -> Vec<String> {
    let lows: [u16; 16] = std::array::from_fn(|high| {
        (0..16)
            .filter(|low| set[16 * high + low])
            .fold(0, |mask, low| mask | 1 << low)
    });
    let mut encodings = Vec::new();
    for high in 0..16 {
        let mask = lows[high];
        if mask != 0 && !lows[..high].contains(&mask) {
            let highs = (0..16)
                .filter(|high| lows[*high] == mask)
                .fold(0, |mask, high| mask | 1 << high);
            encodings.push(format!("%{}{}", digits(highs), digits(mask)));
        }
    }
    encodings
}

/// Hexadecimal digits by their values' bits, in either case.
fn digits(mask: u16) -> String {
    let mut set = [false; 256];
    for (value, digit) in b"0123456789abcdef".iter().enumerate() {
        if mask >> value & 1 == 1 {
            set[usize::from(*digit)] = true;
            set[usize::from(digit.to_ascii_uppercase())] = true;
        }
    }
    class(&set).unwrap_or_default()
}

fn byte_outside_class(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-_/,:;=@%&~<>! ".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("\\x{byte:02x}")
    }
}

fn byte_in_class(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"_/".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("\\x{byte:02x}")
    }
}

/// What RE2's assertion is in PCRE, without its options. Patterns have no others.
fn look_around(look: Look) -> &'static str {
    match look {
        Look::StartLF => r"(?<![^\x0a])",
        Look::EndLF => r"(?![^\x0a])",
        Look::WordAscii => r"\b",
        Look::WordAsciiNegate => r"\B",
        Look::WordStartAscii => r"\b(?=\w)",
        Look::WordEndAscii => r"\b(?<=\w)",
        Look::WordStartHalfAscii => r"(?<!\w)",
        Look::WordEndHalfAscii => r"(?!\w)",
        _ => "(?!)",
    }
}
