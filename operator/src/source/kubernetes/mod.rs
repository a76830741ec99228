//! Objects of a cluster, as its API server tells of them.
//!
//! ```text
//! one watch per kind, or per kind and namespace ──pruned───────────> stores
//! Needs of the last outcome ──one watch per Secret and ConfigMap──> stores
//!                           └─one watch per namespace of pods────> stores
//! ```

mod backoff;
mod kind;
mod object;
mod on_demand;
mod prune;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kube::{Client, api::ApiResource};
use operator_core::with_kinds;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

pub(crate) use backoff::Doubling;
pub use on_demand::OnDemand;

use self::kind::Progress;
use super::kinds::{Stored, is_namespaced};
use crate::{
    gaps::{Gap, Gaps},
    parts::Parts,
    stores::{Stores, Writers},
};

/// Kinds of which only those objects are read that another one refers to or selects among: a cluster has many, and they
/// are secret, large or never at rest.
const ON_DEMAND: [&str; 3] = ["Secret", "ConfigMap", "Pod"];

/// How long a change of nothing but a status waits, for others to be looked at together with it: most are what we have
/// just written ourselves, and call for nothing.
const STATUS_DELAY: Duration = Duration::from_secs(1);

/// What the watches of a cluster tell.
pub struct Kubernetes {
    stores: Stores,
    on_demand: OnDemand,
    /// What is not all known yet.
    unknown: watch::Receiver<BTreeSet<Part>>,
}

/// A kind, and the namespace that its objects are in; all of them if absent.
type Part = (&'static str, Option<String>);

/// Where all watches bring what they see.
#[derive(Clone)]
struct Sink {
    client: Client,
    gaps: Gaps,
    writers: Arc<Mutex<Writers>>,
    /// Woken whenever an object has changed.
    changed: Arc<Notify>,
    /// Woken in its place when that is only its status.
    status_changed: Arc<Notify>,
}

impl Kubernetes {
    /// Has parts watch every kind, and wake `changed` whenever an object of any has changed.
    ///
    /// Objects of other namespaces than those named are not asked for; if none is, those of all are.
    #[must_use]
    pub fn start(
        parts: &mut Parts,
        client: &Client,
        gaps: &Gaps,
        namespaces: &[String],
        changed: &Arc<Notify>,
    ) -> Self {
        let writers = Writers::default();
        let stores = writers.stores();
        let sink = Sink {
            client: client.clone(),
            gaps: gaps.clone(),
            writers: Arc::new(Mutex::new(writers)),
            changed: changed.clone(),
            status_changed: Arc::default(),
        };
        parts.run(
            "changes of statuses",
            pass_on_late(sink.status_changed.clone(), changed.clone()),
        );
        let unknown = watch::Sender::new(BTreeSet::new());
        macro_rules! watch_all {
            ($($field:ident: $type:ty = $kind:literal),* $(,)?) => {
                $( watch_kind::<$type>(parts, &sink, namespaces, &unknown); )*
            };
        }
        with_kinds!(watch_all);
        Self {
            stores,
            on_demand: OnDemand::start(parts, sink),
            unknown: unknown.subscribe(),
        }
    }

    /// What is known of objects.
    #[must_use]
    pub fn stores(&self) -> Stores {
        self.stores.clone()
    }

    /// The objects that are only read when they are needed.
    #[must_use]
    pub fn on_demand(&self) -> OnDemand {
        self.on_demand.clone()
    }

    /// Ends when every object of every kind is known that we may know: objects that are not there yet are not objects that
    /// are gone.
    pub async fn is_complete(&self) {
        // An error would mean that nothing watches any more; then nothing is complete either.
        let _ = self.unknown.clone().wait_for(BTreeSet::is_empty).await;
    }
}

impl Sink {
    /// The gap that a watch of a kind may have.
    fn gap<K: Stored>(&self, namespace: Option<String>) -> Gap {
        self.gaps.of_watch(ApiResource::erase::<K>(&()), namespace)
    }
}

/// Wakes for changes of statuses, once for all that come meanwhile.
async fn pass_on_late(status_changed: Arc<Notify>, changed: Arc<Notify>) {
    loop {
        status_changed.notified().await;
        sleep(STATUS_DELAY).await;
        changed.notify_one();
    }
}

fn watch_kind<K: Stored>(
    parts: &mut Parts,
    sink: &Sink,
    namespaces: &[String],
    unknown: &watch::Sender<BTreeSet<Part>>,
) {
    if ON_DEMAND.contains(&K::NAME) {
        return;
    }
    let namespaces = if is_namespaced::<K>() { namespaces } else { &[] };
    for namespace in places(namespaces) {
        let part = (K::NAME, namespace.clone());
        unknown.send_modify(|unknown| {
            unknown.insert(part.clone());
        });
        let unknown = unknown.clone();
        let watch = kind::watch::<K>(sink.clone(), namespace, move |progress| {
            unknown.send_if_modified(|unknown| progress == Progress::Complete && unknown.remove(&part));
        });
        parts.run(format!("watch of {}", K::NAME), watch);
    }
}

/// Where to watch for objects of these namespaces, each in a watch of its own; in all at once if there are none.
pub(crate) fn places(namespaces: &[String]) -> Vec<Option<String>> {
    if namespaces.is_empty() {
        return vec![None];
    }
    namespaces.iter().cloned().map(Some).collect()
}

#[cfg(test)]
mod tests;
