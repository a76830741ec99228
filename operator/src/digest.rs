//! Names for contents.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// The first 16 hexadecimal digits of the content's SHA-256.
pub(crate) fn digest(content: impl AsRef<[u8]>) -> String {
    hexadecimal(&Sha256::digest(content)[..8])
}

/// Two digits for each byte.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let text = String::with_capacity(2 * bytes.len());
    bytes.iter().fold(text, |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_contents_have_equal_names() {
        assert_eq!(digest("a"), "ca978112ca1bbdca");
        assert_ne!(digest("a"), digest("b"));
    }
}
