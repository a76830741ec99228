//! Pods of the namespaces in which somebody selects among them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use operator_core::object::ObjectKey;
use tokio::task::{AbortHandle, JoinSet};

use super::{Sink, kind, on_demand::Known};
use crate::source::kinds::{ObjectId, Stored as _};

/// The watches of namespaces' pods, each with what ends it.
pub(super) struct PodWatches {
    sink: Sink,
    known: Known,
    running: JoinSet<()>,
    watched: BTreeMap<String, AbortHandle>,
}

/// All pods of a namespace, as one thing to be known.
pub(super) fn pods_of(namespace: &str) -> ObjectId {
    ObjectId {
        kind: Pod::NAME,
        key: ObjectKey::new(namespace, ""),
    }
}

impl PodWatches {
    pub(super) fn new(sink: Sink, known: Known) -> Self {
        Self {
            sink,
            known,
            running: JoinSet::new(),
            watched: BTreeMap::new(),
        }
    }

    /// Watches the pods of these namespaces and of no others.
    pub(super) fn watch(&mut self, needed: &BTreeSet<String>) {
        self.watched.retain(|namespace, watch| {
            let keep = needed.contains(namespace);
            if !keep {
                watch.abort();
                self.known.lock().remove(&pods_of(namespace));
                let mut writers = self.sink.writers.lock();
                kind::replace(Pod::writer(&mut writers), Some(namespace), Vec::new());
            }
            keep
        });
        for namespace in needed {
            if !self.watched.contains_key(namespace) {
                let watch = self.follow(namespace);
                self.watched.insert(namespace.clone(), self.running.spawn(watch));
            }
        }
        while self.running.try_join_next().is_some() {}
    }

    /// Follows the pods of a namespace for ever. Pods that cannot be read are as good as none: others do not wait for
    /// them.
    fn follow(&self, namespace: &str) -> impl Future<Output = ()> + use<> {
        let (sink, known, pods) = (self.sink.clone(), self.known.clone(), pods_of(namespace));
        let changed = sink.changed.clone();
        kind::watch::<Pod>(sink, Some(namespace.to_owned()), move |_| {
            known.lock().insert(pods.clone());
            changed.notify_one();
        })
    }
}
