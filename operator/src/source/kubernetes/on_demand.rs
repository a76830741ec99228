//! Secrets and ConfigMaps: only those that another object refers to, each watched by its name. Pods: only those of
//! namespaces in which another object selects.

use std::{
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
    pin::pin,
    sync::Arc,
};

use futures::StreamExt as _;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api,
    runtime::{
        WatchStreamExt as _,
        watcher::{Event, watch_object},
    },
};
use operator_core::{object::ObjectKey, outcome::Needs};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use super::{
    Sink,
    backoff::Doubling,
    pods::{PodWatches, pods_of},
    prune::prune,
};
use crate::source::{
    kinds::{ObjectId, Stored},
    names::NameRule,
};

/// Asks for objects, and tells whether they have been looked for.
#[derive(Clone)]
pub struct OnDemand {
    needs: watch::Sender<Needs>,
    /// Those that were looked for, whether they were found or not.
    known: Known,
}

pub(super) type Known = Arc<Mutex<BTreeSet<ObjectId>>>;

/// The watches of one kind, each with what ends it.
struct Watches<K> {
    sink: Sink,
    known: Known,
    running: JoinSet<()>,
    watched: BTreeMap<ObjectKey, AbortHandle>,
    kind: PhantomData<K>,
}

impl OnDemand {
    pub(super) fn start(sink: Sink) -> Self {
        let on_demand = Self {
            needs: watch::Sender::default(),
            known: Known::default(),
        };
        let (mut needs, known) = (on_demand.needs.subscribe(), on_demand.known.clone());
        tokio::spawn(async move {
            let mut secrets = Watches::<Secret>::new(sink.clone(), known.clone());
            let mut config_maps = Watches::<ConfigMap>::new(sink.clone(), known.clone());
            let mut pods = PodWatches::new(sink, known);
            while needs.changed().await.is_ok() {
                let Needs {
                    secrets: needed_secrets,
                    config_maps: needed_config_maps,
                    pods: needed_pods,
                } = needs.borrow_and_update().clone();
                secrets.watch(&needed_secrets);
                config_maps.watch(&needed_config_maps);
                pods.watch(&needed_pods);
            }
        });
        on_demand
    }

    /// Has these objects read from now on, and no others; whether all of them were looked for already.
    ///
    /// What was concluded without an object that exists would be wrong. Whoever watches the stores is woken when the
    /// objects have come.
    #[must_use]
    pub fn supply(&self, needs: &Needs) -> bool {
        self.needs.send_if_modified(|current| {
            let differs = current != needs;
            current.clone_from(needs);
            differs
        });
        let Needs {
            secrets,
            config_maps,
            pods,
        } = needs;
        let secrets = secrets.iter().map(id::<Secret>);
        let config_maps = config_maps.iter().map(id::<ConfigMap>);
        let mut all = secrets
            .chain(config_maps)
            .chain(pods.iter().map(|namespace| pods_of(namespace)));
        let known = self.known.lock();
        all.all(|id| known.contains(&id))
    }
}

fn id<K: Stored>(key: &ObjectKey) -> ObjectId {
    ObjectId {
        kind: K::NAME,
        key: key.clone(),
    }
}

impl<K: Stored<Scope = NamespaceResourceScope> + Default> Watches<K> {
    fn new(sink: Sink, known: Known) -> Self {
        Self {
            sink,
            known,
            running: JoinSet::new(),
            watched: BTreeMap::new(),
            kind: PhantomData,
        }
    }

    /// Watches these objects and no others.
    fn watch(&mut self, needed: &BTreeSet<ObjectKey>) {
        self.watched.retain(|key, watch| {
            let keep = needed.contains(key);
            if !keep {
                watch.abort();
                self.known.lock().remove(&id::<K>(key));
                put::<K>(&self.sink, key, None);
            }
            keep
        });
        for key in needed {
            if !self.watched.contains_key(key) {
                let watch = watch::<K>(self.sink.clone(), self.known.clone(), key.clone());
                self.watched.insert(key.clone(), self.running.spawn(watch));
            }
        }
        while self.running.try_join_next().is_some() {}
    }
}

/// Watches one object for ever.
async fn watch<K: Stored<Scope = NamespaceResourceScope> + Default>(
    sink: Sink,
    known: Known,
    key: ObjectKey,
) {
    let look = || {
        known.lock().insert(id::<K>(&key));
        sink.changed.notify_one();
    };
    // No object has a name that the API server would not take.
    if [
        NameRule::Label.objection(&key.namespace),
        NameRule::Subdomain.objection(&key.name),
    ] != [None, None]
    {
        return look();
    }
    let objects = Api::<K>::namespaced(sink.client.clone(), &key.namespace);
    let mut changes = pin!(watch_object(objects, &key.name).backoff(Doubling::default()));
    let mut trouble = None;
    while let Some(change) = changes.next().await {
        match change {
            Ok(object) => {
                trouble = None;
                put(&sink, &key, object);
                look();
            }
            // What is stored stays. An object that cannot be read is as good as none: others do not wait for it.
            Err(error) => {
                let error = error.to_string();
                if trouble.as_ref() != Some(&error) {
                    tracing::warn!(object = %id::<K>(&key), error, "cannot watch");
                    trouble = Some(error);
                    look();
                }
            }
        }
    }
}

/// Stores an object, or that there is none.
fn put<K: Stored + Default>(sink: &Sink, key: &ObjectKey, object: Option<K>) {
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
