use std::{cmp::Ordering, fmt};

use serde::Serialize;

/// A host name that a listener or a route serves: exact, or a wildcard whose first label is `*`.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#hostname>. Hostnames are ordered by precedence: exact before
/// wildcard, then the longer one first, then by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Hostname(String);

impl Hostname {
    /// The name in lower case; `None` if it is not a DNS name of at most 253 characters.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let labels = name.strip_prefix("*.").unwrap_or(name);
        let valid = !name.is_empty() && name.len() <= 253 && labels.split('.').all(is_label);
        valid.then(|| Self(name.to_ascii_lowercase()))
    }

    /// Whether the first label is `*`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// Whether every host that `other` stands for is one of this hostname's.
    ///
    /// A wildcard covers names with one label or more in place of its `*`, but not the bare domain.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match self.0.strip_prefix('*') {
            Some(suffix) => {
                let name = other.0.strip_prefix('*').unwrap_or(&other.0);
                name.ends_with(suffix) && (other.is_wildcard() || name.len() > suffix.len())
            }
            None => self == other,
        }
    }

    /// The suffixes of the wildcards that cover this hostname, the longest first: what stands after their `*`.
    ///
    /// A wildcard is the first of its own.
    pub fn covering_suffixes(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('.').map(|(dot, _)| &self.0[dot..])
    }

    /// The hosts that both stand for, which are always those of one of the two; `None` if they have none in common.
    #[must_use]
    pub fn intersection<'a>(&'a self, other: &'a Self) -> Option<&'a Self> {
        if self.covers(other) {
            Some(other)
        } else if other.covers(self) {
            Some(self)
        } else {
            None
        }
    }

    /// The name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl Ord for Hostname {
    fn cmp(&self, other: &Self) -> Ordering {
        self.is_wildcard()
            .cmp(&other.is_wildcard())
            .then_with(|| other.0.len().cmp(&self.0.len()))
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Hostname {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hostname(name: &str) -> Hostname {
        Hostname::new(name).expect("a valid hostname")
    }

    #[test]
    fn control_characters_and_stray_wildcards_are_refused() {
        for name in [
            "", ".", "a..b", "-a", "a-", "a b", "a\n.com", "*", "*.*.com", "a.*.com", "*a.com", "a;b", "ü.de",
        ] {
            assert_eq!(Hostname::new(name), None, "{name:?}");
        }
    }

    #[test]
    fn wildcard_covers_several_labels_but_not_the_bare_domain() {
        let wildcard = hostname("*.example.com");
        assert!(wildcard.covers(&hostname("a.b.example.com")));
        assert!(wildcard.covers(&hostname("*.b.example.com")));
        assert!(!wildcard.covers(&hostname("example.com")));
        assert!(!wildcard.covers(&hostname("*.com")));
        assert!(!hostname("*.ample.com").covers(&hostname("a.example.com")));
    }

    #[test]
    fn covering_suffixes_are_those_of_covering_wildcards() {
        let suffixes = |name: &str| {
            hostname(name)
                .covering_suffixes()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(suffixes("a.b.com"), [".b.com", ".com"]);
        assert_eq!(suffixes("*.b.com"), [".b.com", ".com"]);
    }

    #[test]
    fn exact_names_come_before_wildcards_and_longer_ones_before_shorter() {
        let mut names = ["*.com", "a.com", "*.b.com", "long.a.com"].map(hostname);
        names.sort();
        assert_eq!(
            names.map(|name| name.0),
            ["long.a.com", "a.com", "*.b.com", "*.com"]
        );
    }

    proptest! {
        #[test]
        fn intersection_is_symmetric_and_covered_by_both(
            left in r"(\*\.)?([ab]\.){0,3}[ab]", right in r"(\*\.)?([ab]\.){0,3}[ab]",
        ) {
            let (left, right) = (hostname(&left), hostname(&right));
            let common = left.intersection(&right);
            prop_assert_eq!(common, right.intersection(&left));
            if let Some(common) = common {
                prop_assert!(left.covers(common) && right.covers(common));
            }
        }
    }
}
