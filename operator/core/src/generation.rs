//! What an agent is given: files that NGINX must be reloaded for, and data that it takes up as it runs.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{
    config::{Leg, Origin, ProxySettings},
    syntax::Id,
};

/// All that one gateway's NGINX serves from.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// What needs a reload.
    pub config: Files,
    /// What does not.
    pub data: Data,
}

/// The files of a configuration, relative to its folder; `nginx.conf` is the one to start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Digest of names and contents, 16 hexadecimal digits.
    pub version: String,
    /// Content by path.
    pub files: BTreeMap<String, String>,
}

/// What changes without a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// Digest of the rest, 16 hexadecimal digits.
    pub version: String,
    /// One per upstream, in order of name.
    pub endpoints: Vec<Endpoints>,
    /// PEM of chain and key, by path below `certificates/`.
    pub certificates: BTreeMap<String, Pem>,
    /// What the agent's proxy does with the requests that NGINX hands to it, by name.
    pub legs: BTreeMap<Id, Leg>,
    /// What holds for all legs.
    pub proxy: ProxySettings,
}

/// The ready endpoints of one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// Domain name that NGINX asks the agent for.
    pub name: String,
    /// Addresses by port, both in order.
    pub ports: BTreeMap<u16, Vec<String>>,
}

/// A certificate chain with its private key; never shown.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Pem(pub String);

impl fmt::Debug for Pem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pem({} bytes)", self.0.len())
    }
}

impl Files {
    /// The object that the given line of a file comes from, as far as the file says so.
    ///
    /// Lines are counted from 1, as NGINX does.
    #[must_use]
    pub fn origin_of_line(&self, file: &str, line: usize) -> Option<&str> {
        let lines = self.files.get(file)?.lines().take(line).collect::<Vec<_>>();
        lines
            .into_iter()
            .rev()
            .find_map(|line| line.trim_start().strip_prefix(Origin::MARK))
    }

    /// The only object whose lines hold what a message quotes first; `None` if there are several.
    ///
    /// NGINX names no line for what it learns after it has read them all, such as `unknown "x" variable`.
    #[must_use]
    pub fn origin_of_quoted(&self, message: &str) -> Option<&str> {
        let quoted = message.split('"').nth(1).filter(|quoted| !quoted.is_empty())?;
        let mut origins = self.files.values().flat_map(|content| {
            let mut origin = None;
            content.lines().filter_map(move |line| {
                origin = line.trim_start().strip_prefix(Origin::MARK).or(origin);
                origin.filter(|_| line.contains(quoted))
            })
        });
        let first = origins.next()?;
        origins.all(|origin| origin == first).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_without_a_place_is_of_the_object_whose_lines_hold_what_it_quotes() {
        let text = format!(
            "pid odd;\n{mark}A a/a\nlog_format \"$odd $both\";\n{mark}B b/b\nset $x \"$both\";\n",
            mark = Origin::MARK
        );
        let files = Files {
            version: String::new(),
            files: BTreeMap::from([("nginx.conf".to_owned(), text)]),
        };
        for (message, origin) in [
            (r#"unknown "odd" variable"#, Some("A a/a")),
            (r#"unknown "both" variable"#, None),
            (r#"unknown "other" variable"#, None),
            (r#"unknown "" variable"#, None),
            ("bind() failed", None),
        ] {
            assert_eq!(files.origin_of_quoted(message), origin, "{message}");
        }
    }
}
