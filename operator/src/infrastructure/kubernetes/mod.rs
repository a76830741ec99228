//! Gateways as pods of a cluster.
//!
//! ```text
//! wanted ──core::infra::objects──> what must be there ──what differs──> applied, by the leader
//!                                                     └─ what is ours and not wanted ──> deleted, by the leader
//! Services of ours ──addresses──> observations, by every replica
//! ```
//!
//! Level-triggered: whatever changes, be it by us or by others, all of it is compared anew.

mod apply;
mod owned;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use kube::{Client, ResourceExt as _};
use operator_core::{
    infra::{Cluster, KINDS, Object, ObjectKind, addresses, covers, is_ready, objects, objects_key},
    object::ObjectKey,
    observed::InfrastructureFailure,
};
use serde_json::Value;
use tokio::{sync::watch, time::sleep};

use self::{
    apply::{apply, delete},
    owned::Owned,
};
use crate::{controller::Infrastructure, metrics::Metrics, observations::Observations, source::ObjectId};

/// How many gateways are worked on at once.
const AT_ONCE: usize = 8;

/// How long to wait before what failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Has the cluster run gateways.
pub struct Kubernetes {
    client: Client,
    cluster: Cluster,
    /// What the cluster's authorities are to be.
    authorities: watch::Receiver<String>,
    leads: watch::Receiver<bool>,
    observations: Observations,
    metrics: Arc<Metrics>,
    owned: Owned,
    /// What went wrong with a gateway when it was worked on last.
    failures: BTreeMap<ObjectKey, String>,
    settled: Settled,
}

/// Objects that were applied, with what was wanted and the version that came of it: to apply the same again would
/// change nothing, even if the API server has understood something in another way.
type Settled = BTreeMap<ObjectId, (Value, Option<String>)>;

impl Kubernetes {
    /// Follows what runs; nothing is changed before [`Self::run`], nor before there are authorities to tell agents.
    #[must_use]
    pub fn new(
        client: Client,
        cluster: Cluster,
        authorities: watch::Receiver<String>,
        leads: watch::Receiver<bool>,
        observations: Observations,
        metrics: Arc<Metrics>,
    ) -> Self {
        let owned = Owned::follow(&client, &cluster.label());
        Self {
            client,
            cluster,
            authorities,
            leads,
            observations,
            metrics,
            owned,
            failures: BTreeMap::new(),
            settled: Settled::new(),
        }
    }

    /// Brings what runs to what is wanted, for ever.
    pub async fn run(mut self, mut wanted: watch::Receiver<Option<Infrastructure>>) {
        let mut failed = false;
        loop {
            let again = async {
                if failed {
                    sleep(AGAIN).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = self.owned.changed.notified() => {}
                Ok(()) = self.authorities.changed() => {}
                Ok(()) = self.leads.changed() => {}
                () = again => {}
            }
            let wanted = wanted.borrow_and_update().clone();
            let Some(wanted) = wanted else { continue };
            self.cluster
                .authorities
                .clone_from(&self.authorities.borrow_and_update());
            let leads = *self.leads.borrow_and_update() && !self.cluster.authorities.is_empty();
            // Before that, what is there would look as if it were not.
            let owned = self.owned.all();
            failed = match owned.filter(|_| leads) {
                Some(owned) => self.approach(&wanted, owned).await,
                None => false,
            };
            self.observe(&wanted);
        }
    }

    /// Applies what is not as wanted and deletes what is not wanted; whether something failed.
    async fn approach(&mut self, wanted: &Infrastructure, owned: Vec<(ObjectId, String)>) -> bool {
        let mut keep = BTreeSet::new();
        let mut work = Vec::new();
        for (gateway, infra) in wanted {
            let objects = objects(gateway, infra, &self.cluster);
            keep.extend(objects.iter().map(|object| id(gateway, object.kind)));
            let unready = objects
                .iter()
                .filter(|object| !self.is_ready(gateway, object.kind));
            let predecessors = unready.filter_map(|object| object.kind.predecessor());
            keep.extend(predecessors.map(|kind| id(gateway, kind)));
            let differing = objects.into_iter().filter(|object| self.differs(gateway, object));
            let differing: Vec<Object> = differing.collect();
            if differing.is_empty() {
                self.failures.remove(gateway);
            } else {
                work.push((gateway.clone(), differing));
            }
        }
        self.failures.retain(|gateway, _| wanted.contains_key(gateway));
        self.settled.retain(|id, _| keep.contains(id));

        let mut attempts = Vec::new();
        for (gateway, objects) in work {
            let (client, label) = (self.client.clone(), self.cluster.label());
            attempts.push(apply_all(client, gateway, objects, self.owned.clone(), label));
        }
        let attempts: Vec<_> = stream::iter(attempts).buffer_unordered(AT_ONCE).collect().await;
        let mut failed = false;
        for (gateway, applied, error) in attempts {
            self.settled.extend(applied);
            match error {
                None => drop(self.failures.remove(&gateway)),
                Some(error) => {
                    failed = true;
                    let message = error.to_string();
                    if self.failures.get(&gateway) != Some(&message) {
                        tracing::warn!(%gateway, error = message, "cannot have the gateway run as wanted");
                    }
                    self.failures.insert(gateway, message);
                }
            }
        }

        for (id, uid) in owned.into_iter().filter(|(id, _)| !keep.contains(id)) {
            let Some(kind) = KINDS.into_iter().find(|kind| kind.kind == id.kind) else {
                continue;
            };
            match delete(&self.client, kind, &id.key, uid).await {
                Ok(()) => tracing::info!(object = %id, "deleted"),
                Err(error) => {
                    failed = true;
                    tracing::warn!(object = %id, %error, "cannot delete");
                }
            }
        }
        failed
    }

    /// Whether an object that runs pods does so.
    fn is_ready(&self, gateway: &ObjectKey, kind: ObjectKind) -> bool {
        let workload = self.owned.get(&id(gateway, kind));
        workload.is_some_and(|workload| is_ready(&workload))
    }

    /// Whether an object has to be applied.
    fn differs(&self, gateway: &ObjectKey, object: &Object) -> bool {
        let Some(manifest) = &object.manifest else {
            return false;
        };
        let id = id(gateway, object.kind);
        let Some(existing) = self.owned.get(&id) else {
            return true;
        };
        let version = existing["metadata"]["resourceVersion"].as_str();
        let is_settled = self
            .settled
            .get(&id)
            .is_some_and(|(settled, at)| settled == manifest && at.as_deref() == version);
        !is_settled && !covers(&existing, manifest)
    }

    /// Notes where gateways can be reached, and what keeps them from running.
    fn observe(&self, wanted: &Infrastructure) {
        for (gateway, infra) in wanted {
            let service = self.owned.get(&ObjectId {
                kind: "Service",
                key: objects_key(gateway),
            });
            let (addresses, missing) = match &service {
                Some(service) => addresses(service, &infra.addresses),
                None => Default::default(),
            };
            let failure = self
                .failures
                .get(gateway)
                .cloned()
                .map(InfrastructureFailure::Other);
            let failure = failure.or_else(|| {
                let address = missing.first()?;
                Some(InfrastructureFailure::AddressNotUsable(format!(
                    "The cluster's load balancer has not given the gateway the address {address}"
                )))
            });
            self.observations.note(gateway, |observed| {
                observed.addresses = addresses;
                observed.failure = failure;
            });
        }
        let gone = self.observations.get().gateways.into_keys();
        gone.filter(|gateway| !wanted.contains_key(gateway))
            .for_each(|gateway| self.observations.forget(&gateway));
        self.metrics
            .gateways
            .set(i64::try_from(wanted.len()).unwrap_or(i64::MAX));
    }
}

/// Applies objects of one gateway, up to the first that cannot be; what was applied, and what went wrong.
async fn apply_all(
    client: Client,
    gateway: ObjectKey,
    objects: Vec<Object>,
    owned: Owned,
    label: String,
) -> (ObjectKey, Settled, Option<apply::Error>) {
    let mut settled = Settled::new();
    for Object { kind, manifest } in objects {
        let Some(manifest) = manifest else { continue };
        let id = id(&gateway, kind);
        let new_with_label = owned.get(&id).is_none().then_some(label.as_str());
        match apply(&client, kind, &id.key, &manifest, new_with_label).await {
            Ok(result) => {
                tracing::info!(%gateway, object = %id, "applied");
                settled.insert(id, (manifest, result.resource_version()));
            }
            Err(error) => return (gateway, settled, Some(error)),
        }
    }
    (gateway, settled, None)
}

fn id(gateway: &ObjectKey, kind: ObjectKind) -> ObjectId {
    ObjectId {
        kind: kind.kind,
        key: objects_key(gateway),
    }
}
