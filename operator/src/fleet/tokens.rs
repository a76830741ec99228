//! Which gateway an agent may see.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
};

use operator_core::object::ObjectKey;
use parking_lot::Mutex;

use crate::digest::hexadecimal;

/// What an agent proves itself with; never shown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token")
    }
}

impl Token {
    /// The token in a file, which is made, with a random one that only its owner can read, if it is missing.
    pub fn keep(file: &Path) -> io::Result<Self> {
        match fs::read_to_string(file) {
            Ok(text) if !text.trim().is_empty() => return Ok(Self(text.trim().to_owned())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut random = [0; 32];
        fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let text = hexadecimal(&random);
        // Renamed into place, so that a crash leaves no half of one.
        let new = file.with_extension("new");
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?
            .write_all(text.as_bytes())?;
        fs::rename(&new, file)?;
        Ok(Self(text))
    }
}

/// The tokens that are good, with the gateways they are good for.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Arc<Mutex<BTreeMap<Token, ObjectKey>>>);

impl Tokens {
    /// Makes a token the one of a gateway.
    pub fn admit(&self, token: Token, gateway: &ObjectKey) {
        let mut tokens = self.0.lock();
        tokens.retain(|_, admitted| admitted != gateway);
        tokens.insert(token, gateway.clone());
    }

    /// Makes a gateway's token worthless.
    pub fn revoke(&self, gateway: &ObjectKey) {
        self.0.lock().retain(|_, admitted| admitted != gateway);
    }

    /// The gateway that an `authorization` header is good for.
    pub(crate) fn gateway(&self, authorization: &str) -> Option<ObjectKey> {
        let token = authorization.strip_prefix("Bearer ")?;
        self.0.lock().get(&Token(token.to_owned())).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_random_kept_and_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let token = Token::keep(&file).unwrap();
        assert_eq!(Token::keep(&file).unwrap(), token);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(Token::keep(&folder.path().join("other")).unwrap(), token);
        assert_eq!(format!("{token:?}"), "Token");
    }

    #[test]
    fn a_token_is_good_for_its_gateway_alone() {
        let tokens = Tokens::default();
        let edge = ObjectKey::new("default", "edge");
        tokens.admit(Token("old".to_owned()), &edge);
        tokens.admit(Token("new".to_owned()), &edge);
        assert_eq!(tokens.gateway("Bearer new"), Some(edge.clone()));
        assert_eq!(tokens.gateway("Bearer old"), None);
        assert_eq!(tokens.gateway("new"), None);
        tokens.revoke(&edge);
        assert_eq!(tokens.gateway("Bearer new"), None);
    }
}
