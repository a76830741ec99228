//! What the operator cannot read, for those who can do something about it: in the log, at `/readyz` and in
//! `flotilla status`, as long as it lasts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::{
    api::ApiResource,
    core::Status,
    runtime::watcher::{self, Event},
};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How often what is still so is said in the log.
const REPEATED: Duration = Duration::from_mins(5);

/// After what time without another failure a watch goes on: it tells of objects alone, not that it has begun. One that
/// fails is tried again sooner than that.
const OVER: Duration = Duration::from_mins(2);

/// Every watch that fails, with why and what to do about it.
#[derive(Clone, Debug, Default)]
pub struct Gaps(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    /// How many watches there were.
    watches: u64,
    /// A sentence for each that fails, and when it did so last, by the number of the watch.
    failing: BTreeMap<u64, (String, Instant)>,
}

/// What one watch has to say, while it lives.
#[derive(Debug)]
pub(crate) struct Gap {
    gaps: Gaps,
    watch: u64,
    resource: ApiResource,
    /// Where it looks; in the whole cluster if absent.
    namespace: Option<String>,
    /// What was said last, and when.
    said: Option<(String, Instant)>,
}

impl Gaps {
    /// A sentence for each different gap, without its full stop.
    #[must_use]
    pub fn sentences(&self) -> BTreeSet<String> {
        let open = self.0.lock();
        let failing = open.failing.values().filter(|(_, last)| last.elapsed() < OVER);
        failing.map(|(sentence, _)| sentence.clone()).collect()
    }

    /// The gap that a watch of these objects may have.
    pub(crate) fn of_watch(&self, resource: ApiResource, namespace: Option<String>) -> Gap {
        let mut open = self.0.lock();
        open.watches += 1;
        Gap {
            gaps: self.clone(),
            watch: open.watches,
            resource,
            namespace,
            said: None,
        }
    }
}

impl Gap {
    /// Notes why the objects cannot be read: a sentence without its full stop if that is new. It is logged then, and every
    /// few minutes while it lasts.
    ///
    /// A watch that has fallen behind begins anew: that is how it is, and no gap.
    pub(crate) fn open(&mut self, error: &watcher::Error) -> Option<String> {
        if matches!(error, watcher::Error::WatchError(status) if status.code == 410) {
            return None;
        }
        let sentence = self.sentence(error);
        let said = self.said.as_ref().filter(|(said, _)| *said == sentence);
        let is_new = said.is_none();
        if said.is_none_or(|(_, at)| at.elapsed() >= REPEATED) {
            tracing::warn!("{sentence}");
            self.said = Some((sentence.clone(), Instant::now()));
        }
        let mut open = self.gaps.0.lock();
        open.failing
            .insert(self.watch, (sentence.clone(), Instant::now()));
        is_new.then_some(sentence)
    }

    /// Notes that the objects can be read if an event shows it: that the watch begins anew does not.
    pub(crate) fn heed<K>(&mut self, event: &watcher::Result<Event<K>>) {
        if !matches!(event, Ok(Event::Init) | Err(_)) {
            self.close();
        }
    }

    /// Notes that the objects can be read.
    pub(crate) fn close(&mut self) {
        if self.said.take().is_some() {
            tracing::info!(
                kind = self.resource.kind,
                namespace = self.namespace,
                "can be read again"
            );
            self.gaps.0.lock().failing.remove(&self.watch);
        }
    }

    fn sentence(&self, error: &watcher::Error) -> String {
        let Self {
            resource, namespace, ..
        } = self;
        let (kind, plural, group) = (&resource.kind, &resource.plural, &resource.group);
        let place = match namespace {
            Some(namespace) => format!("in namespace {namespace}"),
            None => "in the cluster".to_owned(),
        };
        let Some(status) = refusal(error).filter(|status| status.code == 403) else {
            return format!("Cannot read each {kind} {place}: {error}");
        };
        let role = match namespace {
            Some(namespace) => format!("a Role in namespace {namespace}"),
            None => "its ClusterRole, or name the namespaces that it may read in the chart's watchNamespaces"
                .to_owned(),
        };
        format!(
            "Cannot read each {kind} {place}: {}; have helm upgrade renew the operator's role, or add \
             {{apiGroups: [{group:?}], resources: [{plural}], verbs: [list, watch]}} to {role}",
            status.message
        )
    }
}

/// A watch that has ended fails no more.
impl Drop for Gap {
    fn drop(&mut self) {
        self.gaps.0.lock().failing.remove(&self.watch);
    }
}

/// Whether the API server does not let us read what a watch is of.
pub(crate) fn is_forbidden(error: &watcher::Error) -> bool {
    refusal(error).is_some_and(|status| status.code == 403)
}

/// What the API server answered; `None` if it did not.
pub(crate) fn refusal(error: &watcher::Error) -> Option<&Status> {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        | WatchError(status) => Some(status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use operator_core::api::HttpRoute;
    use tokio::time::advance;

    use super::*;

    fn forbidden() -> watcher::Error {
        let message = "httproutes.gateway.networking.k8s.io is forbidden: User \"us\" cannot list resource";
        let status = Status::failure(message, "Forbidden").with_code(403);
        watcher::Error::InitialListFailed(kube::Error::Api(status.boxed()))
    }

    fn gap(gaps: &Gaps, namespace: Option<&str>) -> Gap {
        gaps.of_watch(ApiResource::erase::<HttpRoute>(&()), namespace.map(str::to_owned))
    }

    #[test]
    fn who_may_not_read_is_told_the_rule_that_lets_them() {
        let gaps = Gaps::default();
        let sentence = gap(&gaps, Some("shop")).open(&forbidden()).unwrap();
        assert_eq!(
            sentence,
            "Cannot read each HTTPRoute in namespace shop: httproutes.gateway.networking.k8s.io is forbidden: User \"us\" \
             cannot list resource; have helm upgrade renew the operator's role, or add {apiGroups: \
             [\"gateway.networking.k8s.io\"], resources: [httproutes], verbs: [list, watch]} to a Role in namespace shop"
        );
        let sentence = gap(&gaps, None).open(&forbidden()).unwrap();
        assert!(sentence.ends_with("the chart's watchNamespaces"), "{sentence}");
    }

    #[test]
    fn a_gap_is_open_until_the_objects_are_known_or_nobody_asks_for_them() {
        let gaps = Gaps::default();
        let (mut one, mut other) = (gap(&gaps, None), gap(&gaps, None));
        let sentence = one.open(&forbidden()).unwrap();
        assert_eq!(one.open(&forbidden()), None);
        other.open(&forbidden());
        assert_eq!(gaps.sentences(), [sentence].into());
        one.close();
        assert_eq!(gaps.sentences().len(), 1);
        drop(other);
        assert!(gaps.sentences().is_empty());
    }

    #[test]
    fn a_watch_that_has_fallen_behind_has_no_gap() {
        let gaps = Gaps::default();
        let expired = Status::failure("too old resource version", "Expired").with_code(410);
        let error = watcher::Error::WatchError(expired.boxed());
        assert_eq!(gap(&gaps, None).open(&error), None);
        assert!(gaps.sentences().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_lasts_is_said_again_after_some_minutes() {
        let gaps = Gaps::default();
        let mut gap = gap(&gaps, None);
        gap.open(&forbidden());
        let first = gap.said.clone();
        advance(REPEATED / 2).await;
        gap.open(&forbidden());
        assert_eq!(gap.said, first);
        advance(REPEATED).await;
        gap.open(&forbidden());
        assert_ne!(gap.said, first);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_fails_no_more_goes_on() {
        let gaps = Gaps::default();
        let mut gap = gap(&gaps, None);
        gap.open(&forbidden());
        advance(OVER / 2).await;
        assert_eq!(gaps.sentences().len(), 1);
        advance(OVER).await;
        assert!(gaps.sentences().is_empty());
    }
}
