//! Names of hosts and headers in filters and matches.

use super::mistake::{Mistake, quoted};
use crate::syntax::{HeaderName, Hostname};

/// A hostname that requests can be sent to: not a wildcard.
pub(super) fn hostname(hostname: &str) -> Result<Hostname, Mistake> {
    Hostname::new(hostname)
        .filter(|hostname| !hostname.is_wildcard())
        .ok_or_else(|| {
            Mistake::unsupported(
                "hostname",
                format!("{} is not a DNS name without wildcard", quoted(hostname)),
            )
        })
}

/// A header's name, or why NGINX could not see such a header.
pub(super) fn header_name(name: &str) -> Result<HeaderName, Mistake> {
    HeaderName::new(name).ok_or_else(|| {
        let problem = format!(
            "{} must be 1 to 256 letters, digits and hyphens, as NGINX drops headers with any other name",
            quoted(name)
        );
        Mistake::unsupported("name", problem)
    })
}
