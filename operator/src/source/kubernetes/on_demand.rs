//! Secrets and ConfigMaps: only those that another object refers to, each watched by its name. Pods: only those of
//! namespaces in which another object selects.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::resume_unwind,
    sync::Arc,
};

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use operator_core::{object::ObjectKey, outcome::Needs};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinError, JoinSet},
};

use super::{Sink, kind, object};
use crate::{parts::Parts, source::kinds::Stored as _};

/// Asks for objects, and tells whether they have been looked for.
#[derive(Clone)]
pub struct OnDemand {
    needs: watch::Sender<Needs>,
    known: Known,
}

/// What has been looked for, whether it was found or not.
type Known = Arc<Mutex<BTreeSet<Subject>>>;

/// What one watch is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Secret(ObjectKey),
    ConfigMap(ObjectKey),
    /// All pods of a namespace.
    Pods(String),
}

/// The watches that run, each with what ends it.
struct Watches {
    sink: Sink,
    known: Known,
    running: JoinSet<()>,
    watched: BTreeMap<Subject, AbortHandle>,
}

impl OnDemand {
    /// Has a part watch what is needed.
    pub(super) fn start(parts: &mut Parts, sink: Sink) -> Self {
        let on_demand = Self {
            needs: watch::Sender::default(),
            known: Known::default(),
        };
        let watches = Watches::new(sink, on_demand.known.clone());
        parts.run("watches on demand", watches.follow(on_demand.needs.subscribe()));
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
        self.known.lock().is_superset(&subjects(needs))
    }
}

fn subjects(needs: &Needs) -> BTreeSet<Subject> {
    let Needs {
        secrets,
        config_maps,
        pods,
    } = needs;
    let secrets = secrets.iter().cloned().map(Subject::Secret);
    let config_maps = config_maps.iter().cloned().map(Subject::ConfigMap);
    let pods = pods.iter().cloned().map(Subject::Pods);
    secrets.chain(config_maps).chain(pods).collect()
}

impl Watches {
    fn new(sink: Sink, known: Known) -> Self {
        Self {
            sink,
            known,
            running: JoinSet::new(),
            watched: BTreeMap::new(),
        }
    }

    /// Watches what is needed; ends, or panics, when one of the watches does.
    async fn follow(mut self, mut needs: watch::Receiver<Needs>) {
        loop {
            tokio::select! {
                changed = needs.changed() => match changed {
                    Ok(()) => {
                        let needed = subjects(&needs.borrow_and_update());
                        self.watch(&needed);
                    }
                    // Nobody needs anything any more.
                    Err(_) => return,
                },
                Some(ended) = self.running.join_next() => match ended.map_err(JoinError::try_into_panic) {
                    Ok(()) => return,
                    Err(Ok(panic)) => resume_unwind(panic),
                    Err(Err(_aborted)) => {}
                },
            }
        }
    }

    /// Watches these and no others.
    fn watch(&mut self, needed: &BTreeSet<Subject>) {
        let gone: Vec<_> = self
            .watched
            .extract_if(.., |subject, _| !needed.contains(subject))
            .collect();
        for (subject, watch) in gone {
            watch.abort();
            self.known.lock().remove(&subject);
            self.forget(&subject);
        }
        for subject in needed {
            if !self.watched.contains_key(subject) {
                let watch = self.start(subject);
                self.watched.insert(subject.clone(), watch);
            }
        }
    }

    /// Starts a watch that lasts for ever. What cannot be read is as good as none: others do not wait for it.
    fn start(&mut self, subject: &Subject) -> AbortHandle {
        let (sink, known) = (self.sink.clone(), self.known.clone());
        let (changed, looked_for) = (sink.changed.clone(), subject.clone());
        let looked = move || {
            known.lock().insert(looked_for.clone());
            changed.notify_one();
        };
        match subject.clone() {
            Subject::Secret(key) => self.running.spawn(object::watch::<Secret>(sink, key, looked)),
            Subject::ConfigMap(key) => self.running.spawn(object::watch::<ConfigMap>(sink, key, looked)),
            Subject::Pods(namespace) => {
                let watch = kind::watch::<Pod>(sink, Some(namespace), move |_| looked());
                self.running.spawn(watch)
            }
        }
    }

    /// Takes what a watch has stored out of the stores.
    fn forget(&self, subject: &Subject) {
        match subject {
            Subject::Secret(key) => object::put::<Secret>(&self.sink, key, None),
            Subject::ConfigMap(key) => object::put::<ConfigMap>(&self.sink, key, None),
            Subject::Pods(namespace) => {
                let mut writers = self.sink.writers.lock();
                kind::replace(Pod::writer(&mut writers), Some(namespace), Vec::new());
            }
        }
    }
}
