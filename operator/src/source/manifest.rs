//! One object as a file has it.

use std::sync::{Arc, LazyLock};

use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use operator_core::object::ObjectKey;
use serde_json::{Map, Value, json};

use super::{
    kinds::{Decoded, Kind, Object, ObjectId, kinds},
    names::NameRule,
    problem::Severity,
};
use crate::digest::digest;

/// An object as a file has it, and as the API server would have taken it.
#[derive(Clone)]
pub(crate) struct Manifest {
    /// Which object.
    pub id: ObjectId,
    /// Its content.
    pub object: Arc<dyn Object>,
    /// Paths of fields that its kind has not, which say nothing to anybody.
    pub unknown: Vec<String>,
    /// Digest of everything but metadata.
    pub spec: String,
    /// Digest of everything.
    pub content: String,
}

/// Why a document became no object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// How bad that is.
    pub severity: Severity,
    /// Whether an earlier version of the object, if there is one, goes on.
    pub keeps_earlier: bool,
    /// What, and what to do.
    pub message: String,
}

impl Refusal {
    fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            keeps_earlier: false,
            message: message.into(),
        }
    }
}

impl Manifest {
    /// The object in a document; `None` for the kinds of a cluster that are none of our business.
    pub(crate) fn read(mut content: Value) -> Result<Option<Self>, Refusal> {
        let text = |field: &str| {
            content
                .get(field)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let (Some(api_version), Some(name)) = (text("apiVersion"), text("kind")) else {
            return Err(no_object(&content));
        };
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let Some(kind) = KINDS.iter().find(|kind| kind.name == name && kind.group == group) else {
            return unread(group, version, name).map_or(Ok(None), Err);
        };
        if !kind.reads(version) {
            let known = join(&kind.group, &kind.version);
            return Err(Refusal::error(format!(
                "{name}: version {api_version} is not supported; use {known}"
            )));
        }
        content["apiVersion"] = join(&kind.group, &kind.version).into();
        let key = key(kind, &content)?;
        let id = ObjectId { kind: kind.name, key };
        complete(&id, kind, &mut content)?;

        let mut spec = content.clone();
        spec.as_object_mut().map(|fields| fields.remove("metadata"));
        let digests = (digest(spec.to_string()), digest(content.to_string()));
        let Decoded { object, unknown } = (kind.decode)(content).map_err(|message| Refusal {
            keeps_earlier: true,
            ..Refusal::error(format!("{id}: {message}"))
        })?;
        Ok(Some(Self {
            id,
            object,
            unknown,
            spec: digests.0,
            content: digests.1,
        }))
    }

    /// The Namespace that an object in it implies.
    pub(crate) fn implied_namespace(name: &str) -> Self {
        let content = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        Self::read(content)
            .ok()
            .flatten()
            .expect("the namespace of an object has a valid name")
    }

    /// The part of the metadata that is the user's.
    pub(crate) fn metadata(&self) -> ObjectMeta {
        let ObjectMeta {
            name,
            namespace,
            labels,
            annotations,
            creation_timestamp,
            ..
        } = self.object.metadata().clone();
        ObjectMeta {
            name,
            namespace,
            labels,
            annotations,
            creation_timestamp,
            ..ObjectMeta::default()
        }
    }
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(kinds);

/// The groups that our kinds are in, beside the core one: what we do not know in them is a mistake or news.
const OUR_GROUPS: [&str; 4] = [
    "flotilla.dev",
    "gateway.networking.k8s.io",
    "gateway.networking.x-k8s.io",
    "inference.networking.k8s.io",
];

/// What else the core group has.
const OTHER_CORE_KINDS: [&str; 13] = [
    "Binding",
    "ComponentStatus",
    "Endpoints",
    "Event",
    "LimitRange",
    "List",
    "Node",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PodTemplate",
    "ReplicationController",
    "ResourceQuota",
    "ServiceAccount",
];

/// What to say of a document without a kind: a slip, or the values of a chart and the like.
fn no_object(content: &Value) -> Refusal {
    let telling = ["apiVersion", "kind", "metadata", "spec"];
    let for_others = content
        .as_object()
        .is_some_and(|fields| telling.iter().all(|field| !fields.contains_key(*field)));
    Refusal {
        severity: if for_others {
            Severity::Note
        } else {
            Severity::Error
        },
        ..Refusal::error("no Kubernetes object: apiVersion and kind are missing")
    }
}

/// What to say of a kind that is not read; `None` if that needs no words.
fn unread(group: &str, version: &str, name: &str) -> Option<Refusal> {
    let of_kubernetes = !group.contains('.') || group.ends_with(".k8s.io");
    let api_version = join(group, version);
    let closest = KINDS.iter().find(|kind| kind.name.eq_ignore_ascii_case(name));
    if let Some(kind) =
        closest.filter(|kind| OUR_GROUPS.contains(&group) || group.is_empty() || kind.group.is_empty())
    {
        let (expected, api_version) = (join(&kind.group, &kind.version), format!("{api_version} {name}"));
        return Some(Refusal::error(format!(
            "unknown kind {api_version}; did you mean {expected} {}?",
            kind.name
        )));
    }
    if OUR_GROUPS.contains(&group) || group.is_empty() && !OTHER_CORE_KINDS.contains(&name) {
        return Some(Refusal::error(format!(
            "unknown kind {api_version} {name}; it is left out"
        )));
    }
    let message = format!("{api_version} {name} is not read");
    (!of_kubernetes).then(|| Refusal {
        severity: Severity::Note,
        ..Refusal::error(message)
    })
}

fn join(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// Namespace and name, as far as the API server would take them.
fn key(kind: &Kind, content: &Value) -> Result<ObjectKey, Refusal> {
    let name = metadata_text(kind.name, content, "name")?
        .ok_or_else(|| Refusal::error(format!("{}: metadata.name is missing", kind.name)))?;
    let object = format!("{} {name}", kind.name);
    let namespace = if kind.namespaced {
        let namespace = metadata_text(&object, content, "namespace")?;
        namespace
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or("default")
    } else {
        ""
    };
    if let Some(objection) = kind.name_rule.objection(name) {
        return Err(Refusal::error(format!(
            "{}: metadata.name {name:?} {objection}",
            kind.name
        )));
    }
    if let Some(objection) = NameRule::Label.objection(namespace).filter(|_| kind.namespaced) {
        return Err(Refusal::error(format!(
            "{object}: metadata.namespace {namespace:?} {objection}"
        )));
    }
    Ok(ObjectKey::new(namespace, name))
}

/// A field of the metadata of that object; `None` if it is absent.
fn metadata_text<'content>(
    object: &str,
    content: &'content Value,
    field: &str,
) -> Result<Option<&'content str>, Refusal> {
    match &content["metadata"][field] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        other => Err(Refusal::error(format!(
            "{object}: metadata.{field} {other} is no text; put it in quotes"
        ))),
    }
}

/// Does what the API server does to an object as it comes in.
fn complete(id: &ObjectId, kind: &Kind, content: &mut Value) -> Result<(), Refusal> {
    let not_a_map = |field: &str| Refusal::error(format!("{id}: {field} must be a map"));
    let fields = content.as_object_mut().ok_or_else(|| not_a_map("the document"))?;
    // Statuses are for controllers to write. Those of the core group are facts, for nobody here writes them.
    if !kind.group.is_empty() {
        fields.remove("status");
    }
    let metadata = fields
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .ok_or_else(|| not_a_map("metadata"))?;
    metadata.retain(|field, _| {
        matches!(
            field.as_str(),
            "name" | "labels" | "annotations" | "creationTimestamp"
        )
    });
    if kind.namespaced {
        metadata.insert("namespace".to_owned(), id.key.namespace.clone().into());
    }
    match id.kind {
        "Namespace" => {
            let labels = map(metadata, "labels").ok_or_else(|| not_a_map("metadata.labels"))?;
            labels.insert(
                "kubernetes.io/metadata.name".to_owned(),
                id.key.name.clone().into(),
            );
        }
        "Secret" => {
            let Some(plain) = fields.remove("stringData").filter(|plain| !plain.is_null()) else {
                return Ok(());
            };
            let Value::Object(plain) = plain else {
                return Err(not_a_map("stringData"));
            };
            let data = map(fields, "data").ok_or_else(|| not_a_map("data"))?;
            for (field, text) in plain {
                let Value::String(text) = text else {
                    return Err(Refusal::error(format!(
                        "{id}: stringData.{field} is no text; put it in quotes"
                    )));
                };
                let encoded =
                    serde_json::to_value(ByteString(text.into_bytes())).expect("bytes are a JSON string");
                data.insert(field, encoded);
            }
        }
        // Nobody probes it.
        "Pod" => {
            let status = map(fields, "status").ok_or_else(|| not_a_map("status"))?;
            status
                .entry("conditions")
                .or_insert_with(|| json!([{"type": "Ready", "status": "True"}]));
        }
        _ => {}
    }
    Ok(())
}

/// The map in a field, made if it is absent; `None` if something else is there.
fn map<'map>(fields: &'map mut Map<String, Value>, name: &str) -> Option<&'map mut Map<String, Value>> {
    let field = fields.entry(name).or_insert_with(|| json!({}));
    if field.is_null() {
        *field = json!({});
    }
    field.as_object_mut()
}
