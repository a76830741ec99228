//! The folder of a gateway: the prefix of its agent, and what is known of the gateway across restarts.
//!
//! ```text
//! gateway.json    which gateway, its address
//! token           what its agent proves itself with
//! agent.log       what its agent and its NGINX say
//! agent.lock      held by the agent's init as long as it lives
//! init.pid        its process id; everything else is the agent's
//! ```

use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use operator_core::object::ObjectKey;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::{digest::digest, fleet::Token};

/// Why a gateway's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be made.
    #[error("cannot create {}", path.display())]
    Create {
        /// Of the folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Of the file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of it cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Of the file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What is known of a gateway across restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Of the gateway.
    pub namespace: String,
    /// Of the gateway.
    pub name: String,
    /// The address that it was given, if it did not ask for one.
    pub address: Option<IpAddr>,
    /// Where its agent answers DNS queries.
    pub dns: IpAddr,
}

/// A gateway's folder.
#[derive(Clone, Debug)]
pub(super) struct GatewayFolder(PathBuf);

impl Record {
    /// Of a gateway that has no address yet.
    pub(super) fn new(gateway: &ObjectKey) -> Self {
        let ObjectKey { namespace, name } = gateway.clone();
        Self {
            namespace,
            name,
            address: None,
            dns: Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Which gateway it is of.
    pub(super) fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.namespace, &self.name)
    }
}

/// All folders below `gateways` that have a record.
pub(super) fn existing(gateways: &Path) -> Result<Vec<(GatewayFolder, Record)>, Error> {
    let read = |source| Error::Read {
        path: gateways.to_owned(),
        source,
    };
    let entries = match fs::read_dir(gateways) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(read)?,
    };
    let mut existing = Vec::new();
    for entry in entries {
        let folder = GatewayFolder(entry.map_err(read)?.path());
        if let Some(record) = folder.record() {
            existing.push((folder, record));
        }
    }
    Ok(existing)
}

impl GatewayFolder {
    /// The folder of a gateway, made if it is missing. Its name is short, for sockets below it have short paths.
    pub(super) fn create(gateways: &Path, gateway: &ObjectKey) -> Result<Self, Error> {
        let path = gateways.join(&digest(gateway.to_string())[..8]);
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        created.map_err(|source| Error::Create {
            path: path.clone(),
            source,
        })?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn token_file(&self) -> PathBuf {
        self.0.join("token")
    }

    pub(super) fn token(&self) -> Result<Token, Error> {
        let path = self.token_file();
        Token::keep(&path).map_err(|source| Error::Write { path, source })
    }

    /// Where the agent and its NGINX write what they have to say.
    pub(super) fn log_file(&self) -> PathBuf {
        self.0.join("agent.log")
    }

    pub(super) fn record(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.0.join("gateway.json")).ok()?).ok()
    }

    pub(super) fn keep(&self, record: &Record) -> Result<(), Error> {
        let path = self.0.join("gateway.json");
        let new = path.with_extension("new");
        let content = serde_json::to_vec_pretty(record).expect("a record is plain data");
        fs::write(&new, content)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|source| Error::Write { path, source })
    }

    /// The agent that runs from this folder; `None` if none does.
    pub(super) fn agent(&self) -> Option<Pid> {
        let lock = File::open(self.0.join("agent.lock")).ok()?;
        // Whoever holds the lock lives, so the process id cannot be somebody else's by now.
        let held = matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock));
        let pid = fs::read_to_string(self.0.join("init.pid")).ok()?;
        Pid::from_raw(pid.trim().parse().ok()?).filter(|_| held)
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.0)
    }
}
