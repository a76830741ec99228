//! The pods of a family, from the moment that the cluster has made them.

use std::{collections::BTreeMap, pin::pin, sync::Arc};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::ApiResource,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use operator_core::object::ObjectKey;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Site, family::Family, obstacle::obstacle};
use crate::{
    gaps::Gap,
    parts::Parts,
    source::{Doubling, places},
};

/// Follows the pods of a family; of each nothing is kept but whose it is and what keeps it from serving.
#[derive(Clone)]
pub(super) struct Pods {
    family: Family,
    seen: Arc<Mutex<BTreeMap<ObjectKey, Seen>>>,
    /// Woken whenever one has come or gone, or something else keeps it from serving.
    pub(super) changed: Arc<Notify>,
}

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// Name of its ServiceAccount, which all objects of its owner share.
    account: String,
    obstacle: Option<String>,
}

impl Pods {
    /// Has parts follow the pods of a family.
    pub(super) fn follow(parts: &mut Parts, site: &Site, family: &Family) -> Self {
        let pods = Self {
            family: family.clone(),
            seen: Arc::default(),
            changed: Arc::default(),
        };
        for namespace in places(&site.namespaces) {
            let gap = site
                .gaps
                .of_watch(ApiResource::erase::<Pod>(&()), namespace.clone());
            let watch = pods
                .clone()
                .watch(site.client.clone(), gap, namespace, family.selector());
            parts.run(format!("watch of each pod of a {}", family.runs), watch);
        }
        pods
    }

    /// The pods of an owner by name, each with what keeps it from serving.
    pub(super) fn of(&self, owner: &ObjectKey) -> BTreeMap<String, Option<String>> {
        let objects = self.family.objects(owner);
        let seen = self.seen.lock();
        let pods = seen
            .range(ObjectKey::new(&owner.namespace, "")..)
            .take_while(|(pod, _)| pod.namespace == owner.namespace)
            .filter(|(_, seen)| seen.account == objects.name);
        pods.map(|(pod, seen)| (pod.name.clone(), seen.obstacle.clone()))
            .collect()
    }

    async fn watch(self, client: Client, mut gap: Gap, namespace: Option<String>, selector: String) {
        let pods: Api<Pod> = match &namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let mut events =
            pin!(watcher(pods, watcher::Config::default().labels(&selector)).backoff(Doubling::default()));
        let mut listed = BTreeMap::new();
        while let Some(event) = events.next().await {
            let mut seen = self.seen.lock();
            gap.heed(&event);
            let is_news = match event {
                Ok(Event::Init) => {
                    listed.clear();
                    false
                }
                Ok(Event::InitApply(pod)) => {
                    listed.extend(self.look(&pod).map(|seen| (ObjectKey::of(&pod), seen)));
                    false
                }
                Ok(Event::InitDone) => {
                    let is_elsewhere =
                        |pod: &ObjectKey| namespace.as_ref().is_some_and(|here| *here != pod.namespace);
                    seen.retain(|pod, _| is_elsewhere(pod));
                    seen.append(&mut listed);
                    true
                }
                Ok(Event::Apply(pod)) => {
                    let (key, new) = (ObjectKey::of(&pod), self.look(&pod));
                    let old = match new.clone() {
                        Some(new) => seen.insert(key, new),
                        None => seen.remove(&key),
                    };
                    old != new
                }
                Ok(Event::Delete(pod)) => seen.remove(&ObjectKey::of(&pod)).is_some(),
                Err(error) => {
                    // What is stored stays; without any, statuses say less.
                    gap.open(&error);
                    false
                }
            };
            if is_news {
                self.changed.notify_one();
            }
        }
    }

    /// What is kept of a pod; nothing of one that is on its way out, or has ended and is only remembered.
    fn look(&self, pod: &Pod) -> Option<Seen> {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let stays =
            pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Failed" | "Succeeded"));
        stays.then(|| Seen {
            account: pod
                .spec
                .as_ref()
                .and_then(|spec| spec.service_account_name.clone())
                .unwrap_or_default(),
            obstacle: obstacle(pod, self.family.remedies),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use operator_core::infra::Cluster;
    use serde_json::{Value, json};
    use tokio::{sync::watch, time::timeout};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{gaps::Gaps, mock, stores::Writers};

    fn pod(namespace: &str, name: &str, account: &str, status: &Value) -> Value {
        json!({
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"serviceAccountName": account, "containers": []},
            "status": status,
        })
    }

    #[tokio::test]
    async fn the_pods_of_a_gateway_are_those_of_its_account_that_stay() {
        let client = mock::client(|asked| {
            assert_eq!(asked.path, "/api/v1/pods");
            assert!(
                asked.query.contains("labelSelector=flotilla.dev%2Fcontroller"),
                "{}",
                asked.query
            );
            let mut going = pod("default", "edge-3", "flotilla-edge", &Value::Null);
            going["metadata"]["deletionTimestamp"] = json!("2026-11-22T00:00:00Z");
            let unscheduled =
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "no node"}]});
            Some(mock::list(&[
                pod("default", "edge-1", "flotilla-edge", &json!({"phase": "Running"})),
                pod("default", "edge-2", "flotilla-edge", &unscheduled),
                going,
                pod("default", "edge-4", "flotilla-edge", &json!({"phase": "Failed"})),
                pod("default", "other-1", "flotilla-other", &Value::Null),
                pod("other", "edge-1", "flotilla-edge", &Value::Null),
            ]))
        });
        let mut parts = Parts::new(CancellationToken::new());
        let family = Family::of_gateways(&Cluster::default());
        let site = Site {
            client,
            gaps: Gaps::default(),
            namespaces: Vec::new(),
            leads: watch::channel(false).1,
            stores: Writers::default().stores(),
        };
        let pods = Pods::follow(&mut parts, &site, &family);
        timeout(Duration::from_secs(20), pods.changed.notified())
            .await
            .unwrap();
        let of_edge = pods.of(&ObjectKey::new("default", "edge"));
        let names: Vec<(&str, bool)> = of_edge
            .iter()
            .map(|(name, obstacle)| (name.as_str(), obstacle.is_some()))
            .collect();
        assert_eq!(names, [("edge-1", false), ("edge-2", true)]);
    }
}
