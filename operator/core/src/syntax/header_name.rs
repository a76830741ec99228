use std::fmt;

use serde::Serialize;

/// Name of an HTTP header field, in lower case.
///
/// NGINX passes on and can match only names of letters, digits and hyphens: it drops a client's header that has an
/// underscore or any other character
/// (<https://nginx.org/en/docs/http/ngx_http_core_module.html#ignore_invalid_headers>), so a match on such a name
/// could never be right and is refused here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct HeaderName(String);

impl HeaderName {
    /// The name in lower case; `None` where NGINX could not see a header of that name.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let valid = !name.is_empty()
            && name.len() <= 256
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        valid.then(|| Self(name.to_ascii_lowercase()))
    }

    /// The name as it stands in NGINX's `$http_…` variables.
    #[must_use]
    pub fn variable_suffix(&self) -> String {
        self.0.replace('-', "_")
    }

    /// The name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nginx_drops_are_refused() {
        for name in ["", "a_b", "a b", "a:", "a\n", "ü", "a.b"] {
            assert_eq!(HeaderName::new(name), None, "{name:?}");
        }
    }

    #[test]
    fn names_are_compared_without_case() {
        assert_eq!(HeaderName::new("X-Tenant"), HeaderName::new("x-tenant"));
    }
}
