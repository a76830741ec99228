use serde::Serialize;

use super::server::Internal;
use crate::syntax::{HeaderName, Id, Method, Pattern};

/// A yes-or-no question about a request, which becomes a variable of `0` or `1`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Condition {
    /// What is looked at.
    pub subject: Subject,
    /// What it must match from its first to its last byte; literals are patterns too.
    pub pattern: Pattern,
}

/// A part of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Subject {
    /// The method.
    Method(Method),
    /// The method that a browser asks permission for before a page may use it, in a preflight request
    /// (<https://fetch.spec.whatwg.org/#cors-preflight-request>). Any other request matches nothing.
    Preflight(Method),
    /// The decoded path.
    Path,
    /// The value of a header; several lines of it are joined by `, `. An absent header matches nothing.
    Header(HeaderName),
    /// The decoded value of the first query parameter of this name, compared with case. An absent one matches
    /// nothing.
    Query(String),
}

/// A choice between rules: the first whose conditions all hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Dispatch {
    /// In order of precedence: conditions that must all hold, and where to go then. An entry without conditions is
    /// the last; without such an entry a request that fits none is answered with 404.
    pub choices: Vec<(Vec<Id>, Internal)>,
}
