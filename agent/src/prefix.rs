//! The folder that everything of one gateway lives in.
//!
//! ```text
//! generations/<version>/   files of the operator, agent.conf and proxy.conf of ours, certificates -> ../../certificates
//! current                  -> generations/<version>, what NGINX reads when it starts or is reloaded
//! good                     -> generations/<version>, the last that it was seen to serve
//! certificates/            what NGINX reads at handshakes
//! data.binpb               the data in effect, for starts of supervisor and proxy without the operator
//! dns.ports                where NGINX asks for endpoints
//! agent.lock, init.pid     held and written by init
//! nginx.pid, nginx.sock    of the running NGINX
//! nginx.errors             what made NGINX refuse the last start or reload
//! proxy-<n>.sock           where thread n of the proxy takes requests from NGINX
//! proxy.sock               where the proxy takes data and says how it is
//! ```

use std::{
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Longest path of a unix socket in bytes: `sun_path` without its final NUL, see unix(7).
const SOCKET_PATH_LIMIT: usize = 107;

/// Why a folder cannot be a gateway's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot create {path}")]
    Create { path: PathBuf, source: io::Error },
    #[error(
        "{path} is {length} bytes long, but a socket's path may have {SOCKET_PATH_LIMIT}; choose a shorter --prefix"
    )]
    TooLong { path: PathBuf, length: usize },
    #[error("{0:?} has characters that NGINX's configuration cannot hold; choose another --prefix")]
    Unprintable(PathBuf),
}

/// An existing, absolute folder whose paths NGINX can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(PathBuf);

impl Prefix {
    /// The folder with its subfolders, created where missing.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let create = |path: &Path| {
            fs::create_dir_all(path).map_err(|source| Error::Create {
                path: path.to_owned(),
                source,
            })
        };
        create(path)?;
        let absolute = path.canonicalize().map_err(|source| Error::Create {
            path: path.to_owned(),
            source,
        })?;
        if absolute
            .to_str()
            .is_none_or(|text| text.contains(char::is_control))
        {
            return Err(Error::Unprintable(absolute));
        }
        let prefix = Self(absolute);
        // The longest of them.
        let socket = prefix.proxy_socket(0);
        let length = socket.as_os_str().as_bytes().len();
        if length > SOCKET_PATH_LIMIT {
            return Err(Error::TooLong { path: socket, length });
        }
        create(&prefix.generations())?;
        create(&prefix.certificates())?;
        Ok(prefix)
    }

    /// The folder itself, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder with one folder for each version.
    #[must_use]
    pub fn generations(&self) -> PathBuf {
        self.0.join("generations")
    }

    /// The link to the version that NGINX reads.
    #[must_use]
    pub fn current(&self) -> PathBuf {
        self.0.join("current")
    }

    /// The link to the last good version.
    #[must_use]
    pub fn good(&self) -> PathBuf {
        self.0.join("good")
    }

    /// The folder of what NGINX reads at handshakes.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.0.join("certificates")
    }

    /// The data in effect, as a message of the protocol.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.0.join("data.binpb")
    }

    /// The ports of DNS, one in each line.
    #[must_use]
    pub fn dns_ports(&self) -> PathBuf {
        self.0.join("dns.ports")
    }

    /// The file that init holds a lock on.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.0.join("agent.lock")
    }

    /// Init's process number.
    #[must_use]
    pub fn init_pid(&self) -> PathBuf {
        self.0.join("init.pid")
    }

    /// The NGINX master's process number.
    #[must_use]
    pub fn nginx_pid(&self) -> PathBuf {
        self.0.join("nginx.pid")
    }

    /// Where NGINX says what it serves.
    #[must_use]
    pub fn nginx_socket(&self) -> PathBuf {
        self.0.join("nginx.sock")
    }

    /// What made NGINX refuse the last start or reload.
    #[must_use]
    pub fn nginx_errors(&self) -> PathBuf {
        self.0.join("nginx.errors")
    }

    /// Where one thread of the proxy takes requests, from 0 to 7.
    #[must_use]
    pub fn proxy_socket(&self, thread: usize) -> PathBuf {
        self.0.join(format!("proxy-{thread}.sock"))
    }

    /// Where the proxy takes data and says how it is.
    #[must_use]
    pub fn proxy_control(&self) -> PathBuf {
        self.0.join("proxy.sock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_too_long_for_sockets_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = Prefix::create(&folder.path().join("x".repeat(100))).unwrap_err();
        assert!(matches!(error, Error::TooLong { length: 108.., .. }), "{error}");
    }

    #[test]
    fn a_prefix_with_a_line_break_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = Prefix::create(&folder.path().join("a\nb")).unwrap_err();
        assert!(matches!(error, Error::Unprintable(_)), "{error}");
    }
}
