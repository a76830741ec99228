//! Objects that nothing is said about, because what they belong to is not in the folder.

use operator_core::{
    api::{ParentReference, Route},
    object::ObjectKey,
    snapshot::Snapshot,
};

use crate::source::ObjectId;

/// Gateways whose class, and routes all of whose parents, are somewhere else, each with what is missing.
///
/// That need not be wrong, as a repository may hold only part of the objects; but nothing of them is checked.
pub(super) fn strangers(snapshot: &Snapshot) -> Vec<(ObjectId, String)> {
    let mut strangers = Vec::new();
    for (key, gateway) in &snapshot.gateways {
        let class = &gateway.spec.gateway_class_name;
        if !snapshot.gateway_classes.contains_key(&ObjectKey::new("", class)) {
            strangers.push((
                ObjectId {
                    kind: "Gateway",
                    key: key.clone(),
                },
                format!("GatewayClass {class}"),
            ));
        }
    }
    for (key, route) in &snapshot.http_routes {
        let parents = route.parent_refs();
        if !parents.is_empty()
            && !parents
                .iter()
                .any(|parent| is_here(snapshot, &key.namespace, parent))
        {
            let names: Vec<String> = parents
                .iter()
                .map(|parent| name(&key.namespace, parent))
                .collect();
            strangers.push((
                ObjectId {
                    kind: "HTTPRoute",
                    key: key.clone(),
                },
                names.join(" and "),
            ));
        }
    }
    strangers
}

fn is_here(snapshot: &Snapshot, namespace: &str, parent: &ParentReference) -> bool {
    let key = key(namespace, parent);
    match parent.kind() {
        "Gateway" => snapshot.gateways.contains_key(&key),
        "ListenerSet" => snapshot.listener_sets.contains_key(&key),
        // A Service of a mesh, say.
        _ => true,
    }
}

fn name(namespace: &str, parent: &ParentReference) -> String {
    format!("{} {}", parent.kind(), key(namespace, parent))
}

fn key(namespace: &str, parent: &ParentReference) -> ObjectKey {
    ObjectKey::new(parent.namespace.as_deref().unwrap_or(namespace), &parent.name)
}
