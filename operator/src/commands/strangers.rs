//! Objects that nothing is said about, because what they belong to is not in the folder.

use operator_core::{
    api::{ParentReference, Route},
    object::ObjectKey,
    snapshot::Snapshot,
};

use crate::source::ObjectId;

/// Gateways whose class, and each `HTTPRoute` all of whose parents are somewhere else, each with what is missing.
///
/// That need not be wrong, as a repository may hold only part of the objects; but nothing of them is checked.
pub(super) fn strangers(snapshot: &Snapshot) -> Vec<(ObjectId, String)> {
    let stranger = |kind, key: &ObjectKey, missing| {
        (
            ObjectId {
                kind,
                key: key.clone(),
            },
            missing,
        )
    };
    let gateways = snapshot.gateways.iter().filter_map(|(key, gateway)| {
        let class = ObjectKey::new("", &gateway.spec.gateway_class_name);
        let is_here = snapshot.gateway_classes.contains_key(&class);
        (!is_here).then(|| stranger("Gateway", key, format!("GatewayClass {}", class.name)))
    });
    let routes = snapshot.http_routes.iter().filter_map(|(key, route)| {
        let (namespace, parents) = (&key.namespace, route.parent_refs());
        let some_are_here = parents.iter().any(|parent| is_here(snapshot, namespace, parent));
        if parents.is_empty() || some_are_here {
            return None;
        }
        let names: Vec<String> = parents.iter().map(|parent| name(namespace, parent)).collect();
        Some(stranger("HTTPRoute", key, names.join(" and ")))
    });
    gateways.chain(routes).collect()
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
