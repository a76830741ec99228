//! Errors for people: what was attempted, and all that made it fail.

use std::error::Error;

/// An error with all its causes, in one line.
#[must_use]
pub fn sentence(error: &dyn Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence = format!("{sentence}: {error}");
        cause = error.source();
    }
    sentence
}

#[cfg(test)]
mod tests {
    use std::{io, path::PathBuf};

    use crate::files;

    #[test]
    fn causes_follow_what_was_attempted() {
        let error = files::Error::Write {
            path: PathBuf::from("/a"),
            source: io::Error::other("disk full"),
        };
        assert_eq!(super::sentence(&error), "cannot write /a: disk full");
    }
}
