use std::fmt::{self, Write as _};

use serde::Serialize;
use sha2::{Digest, Sha256};

/// A short name made from what it names: equal things have equal names, so that they share one definition, and a
/// name stays the same when other things come and go.
///
/// Twenty hexadecimal digits: too many for anyone to find something of their own that has the name of another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct Id([u8; 10]);

impl Id {
    /// The name of `content`.
    ///
    /// # Panics
    /// Never: what core names are plain structures, which always serialize.
    #[must_use]
    pub fn of<T: Serialize + ?Sized>(content: &T) -> Self {
        let content = serde_json::to_vec(content).expect("a structure without maps of odd keys serializes");
        let digest = Sha256::digest(content);
        Self(std::array::from_fn(|position| digest[position]))
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.to_string()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The digest of `parts` in 16 hexadecimal digits, for versions that are compared across processes.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    let mut text = String::with_capacity(16);
    for byte in &sha.finalize()[..8] {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
    }
    text
}
