//! Snapshots from YAML, for tests.

use std::sync::Arc;

use crate::{object::ObjectKey, snapshot::Snapshot, with_kinds};

/// The objects of YAML documents, with a GatewayClass `ours` that names our controller.
///
/// # Panics
/// Where a document is no object of a known kind.
pub(crate) fn snapshot(documents: &str) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let class =
        "kind: GatewayClass\nmetadata: {name: ours}\nspec: {controllerName: flotilla.dev/gateway-controller}";
    for document in documents.split("\n---\n").chain([class]) {
        insert(&mut snapshot, document);
    }
    snapshot
}

fn insert(snapshot: &mut Snapshot, document: &str) {
    let value: serde_json::Value = serde_saphyr::from_str(document).expect("the document is YAML");
    let kind = value["kind"].as_str().expect("the object has a kind");
    macro_rules! insert_as_its_kind {
        ($($field:ident: $type:ty = $kind:literal,)*) => {
            match kind {
                $($kind => {
                    let object: $type = serde_saphyr::from_str(document).expect($kind);
                    snapshot.$field.insert(ObjectKey::of(&object), Arc::new(object));
                })*
                kind => panic!("{kind} is a kind that is watched"),
            }
        };
    }
    with_kinds!(insert_as_its_kind);
}
