use std::fmt;

use serde::Serialize;

/// An HTTP method that a route may ask for.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httpmethod>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Method(&'static str);

impl Method {
    const ALL: [&'static str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];

    /// The method of that name, in upper case as the specification has it; `None` for any other.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| *method == name).map(Self)
    }

    /// The method's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}
