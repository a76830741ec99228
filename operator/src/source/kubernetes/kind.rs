//! The watch of one kind.

use std::pin::pin;

use futures::StreamExt as _;
use kube::{
    Api,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        reflector::ObjectRef,
        watcher::{self, Error, Event, watcher},
    },
};
use operator_core::object::ObjectKey;

use super::{super::kinds::Stored, Sink, backoff::Doubling, prune::prune};

/// Kinds without which there is nothing to do, so that they are waited for: all gateways would seem to be gone.
const INDISPENSABLE: [&str; 2] = ["GatewayClass", "Gateway"];

/// Watches all objects of a kind for ever, and says when all of them are known for the first time.
pub(super) async fn watch<K: Stored>(sink: Sink, mut known: impl FnMut()) {
    // One object that cannot be decoded must not hide the others.
    let objects = Api::<DeserializeGuard<K>>::all(sink.client.clone());
    let mut events = pin!(watcher(objects, watcher::Config::default()).backoff(Doubling::default()));
    let mut trouble = None;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                let is_complete = matches!(event, Event::InitDone);
                let is_news = !matches!(event, Event::Init | Event::InitApply(_));
                // Stored first: whoever hears that all is known looks at the stores at once.
                take::<K>(&sink, event);
                if is_complete {
                    trouble = None;
                    known();
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
                    known();
                }
            }
            // The watch has fallen behind and begins anew; that is how it is.
            Err(Error::WatchError(status)) if status.code == 410 => {}
            // What is stored stays, and the watch is tried again. Each trouble is said once.
            Err(error) => {
                let error = error.to_string();
                if trouble.as_ref() != Some(&error) {
                    tracing::warn!(kind = K::NAME, error, "cannot watch");
                    trouble = Some(error);
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

fn take<K: Stored>(sink: &Sink, event: Event<DeserializeGuard<K>>) {
    let mut writers = sink.writers.lock();
    let writer = K::writer(&mut writers);
    let decoded = |guard: DeserializeGuard<K>| match guard {
        DeserializeGuard(Ok(mut object)) => {
            prune(&mut object);
            Some(object)
        }
        // What is stored of it stays.
        DeserializeGuard(Err(invalid)) => {
            let (namespace, name) = (invalid.metadata.namespace, invalid.metadata.name);
            let key = ObjectKey::new(namespace.unwrap_or_default(), name.unwrap_or_default());
            tracing::warn!(kind = K::NAME, object = %key, error = invalid.error, "cannot read an object, ignoring it");
            let reference = ObjectRef::<K>::new(&key.name).within(&key.namespace);
            writer.as_reader().get(&reference).map(|stored| (*stored).clone())
        }
    };
    let event = match event {
        Event::Init => Some(Event::Init),
        Event::InitDone => Some(Event::InitDone),
        Event::InitApply(guard) => decoded(guard).map(Event::InitApply),
        Event::Apply(guard) => decoded(guard).map(Event::Apply),
        Event::Delete(DeserializeGuard(Ok(object))) => Some(Event::Delete(object)),
        Event::Delete(guard) => decoded(guard).map(Event::Delete),
    };
    if let Some(event) = event {
        writer.apply_watcher_event(&event);
    }
}
