//! The part of an API server that a folder needs: it numbers versions and generations, and takes statuses.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::Value;

use super::{
    folder::{Folder, Objects},
    kinds::{Object, ObjectId},
    ledger::Ledger,
    manifest::Manifest,
    problem::Problem,
};
use crate::stores::{Stores, Writers};

/// Holds objects as an API server would, and is the one writer of their stores.
#[derive(Default)]
pub struct ApiServer {
    writers: Writers,
    ledger: Ledger,
    objects: BTreeMap<ObjectId, Registered>,
    /// The newest `resourceVersion`.
    revision: u64,
}

/// An object that is stored.
struct Registered {
    object: Arc<dyn Object>,
    /// Digest of the object as its file has it.
    content: String,
    /// As stored.
    metadata: ObjectMeta,
}

/// Why a status was not written.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The object is gone, or is newer than the one that the status is for. The loop comes round again.
    #[error("{0} has changed meanwhile")]
    Conflict(ObjectId),
    /// The kind has no such status.
    #[error("{object} cannot have this status")]
    Shape {
        /// Whose status.
        object: ObjectId,
        /// What does not fit.
        source: serde_json::Error,
    },
}

impl ApiServer {
    /// An empty one that takes generations and times of creation from a ledger.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            ..Self::default()
        }
    }

    /// What it holds.
    #[must_use]
    pub fn stores(&self) -> Stores {
        self.writers.stores()
    }

    /// Takes in all that a folder holds; returns the folder's problems.
    pub fn read(&mut self, folder: &Folder) -> Vec<Problem> {
        let Objects { manifests, problems } = folder.objects();
        self.replace(&manifests);
        problems
    }

    /// Makes these the objects that it holds, and all that it holds; whether that changed anything.
    pub(crate) fn replace(&mut self, manifests: &[Manifest]) -> bool {
        let Self {
            writers,
            ledger,
            objects,
            revision,
        } = self;
        let before = *revision;
        let wanted = manifests
            .iter()
            .map(|manifest| &manifest.id)
            .collect::<BTreeSet<_>>();
        writers.together(|writers| {
            objects.retain(|id, registered| {
                let keep = wanted.contains(id);
                if !keep {
                    *revision += 1;
                    registered.object.remove(writers);
                }
                keep
            });
            for manifest in manifests {
                if objects
                    .get(&manifest.id)
                    .is_some_and(|registered| registered.content == manifest.content)
                {
                    continue;
                }
                *revision += 1;
                let entry = ledger.enter(&manifest.id, &manifest.spec);
                let mut metadata = manifest.metadata();
                metadata.resource_version = Some(revision.to_string());
                metadata.generation = Some(entry.generation);
                metadata.creation_timestamp.get_or_insert(Time(entry.created));
                manifest.object.put(metadata.clone(), writers);
                let registered = Registered {
                    object: manifest.object.clone(),
                    content: manifest.content.clone(),
                    metadata,
                };
                objects.insert(manifest.id.clone(), registered);
            }
        });
        if *revision == before {
            return false;
        }
        let names = wanted
            .into_iter()
            .map(ToString::to_string)
            .collect::<BTreeSet<_>>();
        ledger.retain(|id| names.contains(id));
        if let Err(error) = ledger.save() {
            tracing::warn!(%error, "cannot keep generations and creation times; is the state folder writable?");
        }
        true
    }

    /// Writes an object's status, if it is still at that version; returns the status before.
    pub fn write_status(
        &mut self,
        id: &ObjectId,
        resource_version: Option<&str>,
        status: Value,
    ) -> Result<Value, StatusError> {
        let registered = self.objects.get_mut(id).filter(|registered| {
            resource_version.is_none() || registered.metadata.resource_version.as_deref() == resource_version
        });
        let Some(Registered { object, metadata, .. }) = registered else {
            return Err(StatusError::Conflict(id.clone()));
        };
        let before = object.stored_status(&mut self.writers);
        let mut new = metadata.clone();
        new.resource_version = Some((self.revision + 1).to_string());
        object
            .put_with_status(new.clone(), status, &mut self.writers)
            .map_err(|source| StatusError::Shape {
                object: id.clone(),
                source,
            })?;
        self.revision += 1;
        *metadata = new;
        Ok(before)
    }
}
