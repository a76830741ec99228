//! The objects in a cluster that are ours, as they are now.

use std::{collections::BTreeMap, pin::pin, sync::Arc};

use futures::StreamExt as _;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use operator_core::{infra::ObjectKind, object::ObjectKey};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

use super::family::Family;
use crate::{
    gaps::{Gap, Gaps},
    parts::Parts,
    source::{Doubling, ObjectId, places},
};

/// Follows all objects of a family, through watches alone: the answer to a write may be older than what they told
/// already.
#[derive(Clone, Default)]
pub(super) struct Owned {
    objects: Arc<Mutex<Objects>>,
    /// Woken whenever one has changed.
    pub(super) changed: Arc<Notify>,
}

#[derive(Default)]
struct Objects {
    by_id: BTreeMap<ObjectId, Value>,
    /// Watches that have not told all objects yet, with what keeps them from it.
    incomplete: BTreeMap<Part, Option<String>>,
}

/// A kind, and the namespace that its objects are in; all of them if absent.
type Part = (&'static str, Option<String>);

impl Owned {
    /// Has parts follow all objects of a family, of these namespaces alone if there are any.
    pub(super) fn follow(
        parts: &mut Parts,
        client: &Client,
        gaps: &Gaps,
        family: &Family,
        namespaces: &[String],
    ) -> Self {
        let owned = Self::default();
        for kind in family.kinds {
            for namespace in places(namespaces) {
                let gap = gaps.of_watch(resource(kind), namespace.clone());
                let part = (kind.kind, namespace);
                owned.objects.lock().incomplete.insert(part.clone(), None);
                let watch = owned
                    .clone()
                    .watch(client.clone(), gap, *kind, part, family.selector());
                parts.run(format!("watch of each {} of a {}", kind.kind, family.runs), watch);
            }
        }
        owned
    }

    /// One of them.
    pub(super) fn get(&self, id: &ObjectId) -> Option<Value> {
        self.objects.lock().by_id.get(id).cloned()
    }

    /// Names and uids of all; `None` as long as not all are known.
    pub(super) fn all(&self) -> Option<Vec<(ObjectId, String)>> {
        let objects = self.objects.lock();
        let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let all = objects.by_id.iter().map(|(id, object)| (id.clone(), uid(object)));
        objects.incomplete.is_empty().then(|| all.collect())
    }

    /// Why not all are known, if something is wrong.
    pub(super) fn trouble(&self) -> Option<String> {
        self.objects.lock().incomplete.values().flatten().next().cloned()
    }

    async fn watch(self, client: Client, mut gap: Gap, kind: ObjectKind, part: Part, selector: String) {
        let resource = resource(&kind);
        let objects: Api<DynamicObject> = match &part.1 {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let config = watcher::Config::default().labels(&selector);
        let mut events = pin!(watcher(objects, config).backoff(Doubling::default()));
        let mut fresh = BTreeMap::new();
        let id = |object: &DynamicObject| ObjectId {
            kind: kind.kind,
            key: ObjectKey::of(object),
        };
        let is_of_part = |id: &ObjectId| {
            id.kind == kind.kind
                && part
                    .1
                    .as_ref()
                    .is_none_or(|namespace| *namespace == id.key.namespace)
        };
        while let Some(event) = events.next().await {
            let mut objects = self.objects.lock();
            gap.heed(&event);
            match event {
                Ok(Event::Init) => fresh.clear(),
                Ok(Event::InitApply(object)) => {
                    fresh.insert(id(&object), to_value(&object, kind));
                }
                Ok(Event::InitDone) => {
                    objects.by_id.retain(|id, _| !is_of_part(id));
                    objects.by_id.append(&mut fresh);
                    objects.incomplete.remove(&part);
                    self.changed.notify_one();
                }
                Ok(Event::Apply(object)) => {
                    objects.by_id.insert(id(&object), to_value(&object, kind));
                    self.changed.notify_one();
                }
                Ok(Event::Delete(object)) => {
                    objects.by_id.remove(&id(&object));
                    self.changed.notify_one();
                }
                Err(error) => {
                    if let Some(sentence) = gap.open(&error)
                        && let Some(trouble) = objects.incomplete.get_mut(&part)
                    {
                        *trouble = Some(sentence);
                        self.changed.notify_one();
                    }
                }
            }
        }
    }
}

/// Where the API server has the objects of a kind.
pub(super) fn resource(kind: &ObjectKind) -> ApiResource {
    let kind_of_group = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
    ApiResource::from_gvk_with_plural(&kind_of_group, kind.plural)
}

/// The object as it is when it is not one of a list, whose items do not say what they are.
fn to_value(object: &DynamicObject, kind: ObjectKind) -> Value {
    let mut value = serde_json::to_value(object).expect("what came as JSON can be JSON again");
    value["apiVersion"] = kind.api_version().into();
    value["kind"] = kind.kind.into();
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    value
}
