//! Writes statuses to the objects of a cluster.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use operator_core::{
    outcome::{Status, StatusChange},
    with_kinds,
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};

use super::{events::Announcer, time::dated};
use crate::{metrics::Metrics, source::ObjectId};

/// How many statuses are on their way at once.
const AT_ONCE: usize = 16;

/// By when the agents have come to a new leader: what it would say before of gateways that serve well is that nobody
/// serves.
const RECONNECTED: Duration = Duration::from_secs(3);

/// How long to wait before statuses that could not be written are tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// What was written last of each object, and to which version of it: that is not written again, for it is on its way
/// back to us.
type Written = BTreeMap<ObjectId, StatusChange>;

/// Who writes, as Events name it.
#[derive(Clone, Debug)]
pub struct Author {
    /// The `controllerName` of the operator's classes.
    pub controller: String,
    /// Name of this replica.
    pub instance: String,
}

/// Writes what is published as long as this replica leads, for ever.
pub async fn write_to_cluster(
    client: Client,
    author: Author,
    mut statuses: watch::Receiver<Arc<Vec<StatusChange>>>,
    mut leads: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
) {
    let mut written = Written::new();
    let mut announcer = Announcer::new(&client, &author.controller, &author.instance);
    loop {
        if !*leads.borrow_and_update() {
            if leads.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            sleep(RECONNECTED).await;
        }
        let changes = statuses.borrow_and_update().clone();
        let turn = async {
            let failed = write_all(&client, &changes, &mut written, &mut announcer, &metrics).await;
            tokio::select! {
                published = statuses.changed() => published.is_ok(),
                () = sleep(AGAIN), if failed => true,
            }
        };
        tokio::select! {
            goes_on = turn => if !goes_on { return },
            // The next leader may have written something else. What is on its way is its to write.
            _ = leads.changed() => {
                written.clear();
                announcer.forget();
            }
        }
    }
}

/// Writes what was not written yet; whether something failed that may succeed later.
async fn write_all(
    client: &Client,
    changes: &[StatusChange],
    written: &mut Written,
    announcer: &mut Announcer,
    metrics: &Metrics,
) -> bool {
    let wanted: BTreeMap<ObjectId, _> = changes.iter().map(|change| (change.into(), change)).collect();
    written.retain(|id, change| wanted.get(id) == Some(&&*change));
    let news = wanted.into_iter().filter(|(id, _)| !written.contains_key(id));
    let mut writes = Vec::new();
    for (id, change) in news {
        let (client, change) = (client.clone(), change.clone());
        writes.push(async move {
            let result = write(&client, &change).await;
            (id, change, result)
        });
    }
    let results: Vec<_> = stream::iter(writes).buffer_unordered(AT_ONCE).collect().await;
    let mut failed = false;
    for (id, change, result) in results {
        match result {
            Ok(object) => {
                metrics.status_writes.inc();
                if let Some((resource, object)) = &object {
                    announcer.announce(&id, resource, object).await;
                }
                written.insert(id, change);
            }
            // It has changed, or is gone: the watch tells, and the loop comes round again.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {
                tracing::debug!(object = %id, reason = status.message, "the status is of an object that was");
                written.insert(id, change);
            }
            Err(error) => {
                tracing::warn!(object = %id, %error, "cannot write the status, trying again");
                failed = true;
            }
        }
    }
    failed
}

/// Writes one status, unless the object is another than the one that the status is for; the object with its new status.
async fn write(client: &Client, change: &StatusChange) -> kube::Result<Option<(ApiResource, DynamicObject)>> {
    let StatusChange {
        kind,
        object,
        resource_version,
        status,
    } = change;
    let Some(resource) = resource(kind) else {
        return Ok(None);
    };
    let objects: Api<DynamicObject> = if object.namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), &object.namespace, &resource)
    };
    let patch = json!({"metadata": {"resourceVersion": resource_version}, "status": merging(status)});
    let patch = Patch::Merge(patch);
    let object = objects
        .patch_status(&object.name, &PatchParams::default(), &patch)
        .await?;
    Ok(Some((resource, object)))
}

/// The status as a merge patch: what is absent from it has to be said to be gone.
///
/// See <https://www.rfc-editor.org/rfc/rfc7386>.
fn merging(status: &Status) -> Value {
    let optional: &[&str] = match status {
        Status::Gateway(_) => &["addresses", "conditions", "listeners", "attachedListenerSets"],
        Status::GatewayClass(_) => &["conditions", "supportedFeatures"],
        Status::ListenerSet(_) => &["conditions", "listeners"],
        Status::InferencePool(_) => &["parents"],
        Status::NginxFleet(_) => &["conditions"],
        Status::EndpointPicker(_) => &["conditions", "image", "pools"],
        // All that these have is required.
        Status::Route(_) | Status::BackendTlsPolicy(_) => &[],
    };
    let mut patch = dated(status);
    if let Some(fields) = patch.as_object_mut() {
        for field in optional {
            fields.entry(*field).or_insert(Value::Null);
        }
    }
    patch
}

/// Where the API server has the objects of a kind.
fn resource(kind: &str) -> Option<ApiResource> {
    macro_rules! find {
        ($($field:ident: $type:ty = $name:literal),* $(,)?) => {
            match kind {
                $( $name => Some(ApiResource::erase::<$type>(&())), )*
                _ => None,
            }
        };
    }
    with_kinds!(find)
}

#[cfg(test)]
mod tests {
    use operator_core::{api::GatewayStatus, object::ObjectKey};
    use tokio::time::timeout;

    use super::*;
    use crate::mock;

    #[tokio::test]
    async fn who_leads_no_longer_waits_for_no_answer() {
        let (calls, mut called) = watch::channel(0);
        let client = mock::hanging(mock::client(|_| None), move |_| {
            calls.send_modify(|calls| *calls += 1);
            true
        });
        let change = StatusChange {
            kind: "Gateway",
            object: ObjectKey::new("default", "edge"),
            resource_version: None,
            status: Status::Gateway(GatewayStatus::default()),
        };
        let statuses = watch::Sender::new(Arc::new(vec![change]));
        let leads = watch::Sender::new(true);
        let author = Author {
            controller: "flotilla.dev/gateway-controller".to_owned(),
            instance: "flotilla-7".to_owned(),
        };
        let writing = write_to_cluster(
            client,
            author,
            statuses.subscribe(),
            leads.subscribe(),
            Arc::default(),
        );
        let leading = async {
            called.wait_for(|calls| *calls == 1).await.unwrap();
            leads.send_replace(false);
            leads.send_replace(true);
            called.wait_for(|calls| *calls == 2).await.unwrap();
        };
        tokio::select! {
            () = writing => panic!("writing lasts for ever"),
            written = timeout(Duration::from_secs(20), leading) => written.unwrap(),
        }
    }

    #[test]
    fn what_is_absent_is_taken_away() {
        let status = GatewayStatus {
            attached_listener_sets: Some(0),
            ..GatewayStatus::default()
        };
        assert_eq!(
            merging(&Status::Gateway(status)),
            json!({"addresses": null, "conditions": null, "listeners": null, "attachedListenerSets": 0})
        );
    }

    #[test]
    fn every_kind_has_its_place() {
        let resource = resource("HTTPRoute").unwrap();
        assert_eq!(
            (resource.plural.as_str(), resource.api_version.as_str()),
            ("httproutes", "gateway.networking.k8s.io/v1")
        );
        assert!(super::resource("Teapot").is_none());
    }
}
