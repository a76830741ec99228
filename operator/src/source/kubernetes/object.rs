//! The watch of one object, by its name.

use std::{future::pending, pin::pin};

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api,
    runtime::{
        WatchStreamExt as _,
        watcher::{Event, watch_object},
    },
};
use operator_core::object::ObjectKey;

use super::{Sink, backoff::Doubling, prune::prune};
use crate::source::{kinds::Stored, names::NameRule};

/// Watches one object for ever; tells whenever it has been looked for, be it found, missing or unreadable.
pub(super) async fn watch<K: Stored<Scope = NamespaceResourceScope> + Default>(
    sink: Sink,
    key: ObjectKey,
    looked: impl Fn(),
) {
    // No object has a name that the API server would not take.
    if [
        NameRule::Label.objection(&key.namespace),
        NameRule::Subdomain.objection(&key.name),
    ] != [None, None]
    {
        looked();
        return pending().await;
    }
    let mut gap = sink.gap::<K>(Some(key.namespace.clone()));
    let objects = Api::<K>::namespaced(sink.client.clone(), &key.namespace);
    let mut changes = pin!(watch_object(objects, &key.name).backoff(Doubling::default()));
    while let Some(change) = changes.next().await {
        match change {
            Ok(object) => {
                gap.close();
                put(&sink, &key, object);
                looked();
            }
            // What is stored stays. An object that cannot be read is as good as none: others do not wait for it.
            Err(error) => {
                if gap.open(&error).is_some() {
                    looked();
                }
            }
        }
    }
}

/// Stores an object, or that there is none.
pub(super) fn put<K: Stored + Default>(sink: &Sink, key: &ObjectKey, object: Option<K>) {
    let event = if let Some(mut object) = object {
        prune(&mut object);
        Event::Apply(object)
    } else {
        let mut gone = K::default();
        gone.meta_mut().namespace = Some(key.namespace.clone());
        gone.meta_mut().name = Some(key.name.clone());
        Event::Delete(gone)
    };
    K::writer(&mut sink.writers.lock()).apply_watcher_event(&event);
}
