//! Pods of the namespaces in which somebody selects among them.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    runtime::{
        WatchStreamExt as _,
        reflector::ObjectRef,
        watcher::{self, Error, Event, watcher},
    },
};
use operator_core::object::ObjectKey;
use tokio::task::{AbortHandle, JoinSet};

use super::{Sink, backoff::Doubling, on_demand::Known, prune::prune};
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
                replace(&self.sink, namespace, Vec::new());
            }
            keep
        });
        for namespace in needed {
            if !self.watched.contains_key(namespace) {
                let watch = watch(self.sink.clone(), self.known.clone(), namespace.clone());
                self.watched.insert(namespace.clone(), self.running.spawn(watch));
            }
        }
        while self.running.try_join_next().is_some() {}
    }
}

/// Watches the pods of a namespace for ever.
async fn watch(sink: Sink, known: Known, namespace: String) {
    let look = || {
        known.lock().insert(pods_of(&namespace));
        sink.changed.notify_one();
    };
    let objects = Api::<Pod>::namespaced(sink.client.clone(), &namespace);
    let mut events = pin!(watcher(objects, watcher::Config::default()).backoff(Doubling::default()));
    let mut listed = Vec::new();
    let mut trouble = None;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(mut pod)) => {
                prune(&mut pod);
                listed.push(pod);
            }
            Ok(Event::InitDone) => {
                trouble = None;
                replace(&sink, &namespace, std::mem::take(&mut listed));
                look();
            }
            Ok(Event::Apply(pod)) => put(&sink, pod),
            Ok(Event::Delete(pod)) => {
                Pod::writer(&mut sink.writers.lock()).apply_watcher_event(&Event::Delete(pod));
                sink.changed.notify_one();
            }
            // The watch has fallen behind and begins anew; that is how it is.
            Err(Error::WatchError(status)) if status.code == 410 => {}
            // What is stored stays. Pods that cannot be read are as good as none: others do not wait for them.
            Err(error) => {
                let error = error.to_string();
                if trouble.as_ref() != Some(&error) {
                    tracing::warn!(namespace, error, "cannot watch pods");
                    trouble = Some(error);
                    look();
                }
            }
        }
    }
}

/// Stores a pod, and wakes whoever waits if something of it is new that anybody reads: most updates of pods are none.
fn put(sink: &Sink, mut pod: Pod) {
    prune(&mut pod);
    let mut writers = sink.writers.lock();
    let writer = Pod::writer(&mut writers);
    let stored = writer.as_reader().get(&ObjectRef::from_obj(&pod));
    if stored.is_none_or(|stored| *stored != pod) {
        writer.apply_watcher_event(&Event::Apply(pod));
        sink.changed.notify_one();
    }
}

/// Makes these the pods of a namespace.
fn replace(sink: &Sink, namespace: &str, pods: Vec<Pod>) {
    let names: BTreeSet<String> = pods.iter().map(ResourceExt::name_any).collect();
    let mut writers = sink.writers.lock();
    writers.together(|writers| {
        let writer = Pod::writer(writers);
        for stored in writer.as_reader().state() {
            let is_gone =
                stored.namespace().as_deref() == Some(namespace) && !names.contains(&stored.name_any());
            if is_gone {
                writer.apply_watcher_event(&Event::Delete((*stored).clone()));
            }
        }
        for pod in pods {
            writer.apply_watcher_event(&Event::Apply(pod));
        }
    });
}
