//! What no picker may do.

/// Bytes that the picker's changes to one message's headers may have.
pub const MOST_HEADERS: usize = 128 * 1024;

/// What a picker did that the protocol does not have, or more of it than we take.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Violation {
    #[error("the picker changes more than {MOST_HEADERS} bytes of headers")]
    Headers,
    #[error("the picker returns a longer body than it may look at")]
    Body,
    #[error("the picker answers with status {0}")]
    Status(i32),
    #[error("the picker has not named an endpoint")]
    NoChoice,
}
