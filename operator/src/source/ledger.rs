//! What an API server remembers of an object beside its content.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::kinds::ObjectId;

/// Generation and time of creation by object.
///
/// Kept in a file, so that a restart makes no object newer than it is: among routes with equal matches the oldest
/// wins.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Where it is kept; without, every object was created at the epoch.
    file: Option<PathBuf>,
    entries: BTreeMap<String, Entry>,
    changed: bool,
}

/// What is remembered of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// `metadata.generation`: 1 at first, one more with each change of the spec.
    pub generation: i64,
    /// `metadata.creationTimestamp`, in whole seconds.
    pub created: Timestamp,
    /// Digest of the spec at that generation.
    pub spec: String,
}

impl Ledger {
    /// The ledger in a file, empty if there is none yet.
    pub fn open(file: &Path) -> io::Result<Self> {
        let entries = match fs::read(file) {
            Ok(content) => serde_json::from_slice(&content).unwrap_or_else(|error| {
                tracing::warn!(file = %file.display(), %error, "ledger of objects is unreadable, starting a new one");
                BTreeMap::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self {
            file: Some(file.to_owned()),
            entries,
            changed: false,
        })
    }

    /// Enters an object whose spec has that digest.
    pub(crate) fn enter(&mut self, id: &ObjectId, spec: &str) -> &Entry {
        let created = if self.file.is_some() {
            Timestamp::now()
        } else {
            Timestamp::UNIX_EPOCH
        };
        let created =
            Timestamp::from_second(created.as_second()).expect("whole seconds of a valid time are valid");
        let entry = self.entries.entry(id.to_string()).or_insert_with(|| {
            self.changed = true;
            Entry {
                generation: 1,
                created,
                spec: spec.to_owned(),
            }
        });
        if entry.spec != spec {
            self.changed = true;
            entry.generation += 1;
            spec.clone_into(&mut entry.spec);
        }
        entry
    }

    /// Forgets every object that is not wanted any more.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        let before = self.entries.len();
        self.entries.retain(|id, _| wanted(id));
        self.changed |= self.entries.len() != before;
    }

    /// Writes the file if there is something new.
    pub(crate) fn save(&mut self) -> io::Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| self.changed) else {
            return Ok(());
        };
        let new = file.with_extension("new");
        fs::write(&new, serde_json::to_vec(&self.entries)?)?;
        fs::rename(&new, file)?;
        self.changed = false;
        Ok(())
    }
}
