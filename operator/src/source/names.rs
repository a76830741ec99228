//! Names that the API server takes; see <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>.

/// Where a name has to fit in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// A label of RFC 1123: up to 63 characters, without dots.
    Label,
    /// A subdomain of RFC 1123: labels joined by dots, up to 253 characters.
    Subdomain,
}

impl NameRule {
    /// What is wrong with the name; `None` if nothing is.
    pub(crate) fn objection(self, name: &str) -> Option<String> {
        let limit = match self {
            Self::Label => 63,
            Self::Subdomain => 253,
        };
        if name.len() > limit {
            return Some(format!("has {} characters, but {limit} is the most", name.len()));
        }
        let character = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let label = |label: &str| {
            let bytes = label.as_bytes();
            bytes.first().copied().is_some_and(character)
                && bytes.last().copied().is_some_and(character)
                && bytes.iter().all(|byte| character(*byte) || *byte == b'-')
        };
        let fits = match self {
            Self::Label => label(name),
            Self::Subdomain => name.split('.').all(label),
        };
        let dots = if self == Self::Subdomain { ", '.'" } else { "" };
        (!fits).then(|| {
            format!("may only hold lower-case letters, digits, '-'{dots}, and must begin and end with a letter or digit")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_rfc_1123_has_them() {
        for name in ["a", "0", "a-b.c", "shop.example.com", &"x".repeat(253)] {
            assert_eq!(NameRule::Subdomain.objection(name), None, "{name}");
        }
        for name in [
            "",
            "A",
            "a_b",
            "-a",
            "a-",
            "a..b",
            ".a",
            "a/b",
            "a b",
            "ä",
            "a\n",
            &"x".repeat(254),
        ] {
            assert!(NameRule::Subdomain.objection(name).is_some(), "{name}");
        }
        assert_eq!(NameRule::Label.objection("a-b"), None);
        assert!(NameRule::Label.objection("a.b").is_some());
        assert!(NameRule::Label.objection(&"x".repeat(64)).is_some());
    }
}
