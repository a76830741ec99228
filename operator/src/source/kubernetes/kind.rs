//! The watch of one kind, in one namespace or in all.

use std::{collections::BTreeSet, mem, pin::pin, sync::Arc};

use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
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
use crate::gaps::{is_forbidden, refusal};

/// Kinds without which there is nothing to do, so that they are waited for: all gateways would seem to be gone.
const INDISPENSABLE: [&str; 2] = ["GatewayClass", "Gateway"];

/// Kinds that somebody may go without, with a role that does not let us read them: what they would add is missing, and
/// nothing else is wrong. Without those of all other kinds, requests would be refused or go astray.
const OPTIONAL: [&str; 8] = [
    "BackendTLSPolicy",
    "EndpointPicker",
    "GRPCRoute",
    "InferencePool",
    "ListenerSet",
    "TCPRoute",
    "TLSRoute",
    "UDPRoute",
];

/// Groups whose objects are not of custom kinds.
const BUILT_IN: [&str; 2] = ["", "discovery.k8s.io"];

/// How far a watch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All objects are known, or there can be none, or we are to do without.
    Complete,
    /// They cannot be read for now.
    Failing,
}

/// Watches all objects of a kind for ever, those of a namespace or those of the cluster.
pub(super) async fn watch<K: Stored>(sink: Sink, namespace: Option<String>, mut tell: impl FnMut(Progress)) {
    // One object that cannot be decoded must not hide the others.
    let objects = K::Scope::api(sink.client.clone(), namespace.as_deref());
    let mut events = pin!(watcher(objects, watcher::Config::default()).backoff(Doubling::default()));
    let mut gap = sink.gap::<K>(namespace.clone());
    let mut part = Part {
        namespace,
        listed: Vec::new(),
    };
    let mut is_missing = false;
    while let Some(event) = events.next().await {
        gap.heed(&event);
        match event {
            Ok(event) => {
                let is_complete = matches!(event, Event::InitDone);
                // Stored first: whoever hears that all is known looks at the stores at once.
                let news = part.take(&sink, event);
                if is_complete {
                    is_missing = false;
                    tell(Progress::Complete);
                }
                match news {
                    Some(News::Object) => sink.changed.notify_one(),
                    Some(News::Status) => sink.status_changed.notify_one(),
                    None => {}
                }
            }
            Err(error) if is_not_served(&error) => {
                if !mem::replace(&mut is_missing, true) {
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
            // What is stored stays, and the watch is tried again.
            Err(error) => {
                if gap.open(&error).is_some() {
                    let is_dispensable = is_forbidden(&error) && OPTIONAL.contains(&K::NAME);
                    tell(if is_dispensable {
                        Progress::Complete
                    } else {
                        Progress::Failing
                    });
                }
            }
        }
    }
}

/// Whether the API server knows no such kind, be it never or no longer.
fn is_not_served(error: &Error) -> bool {
    refusal(error).is_some_and(|status| status.code == 404)
}

/// What is known now that was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// That an object has come, changed or gone.
    Object,
    /// Nothing but another status.
    Status,
}

impl News {
    /// What an object tells beyond what is stored of it.
    fn of<K: Stored>(object: &K, stored: Option<&K>) -> Option<Self> {
        match stored {
            Some(stored) if stored == object => None,
            Some(stored) if has_another_status_only(object, stored) => Some(Self::Status),
            _ => Some(Self::Object),
        }
    }
}

/// Whether objects that differ do so in nothing but their statuses, as far as their metadata tells.
///
/// The API server counts everything but metadata and status of a custom kind's objects, see
/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#status-subresource>.
fn has_another_status_only<K: Stored>(object: &K, stored: &K) -> bool {
    let metadata = |object: &K| ObjectMeta {
        resource_version: None,
        ..object.meta().clone()
    };
    !BUILT_IN.contains(&&*K::group(&()))
        && object.meta().generation.is_some()
        && metadata(object) == metadata(stored)
}

/// What one watch tells of a kind.
struct Part<K> {
    /// Where its objects are; all namespaces if absent.
    namespace: Option<String>,
    /// What a list has told that is not at its end.
    listed: Vec<K>,
}

impl<K: Stored> Part<K> {
    /// Takes up an event.
    fn take(&mut self, sink: &Sink, event: Event<DeserializeGuard<K>>) -> Option<News> {
        let mut writers = sink.writers.lock();
        let writer = K::writer(&mut writers);
        let mut news = News::Object;
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
                let listed = mem::take(&mut self.listed);
                writers.together(|writers| replace(K::writer(writers), self.namespace.as_deref(), listed));
                return Some(News::Object);
            }
            // Of a pod that somebody selects most updates are nothing that anybody reads.
            Event::Apply(guard) => decoded(guard, writer).and_then(|object| {
                news = News::of(&object, stored(&object, writer).as_deref())?;
                Some(Event::Apply(object))
            }),
            Event::Delete(DeserializeGuard(Ok(object))) => Some(Event::Delete(object)),
            Event::Delete(guard) => decoded(guard, writer).map(Event::Delete),
        };
        writer.apply_watcher_event(&changed?);
        Some(news)
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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use operator_core::api::HttpRoute;
    use serde_json::{Value, from_value, json};

    use super::*;

    /// What a newer version of an object tells.
    fn news<K: Stored>(older: Value, newer: Value) -> Option<News> {
        let object = |content| from_value::<K>(content).unwrap();
        News::of(&object(newer), Some(&object(older)))
    }

    #[test]
    fn a_status_alone_is_told_from_what_it_is_about() {
        let route = |version: &str, generation: u32, label: &str, parents: Value| {
            json!({
                "metadata": {"namespace": "default", "name": "shop", "resourceVersion": version,
                             "generation": generation, "labels": {"team": label}},
                "spec": {"hostnames": [format!("host-{generation}.example")]},
                "status": {"parents": parents},
            })
        };
        let news = |newer| news::<HttpRoute>(route("1", 1, "web", json!([])), newer);
        let parents = json!([{"parentRef": {"name": "edge"}, "controllerName": "other", "conditions": []}]);
        assert_eq!(news(route("1", 1, "web", json!([]))), None);
        assert_eq!(news(route("2", 1, "web", parents.clone())), Some(News::Status));
        assert_eq!(news(route("2", 2, "web", parents.clone())), Some(News::Object));
        assert_eq!(news(route("2", 1, "shop", parents)), Some(News::Object));
    }

    #[test]
    fn what_is_new_or_of_a_kind_that_is_not_counted_is_told_as_such() {
        let service = |port: u16| json!({"metadata": {"namespace": "default", "name": "shop"}, "spec": {"ports": [{"port": port}]}});
        assert_eq!(news::<Service>(service(80), service(81)), Some(News::Object));
        let object = from_value::<Service>(service(80)).unwrap();
        assert_eq!(News::of(&object, None), Some(News::Object));
    }
}
