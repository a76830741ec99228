//! Objects from YAML, as the API server would hold them.

use std::sync::Arc;

use operator_core::{object::ObjectKey, snapshot::Snapshot, with_kinds};
use serde::Deserialize;
use serde_json::{Value, json};

/// Kinds whose objects are in no namespace.
const CLUSTER_WIDE: [&str; 2] = ["GatewayClass", "Namespace"];

/// Puts a document into the snapshot, with the namespace that it is in; a snapshot has one object of each name.
pub(crate) fn insert(snapshot: &mut Snapshot, mut document: Value) -> serde_json::Result<()> {
    let kind = document["kind"].as_str().unwrap_or_default().to_owned();
    let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) else {
        return Err(serde::de::Error::custom("metadata is missing"));
    };
    metadata.entry("generation").or_insert(json!(1));
    if CLUSTER_WIDE.contains(&kind.as_str()) {
        metadata.remove("namespace");
    } else {
        let namespace = metadata.entry("namespace").or_insert(json!("default"));
        let namespace = namespace.as_str().unwrap_or_default().to_owned();
        let labels = json!({ "metadata": { "name": namespace, "labels": { "kubernetes.io/metadata.name": namespace } } });
        let labelled = Arc::new(serde_json::from_value(labels)?);
        let key = ObjectKey::new("", namespace);
        snapshot.namespaces.entry(key).or_insert(labelled);
    }
    macro_rules! insert {
        ($($field:ident: $type:ty = $kind:literal,)*) => {
            match kind.as_str() {
                $($kind => {
                    let object = <$type>::deserialize(document)?;
                    snapshot.$field.insert(ObjectKey::of(&object), Arc::new(object));
                })*
                other => return Err(serde::de::Error::unknown_variant(other, &[])),
            }
        };
    }
    with_kinds!(insert);
    Ok(())
}
