//! One object of a cluster: applied, deleted.

use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
};
use operator_core::{infra::ObjectKind, object::ObjectKey};
use serde_json::Value;

use super::owned::resource;

/// Who we are to the API server among those that change an object.
const FIELD_MANAGER: &str = "flotilla";

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
}

/// Makes an object as it is in a manifest, as far as that says, and leaves the rest of it to others.
///
/// One that is new to us must not be there already without our label, given as `key=value`.
pub(super) async fn apply(
    client: &Client,
    kind: ObjectKind,
    key: &ObjectKey,
    manifest: &Value,
    new_with_label: Option<&str>,
) -> Result<DynamicObject, Error> {
    let objects = api(client, kind, key);
    let refused = |error| refused(kind, key, error);
    if let Some(label) = new_with_label {
        let existing = objects.get_opt(&key.name).await.map_err(refused)?;
        let is_ours = |object: DynamicObject| {
            let mut labels = object.labels().iter();
            labels.any(|(key, value)| format!("{key}={value}") == label)
        };
        if existing.is_some_and(|object| !is_ours(object)) {
            return Err(Error::Foreign {
                kind: kind.kind,
                key: key.clone(),
            });
        }
    }
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    objects
        .patch(&key.name, &parameters, &Patch::Apply(manifest))
        .await
        .map_err(refused)
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
    use operator_core::infra::KINDS;
    use parking_lot::Mutex;
    use serde_json::json;

    use super::*;
    use crate::mock;

    /// What comes of applying a new ServiceAccount beside one with these labels; and the queries of what was written.
    async fn applied(labels: Value) -> (Result<DynamicObject, Error>, Vec<String>) {
        let writes = Arc::new(Mutex::new(Vec::new()));
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
            Some("flotilla.dev/controller=ours"),
        )
        .await;
        let writes = writes.lock().clone();
        (result, writes)
    }

    #[tokio::test]
    async fn an_object_of_ours_is_applied_under_our_name() {
        let (result, writes) = applied(json!({"flotilla.dev/controller": "ours"})).await;
        assert!(result.is_ok());
        assert_eq!(writes, ["&force=true&fieldManager=flotilla"]);
    }

    #[tokio::test]
    async fn an_object_of_somebody_else_is_left_alone() {
        let (result, writes) = applied(json!({"flotilla.dev/controller": "theirs"})).await;
        assert_eq!(
            result.unwrap_err().to_string(),
            "ServiceAccount default/flotilla-edge exists already and was not made by Flotilla; delete or rename it"
        );
        assert_eq!(writes, [""; 0]);
    }
}
