//! The watch of one kind, in one namespace or in all.

use std::{collections::BTreeSet, pin::pin, sync::Arc};

use futures::StreamExt as _;
use kube::{
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        reflector::{ObjectRef, store::Writer},
        watcher::{self, Error, Event, watcher},
    },
};
use operator_core::object::ObjectKey;

use super::{
    super::kinds::{Scope as _, Stored},
    Sink,
    backoff::Doubling,
    prune::prune,
};

/// Kinds without which there is nothing to do, so that they are waited for: all gateways would seem to be gone.
const INDISPENSABLE: [&str; 2] = ["GatewayClass", "Gateway"];

/// How far a watch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All objects are known, or there can be none.
    Complete,
    /// They cannot be read for now.
    Failing,
}

/// Watches all objects of a kind for ever, those of a namespace or those of the cluster.
pub(super) async fn watch<K: Stored>(sink: Sink, namespace: Option<String>, mut tell: impl FnMut(Progress)) {
    // One object that cannot be decoded must not hide the others.
    let objects = K::Scope::api(sink.client.clone(), namespace.as_deref());
    let mut events = pin!(watcher(objects, watcher::Config::default()).backoff(Doubling::default()));
    let mut part = Part {
        namespace,
        listed: Vec::new(),
    };
    let mut trouble = None;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                let is_complete = matches!(event, Event::InitDone);
                // Stored first: whoever hears that all is known looks at the stores at once.
                let is_news = part.take(&sink, event);
                if is_complete {
                    trouble = None;
                    tell(Progress::Complete);
                }
                if is_news {
                    sink.changed.notify_one();
                }
            }
            Err(error) if is_not_served(&error) => {
                if trouble.replace(String::new()).is_none() {
                    tracing::info!(
                        kind = K::NAME,
                        "the cluster does not serve this kind; it is looked for every few seconds"
                    );
                }
                // Objects that went with their kind were told one by one. What is stored stays: to mistake a server
                // that is not itself yet for one without the kind must cost nothing.
                if !INDISPENSABLE.contains(&K::NAME) {
                    tell(Progress::Complete);
                }
            }
            // The watch has fallen behind and begins anew; that is how it is.
            Err(Error::WatchError(status)) if status.code == 410 => {}
            // What is stored stays, and the watch is tried again. Each trouble is said once.
            Err(error) => {
                let error = error.to_string();
                if trouble.as_ref() != Some(&error) {
                    tracing::warn!(kind = K::NAME, namespace = part.namespace, error, "cannot watch");
                    trouble = Some(error);
                    tell(Progress::Failing);
                }
            }
        }
    }
}

/// Whether the API server knows no such kind, be it never or no longer.
fn is_not_served(error: &Error) -> bool {
    matches!(
        error,
        Error::InitialListFailed(kube::Error::Api(status)) | Error::WatchStartFailed(kube::Error::Api(status))
            if status.code == 404
    )
}

/// What one watch tells of a kind.
struct Part<K> {
    /// Where its objects are; all namespaces if absent.
    namespace: Option<String>,
    /// What a list has told that is not at its end.
    listed: Vec<K>,
}

impl<K: Stored> Part<K> {
    /// Takes up an event; whether anything is known now that was not.
    fn take(&mut self, sink: &Sink, event: Event<DeserializeGuard<K>>) -> bool {
        let mut writers = sink.writers.lock();
        let writer = K::writer(&mut writers);
        let changed = match event {
            Event::Init => {
                self.listed.clear();
                None
            }
            Event::InitApply(guard) => {
                self.listed.extend(decoded(guard, writer));
                None
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                writers.together(|writers| replace(K::writer(writers), self.namespace.as_deref(), listed));
                return true;
            }
            // Of a pod that somebody selects most updates are nothing that anybody reads.
            Event::Apply(guard) => decoded(guard, writer)
                .filter(|object| stored(object, writer).is_none_or(|stored| *stored != *object))
                .map(Event::Apply),
            Event::Delete(DeserializeGuard(Ok(object))) => Some(Event::Delete(object)),
            Event::Delete(guard) => decoded(guard, writer).map(Event::Delete),
        };
        if let Some(event) = &changed {
            writer.apply_watcher_event(event);
        }
        changed.is_some()
    }
}

/// The object without what nobody reads; as it is stored if it cannot be decoded.
fn decoded<K: Stored>(guard: DeserializeGuard<K>, writer: &Writer<K>) -> Option<K> {
    match guard {
        DeserializeGuard(Ok(mut object)) => {
            prune(&mut object);
            Some(object)
        }
        DeserializeGuard(Err(invalid)) => {
            let (namespace, name) = (invalid.metadata.namespace, invalid.metadata.name);
            let key = ObjectKey::new(namespace.unwrap_or_default(), name.unwrap_or_default());
            tracing::warn!(kind = K::NAME, object = %key, error = invalid.error, "cannot read an object, ignoring it");
            let reference = ObjectRef::<K>::new(&key.name).within(&key.namespace);
            let stored = writer.as_reader().get(&reference);
            stored.map(|stored| (*stored).clone())
        }
    }
}

fn stored<K: Stored>(object: &K, writer: &Writer<K>) -> Option<Arc<K>> {
    writer.as_reader().get(&ObjectRef::from_obj(object))
}

/// Makes these the objects of a namespace, or of all of them.
pub(super) fn replace<K: Stored>(writer: &mut Writer<K>, namespace: Option<&str>, objects: Vec<K>) {
    let listed: BTreeSet<ObjectKey> = objects.iter().map(ObjectKey::of).collect();
    for stored in writer.as_reader().state() {
        let key = ObjectKey::of(&*stored);
        if namespace.is_none_or(|namespace| namespace == key.namespace) && !listed.contains(&key) {
            writer.apply_watcher_event(&Event::Delete((*stored).clone()));
        }
    }
    for object in objects {
        writer.apply_watcher_event(&Event::Apply(object));
    }
}
