//! Errors for people: what was attempted, and all that made it fail.

use std::error::Error;

/// An error with all its causes, in one line. What an error has said in its cause's words already is not said again.
#[must_use]
pub fn sentence(error: &dyn Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !sentence.ends_with(&words) {
            sentence = format!("{sentence}: {words}");
        }
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

    #[test]
    fn what_is_said_already_is_not_said_again() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot connect: {source}")]
        struct Loud {
            source: io::Error,
        }
        let error = Loud {
            source: io::Error::other("refused"),
        };
        assert_eq!(super::sentence(&error), "cannot connect: refused");
    }
}
