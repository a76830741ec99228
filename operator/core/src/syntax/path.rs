use std::fmt;

use serde::Serialize;

use super::percent::percent_decoded;

/// A path as NGINX matches it: absolute, percent-decoded, without dot segments.
///
/// It may hold any text that percent-encodings can stand for, except NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Path(Vec<u8>);

impl Path {
    /// The decoded path; `None` if it does not start with `/`, holds `//`, `.` or `..` segments, encoded slashes, a
    /// broken percent-encoding, anything that cannot be part of a path, or is no UTF-8, which a file of ours is.
    ///
    /// See <https://gateway-api.sigs.k8s.io/reference/spec/#httppathmatch>.
    #[must_use]
    pub fn new(path: &str) -> Option<Self> {
        let encoded = path.to_ascii_lowercase();
        if !path.starts_with('/') || encoded.contains("%2f") || path.len() > 1024 {
            return None;
        }
        let decoded = percent_decoded(path).filter(|_| path.bytes().all(is_path_byte))?;
        if decoded.contains(&0) || std::str::from_utf8(&decoded).is_err() {
            return None;
        }
        let mut segments = decoded[1..].split(|byte| *byte == b'/').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            if segment == b"." || segment == b".." || (segment.is_empty() && !last) {
                return None;
            }
        }
        Some(Self(decoded))
    }

    /// The path without its last slash, empty for `/`: what a prefix match compares segment by segment.
    #[must_use]
    pub fn without_trailing_slash(&self) -> &[u8] {
        self.0.strip_suffix(b"/").unwrap_or(&self.0)
    }

    /// The path without its last slash; `None` for the root.
    #[must_use]
    pub fn trimmed(&self) -> Option<Self> {
        let trimmed = self.without_trailing_slash();
        (!trimmed.is_empty()).then(|| Self(trimmed.to_vec()))
    }

    /// The decoded bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Whether the byte can stand in the path of a request line.
fn is_path_byte(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && !b"?#".contains(&byte)
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Path({self:?})", self = self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoded_bytes_are_decoded() {
        assert_eq!(
            Path::new("/a%20b%c3%bc").map(|path| path.0),
            Some("/a bü".as_bytes().to_vec())
        );
    }

    #[test]
    fn paths_that_no_request_can_have_are_refused() {
        for path in [
            "", "a", "/a//b", "/a/../b", "/.", "/a%2Fb", "/%", "/%0", "/%00", "/a b", "/a?b", "/a#b", "/\n",
            "/%+1", "/%ff",
        ] {
            assert_eq!(Path::new(path), None, "{path:?}");
        }
    }
}
