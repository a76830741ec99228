//! One object of a cluster: applied, deleted.

use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
};
use operator_core::{infra::ObjectKind, object::ObjectKey};
use serde_json::{Value, json};

use super::{family::Family, owned::resource};
use crate::refusal::is_of_terminating_namespace;

/// Who we are to the API server among those that change an object.
const FIELD_MANAGER: &str = "flotilla";

/// Who says how many pods there are where we do not, until somebody else does.
const REPLICAS_MANAGER: &str = "flotilla-replicas";

/// Why an object is not as wanted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Somebody else has an object where ours should be.
    #[error("{kind} {key} exists already and was not made by Flotilla; delete or rename it")]
    Foreign {
        /// Such as `Service`.
        kind: &'static str,
        /// The object.
        key: ObjectKey,
    },
    /// The API server does not do as asked.
    #[error("the API server does not take {kind} {key}: {reason}")]
    Refused {
        /// Such as `Service`.
        kind: &'static str,
        /// The object.
        key: ObjectKey,
        /// In the words of the API server.
        reason: String,
    },
    /// The namespace is on its way out and takes nothing new.
    #[error("namespace {namespace} is being deleted, so nothing is made in it")]
    NamespaceTerminating {
        /// Its name.
        namespace: String,
    },
}

/// Makes an object as it is in a manifest, as far as that says, and leaves the rest of it to others.
///
/// One that is new to us must not be there already unless it is of the family, if one is given.
pub(super) async fn apply(
    client: &Client,
    kind: ObjectKind,
    key: &ObjectKey,
    manifest: &Value,
    new_to: Option<&Family>,
) -> Result<DynamicObject, Error> {
    let objects = api(client, kind, key);
    let refused = |error| refused(kind, key, error);
    if let Some(family) = new_to {
        let existing = objects.get_opt(&key.name).await.map_err(refused)?;
        if existing.is_some_and(|object| !family.has(object.labels())) {
            return Err(Error::Foreign {
                kind: kind.kind,
                key: key.clone(),
            });
        }
    } else if kind.kind == "Deployment" && manifest["spec"]["replicas"].is_null() {
        leave_replicas(&objects, &key.name).await.map_err(refused)?;
    }
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    objects
        .patch(&key.name, &parameters, &Patch::Apply(manifest))
        .await
        .map_err(refused)
}

/// Leaves a Deployment's number of pods as it is where we said it until now: were it only missing from what we apply, it
/// would fall back to one before anybody else says it.
///
/// See <https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership>.
async fn leave_replicas(objects: &Api<DynamicObject>, name: &str) -> kube::Result<()> {
    let Some(existing) = objects.get_opt(name).await? else {
        return Ok(());
    };
    let is_ours = existing.managed_fields().iter().any(|entry| {
        let fields = entry.fields_v1.as_ref();
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && fields.is_some_and(|fields| !fields.0["f:spec"]["f:replicas"].is_null())
    });
    if is_ours {
        let replicas = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {"replicas": existing.data["spec"]["replicas"]},
        });
        let parameters = PatchParams::apply(REPLICAS_MANAGER).force();
        objects.patch(name, &parameters, &Patch::Apply(replicas)).await?;
    }
    Ok(())
}

/// Deletes an object, unless another one has taken its name.
pub(super) async fn delete(
    client: &Client,
    kind: ObjectKind,
    key: &ObjectKey,
    uid: String,
) -> Result<(), Error> {
    let parameters = DeleteParams::background().preconditions(Preconditions {
        uid: Some(uid),
        resource_version: None,
    });
    match api(client, kind, key).delete(&key.name, &parameters).await {
        Ok(_) => Ok(()),
        // It is gone, or another one is there now.
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
        Err(error) => Err(refused(kind, key, error)),
    }
}

fn api(client: &Client, kind: ObjectKind, key: &ObjectKey) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), &key.namespace, &resource(&kind))
}

fn refused(kind: ObjectKind, key: &ObjectKey, error: kube::Error) -> Error {
    if is_of_terminating_namespace(&error) {
        return Error::NamespaceTerminating {
            namespace: key.namespace.clone(),
        };
    }
    let reason = match error {
        kube::Error::Api(status) => status.message,
        other => other.to_string(),
    };
    Error::Refused {
        kind: kind.kind,
        key: key.clone(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::http::Method;
    use operator_core::infra::{Cluster, GATEWAY_NAME_LABEL, KINDS};
    use parking_lot::Mutex;

    use super::*;
    use crate::mock;

    /// What comes of applying a new ServiceAccount of a gateway beside one with this label and the operator's; and the
    /// queries of what was written.
    async fn applied(label: &'static str) -> (Result<DynamicObject, Error>, Vec<String>) {
        let writes = Arc::new(Mutex::new(Vec::new()));
        let cluster = Cluster::default();
        let (controller, ours) = cluster.controller_label();
        let client = mock::client({
            let writes = writes.clone();
            move |asked| {
                assert_eq!(
                    asked.path,
                    "/api/v1/namespaces/default/serviceaccounts/flotilla-edge"
                );
                if asked.method == Method::PATCH {
                    writes.lock().push(asked.query);
                }
                let labels = json!({(controller): ours, (label): "edge"});
                let metadata = json!({"namespace": "default", "name": "flotilla-edge", "labels": labels});
                Some((
                    200,
                    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
                ))
            }
        });
        let key = ObjectKey::new("default", "flotilla-edge");
        let result = apply(
            &client,
            KINDS[0],
            &key,
            &json!({}),
            Some(&Family::of_gateways(&cluster)),
        )
        .await;
        let writes = writes.lock().clone();
        (result, writes)
    }

    #[tokio::test]
    async fn an_object_of_ours_is_applied_under_our_name() {
        let (result, writes) = applied(GATEWAY_NAME_LABEL).await;
        assert!(result.is_ok());
        assert_eq!(writes, ["&force=true&fieldManager=flotilla"]);
    }

    #[tokio::test]
    async fn an_object_of_somebody_else_is_left_alone() {
        let (result, writes) = applied("app").await;
        assert_eq!(
            result.unwrap_err().to_string(),
            "ServiceAccount default/flotilla-edge exists already and was not made by Flotilla; delete or rename it"
        );
        assert_eq!(writes, [""; 0]);
    }

    /// The field managers of what is written when a Deployment that has three pods is applied without saying how many.
    async fn managers(said_by: &str) -> Vec<String> {
        let writes = Arc::new(Mutex::new(Vec::new()));
        let said_by = said_by.to_owned();
        let client = mock::client({
            let writes = writes.clone();
            move |asked| {
                if asked.method == Method::PATCH {
                    let manager = asked.query.split("fieldManager=").last().unwrap_or_default();
                    writes.lock().push(manager.to_owned());
                }
                let replicas = json!({"f:spec": {"f:replicas": {}}});
                Some((
                    200,
                    json!({
                        "apiVersion": "apps/v1",
                        "kind": "Deployment",
                        "metadata": {"name": "flotilla-edge", "managedFields": [
                            {"manager": said_by, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": replicas},
                        ]},
                        "spec": {"replicas": 3},
                    }),
                ))
            }
        });
        let deployment = KINDS.into_iter().find(|kind| kind.kind == "Deployment").unwrap();
        let key = ObjectKey::new("default", "flotilla-edge");
        let result = apply(&client, deployment, &key, &json!({"spec": {}}), None).await;
        assert!(result.is_ok());
        writes.lock().clone()
    }

    #[tokio::test]
    async fn the_number_of_pods_stays_when_it_is_no_longer_ours_to_say() {
        assert_eq!(managers("flotilla").await, ["flotilla-replicas", "flotilla"]);
        assert_eq!(managers("kube-controller-manager").await, ["flotilla"]);
    }
}
