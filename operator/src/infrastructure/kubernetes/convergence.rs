//! Brings the objects of a family to what is wanted, whatever they run.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use kube::{Client, ResourceExt as _};
use operator_core::{
    infra::{Object, ObjectKind, covers, is_ready},
    object::ObjectKey,
};
use serde_json::Value;
use tokio::{sync::watch, time::sleep};

use super::{
    Site,
    apply::{Error, apply, delete},
    family::Family,
    owned::Owned,
};
use crate::{parts::Parts, source::ObjectId, stores::Stores};

/// How many owners are worked on at once.
const AT_ONCE: usize = 8;

/// How long to wait before what failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// What is there of a family, and what was made of it.
pub(super) struct Convergence {
    client: Client,
    family: Family,
    leads: watch::Receiver<bool>,
    stores: Stores,
    owned: Owned,
    /// What went wrong with an owner's objects when they were worked on last.
    failures: BTreeMap<ObjectKey, String>,
    settled: Settled,
    /// By owner, what its namespace does not take any more: it never will.
    futile: BTreeMap<ObjectKey, Object>,
    /// Whether something is to be tried again.
    failed: bool,
}

/// Objects that were applied, with what was wanted and the version that came of it: to apply the same again would
/// change nothing, even if the API server has understood something in another way.
type Settled = BTreeMap<ObjectId, (Value, Option<String>)>;

/// What is wanted for each owner.
pub(super) type Objects = BTreeMap<ObjectKey, Vec<Object>>;

impl Convergence {
    /// Has parts follow what is there of a family; nothing is changed before [`Self::approach`].
    pub(super) fn new(parts: &mut Parts, site: Site, family: Family) -> Self {
        let Site {
            client,
            gaps,
            namespaces,
            leads,
            stores,
        } = site;
        let owned = Owned::follow(parts, &client, &gaps, &family, &namespaces);
        Self {
            client,
            family,
            leads,
            stores,
            owned,
            failures: BTreeMap::new(),
            settled: Settled::new(),
            futile: BTreeMap::new(),
            failed: false,
        }
    }

    /// Ends when it is time to look at everything anew.
    pub(super) async fn due(&mut self) {
        tokio::select! {
            () = self.owned.changed.notified() => {}
            Ok(()) = self.leads.changed() => {}
            () = sleep(AGAIN), if self.failed => {}
        }
    }

    /// Whether [`Self::approach`] would change anything: the leader does, once it knows all that is there. Before that,
    /// what is there would look as if it were not.
    pub(super) fn acts(&self) -> bool {
        *self.leads.borrow() && self.owned.all().is_some()
    }

    /// An object of an owner, as it is now.
    pub(super) fn get(&self, owner: &ObjectKey, kind: ObjectKind) -> Option<Value> {
        self.owned.get(&self.family.id(owner, kind))
    }

    /// Why what an owner has is not as wanted.
    pub(super) fn failure(&self, owner: &ObjectKey) -> Option<String> {
        self.owned.trouble().or_else(|| self.failures.get(owner).cloned())
    }

    /// Applies what is not as wanted, and deletes what is ours and not wanted, if it is on us to act and as long as it is.
    pub(super) async fn approach(&mut self, mut wanted: Objects) {
        // The objects of an owner who has just gone vanish one by one: that is no drift to heal.
        wanted.retain(|owner, _| self.family.exists(&self.stores, owner));
        self.failed = false;
        let mut leads = self.leads.clone();
        tokio::select! {
            biased;
            // It is not on us, or no longer: another leader acts by now.
            Ok(_) = leads.wait_for(|leads| !leads) => {}
            () = self.act(wanted) => {}
        }
    }

    async fn act(&mut self, wanted: Objects) {
        let Some(owned) = self.owned.all() else { return };
        let keep = self.keep(&wanted);
        self.failures.retain(|owner, _| wanted.contains_key(owner));
        self.settled.retain(|id, _| keep.contains(id));
        self.futile
            .retain(|owner, object| wanted.get(owner).is_some_and(|objects| objects.contains(object)));
        self.apply_differing(wanted).await;
        for (id, uid) in owned.into_iter().filter(|(id, _)| !keep.contains(id)) {
            self.delete(&id, uid).await;
        }
    }

    /// All objects that may be there: those that are wanted, and those whose successors are not ready yet.
    fn keep(&self, wanted: &Objects) -> BTreeSet<ObjectId> {
        let mut keep = BTreeSet::new();
        for (owner, objects) in wanted {
            let id = |kind| self.family.id(owner, kind);
            keep.extend(objects.iter().map(|object| id(object.kind)));
            let is_ready = |kind| self.get(owner, kind).is_some_and(|workload| is_ready(&workload));
            let unready = objects.iter().filter(|object| !is_ready(object.kind));
            keep.extend(unready.filter_map(|object| object.kind.predecessor()).map(id));
        }
        keep
    }

    async fn apply_differing(&mut self, wanted: Objects) {
        let mut attempts = Vec::new();
        let promising = wanted
            .into_iter()
            .filter(|(owner, _)| !self.futile.contains_key(owner));
        for (owner, objects) in promising {
            let differing: Vec<_> = objects
                .into_iter()
                .filter_map(|Object { kind, manifest }| Some((kind, manifest?)))
                .filter(|(kind, manifest)| self.differs(&self.family.id(&owner, *kind), manifest))
                .collect();
            if differing.is_empty() {
                self.failures.remove(&owner);
            } else {
                let (client, family) = (self.client.clone(), self.family.clone());
                attempts.push(apply_all(client, family, owner, differing, self.owned.clone()));
            }
        }
        let attempts: Vec<_> = stream::iter(attempts).buffer_unordered(AT_ONCE).collect().await;
        for (owner, applied, failure) in attempts {
            self.settled.extend(applied);
            match failure {
                Some((object, error)) => self.note_failure(owner, object, &error),
                None => drop(self.failures.remove(&owner)),
            }
        }
    }

    /// Notes what could not be applied, and says so once.
    fn note_failure(&mut self, owner: ObjectKey, object: Object, error: &Error) {
        if matches!(error, Error::NamespaceTerminating { .. }) {
            tracing::debug!(runs = self.family.runs, %owner, %error, "left alone");
            self.futile.insert(owner, object);
            return;
        }
        self.failed = true;
        let message = error.to_string();
        if self.failures.get(&owner) != Some(&message) {
            tracing::warn!(runs = self.family.runs, %owner, error = message, "cannot have it run as wanted");
        }
        self.failures.insert(owner, message);
    }

    async fn delete(&mut self, id: &ObjectId, uid: String) {
        let mut kinds = self.family.kinds.iter();
        let Some(kind) = kinds.find(|kind| kind.kind == id.kind) else {
            return;
        };
        match delete(&self.client, *kind, &id.key, uid).await {
            Ok(()) => tracing::info!(object = %id, "deleted"),
            Err(error) => {
                self.failed = true;
                tracing::warn!(object = %id, %error, "cannot delete");
            }
        }
    }

    /// Whether an object has to be applied.
    fn differs(&self, id: &ObjectId, manifest: &Value) -> bool {
        let Some(existing) = self.owned.get(id) else {
            return true;
        };
        let version = existing["metadata"]["resourceVersion"].as_str();
        let is_settled = self
            .settled
            .get(id)
            .is_some_and(|(settled, at)| settled == manifest && at.as_deref() == version);
        !is_settled && !covers(&existing, manifest)
    }
}

/// Applies objects of one owner, up to the first that cannot be; what was applied, and what went wrong with which.
async fn apply_all(
    client: Client,
    family: Family,
    owner: ObjectKey,
    objects: Vec<(ObjectKind, Value)>,
    existing: Owned,
) -> (ObjectKey, Settled, Option<(Object, Error)>) {
    let mut settled = Settled::new();
    for (kind, manifest) in objects {
        let id = family.id(&owner, kind);
        let new_to = existing.get(&id).is_none().then_some(&family);
        match apply(&client, kind, &id.key, &manifest, new_to).await {
            Ok(result) => {
                tracing::info!(runs = family.runs, %owner, object = %id, "applied");
                settled.insert(id, (manifest, result.resource_version()));
            }
            Err(error) => {
                let manifest = Some(manifest);
                return (owner, settled, Some((Object { kind, manifest }, error)));
            }
        }
    }
    (owner, settled, None)
}

#[cfg(test)]
mod tests;
