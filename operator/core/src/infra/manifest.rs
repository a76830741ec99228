//! What the manifests of all objects have in common.

use std::collections::BTreeMap;

use kube::Resource;
use serde_json::{Value, json};

use super::ObjectKind;
use crate::{object::ObjectKey, syntax::digest};

/// The annotation with a digest of what was wanted, so that an object shows whether it was made of something else.
pub(super) const WANTED_ANNOTATION: &str = "flotilla.dev/wanted";

/// One object that must be there.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What it is.
    pub kind: ObjectKind,
    /// Whole, but for what the API server adds; `None` for one that may stay as it is, or stay away.
    pub manifest: Option<Value>,
}

/// What an object has beside the content that is its own.
pub(super) struct Metadata<'a> {
    /// Namespace and name.
    pub(super) key: ObjectKey,
    /// What it goes with.
    pub(super) owner: Owner<'a>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// The object that another one goes with when it is deleted.
pub(super) struct Owner<'a> {
    /// Group, version and kind.
    type_: (String, String),
    name: &'a str,
    /// Empty where nobody gave it one: then nothing goes with it.
    uid: &'a str,
}

impl<'a> Owner<'a> {
    /// An object of that kind.
    pub(super) fn of<K: Resource<DynamicType = ()>>(name: &'a str, uid: &'a str) -> Self {
        let type_ = (K::api_version(&()).into_owned(), K::kind(&()).into_owned());
        Self { type_, name, uid }
    }
}

impl Object {
    /// One that may stay as it is, or stay away.
    pub(super) fn as_it_is(kind: ObjectKind) -> Self {
        Self { kind, manifest: None }
    }

    /// One with the content that is its own, and all the rest that objects have.
    pub(super) fn new(kind: ObjectKind, mut content: Value, metadata: Metadata<'_>) -> Self {
        let Metadata {
            key: ObjectKey { namespace, name },
            owner,
            labels,
            mut annotations,
        } = metadata;
        let wanted = digest([
            content.to_string().as_bytes(),
            json!([labels, annotations]).to_string().as_bytes(),
        ]);
        annotations.insert(WANTED_ANNOTATION.to_owned(), wanted);
        content["apiVersion"] = kind.api_version().into();
        content["kind"] = kind.kind.into();
        content["metadata"] = json!({
            "namespace": namespace,
            "name": name,
            "labels": labels,
            "annotations": annotations,
        });
        if !owner.uid.is_empty() {
            let (api_version, kind) = owner.type_;
            content["metadata"]["ownerReferences"] = json!([{
                "apiVersion": api_version,
                "kind": kind,
                "name": owner.name,
                "uid": owner.uid,
                "controller": true,
                "blockOwnerDeletion": false,
            }]);
        }
        Self {
            kind,
            manifest: Some(content),
        }
    }
}

/// Sets a field to what there is.
pub(super) fn set(object: &mut Value, field: &str, value: Option<&impl serde::Serialize>) {
    if let Some(value) = value {
        object[field] = json!(value);
    }
}

/// The security context of pods that have as few rights as may be, with the number of their user and group.
///
/// See <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>.
pub(super) fn restricted_pod(user: u32) -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

/// The security context of the containers of such pods.
pub(super) fn restricted_container() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

#[cfg(test)]
pub(super) mod tests {
    use serde::{Serialize, de::DeserializeOwned};

    use super::*;
    use crate::infra::covers;

    /// The object as its type; all that it says is something that the type knows.
    pub(in crate::infra) fn typed<K: DeserializeOwned + Serialize>(object: &Value) -> K {
        let typed: K = serde_json::from_value(object.clone()).expect("the object has the shape of its kind");
        let known = serde_json::to_value(&typed).expect("an object serializes");
        assert!(covers(&known, object), "{known:#} lacks something of {object:#}");
        typed
    }
}
