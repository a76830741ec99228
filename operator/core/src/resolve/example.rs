//! Snapshots for tests, written as YAML.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{Resolved, backend::Backends, backend_tls::Policies, grant::Grants, inference, picking::Pickers};
use crate::{
    object::ObjectKey, observed::Observed, options::Options, outcome::Needs, snapshot::Snapshot, with_kinds,
};

/// A class of ours and a Gateway `default/edge` with the listeners `web` (port 80, routes of its own namespace, hosts
/// below `example.com`) and `open` (port 8080, routes of every namespace, all hosts).
pub(crate) const GATEWAY: &str = "
kind: GatewayClass
metadata: {name: ours}
spec: {controllerName: flotilla.dev/gateway-controller}
---
kind: Gateway
metadata: {namespace: default, name: edge, generation: 1}
spec:
  gatewayClassName: ours
  listeners:
  - {name: web, port: 80, protocol: HTTP, hostname: '*.example.com'}
  - {name: open, port: 8080, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
";

/// The objects of YAML documents.
pub(crate) fn snapshot(documents: &[&str]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for document in documents {
        let objects: Vec<Value> = serde_saphyr::from_multiple(document).expect("documents are YAML");
        for object in objects {
            insert(&mut snapshot, object);
        }
    }
    snapshot
}

/// What [`GATEWAY`] and further YAML documents mean.
pub(crate) fn resolved(documents: &[&str]) -> Resolved {
    super::resolve(
        &snapshot(&[&[GATEWAY], documents].concat()),
        &Observed::default(),
        &Options::default(),
    )
}

/// What comes of backend references among these objects.
pub(super) fn with_backends<T>(snapshot: &Snapshot, resolve: impl FnOnce(&Backends<'_>) -> T) -> T {
    let grants = Grants::new(snapshot);
    let policies = Policies::new(snapshot, &grants, &mut Needs::default());
    let pools = inference::resolve(&Pickers {
        snapshot,
        policies: &policies,
        ours: &BTreeMap::new(),
        authorities: "",
    });
    resolve(&Backends {
        snapshot,
        grants: &grants,
        policies: &policies,
        pools: &pools,
    })
}

fn insert(snapshot: &mut Snapshot, object: Value) {
    macro_rules! insert {
        ($($field:ident: $type:ty = $kind:literal),* $(,)?) => {
            match object["kind"].as_str() {
                $(Some($kind) => {
                    let object: $type = serde_json::from_value(object).expect($kind);
                    snapshot.$field.insert(ObjectKey::of(&object), Arc::new(object));
                })*
                kind => panic!("no kind is called {kind:?}"),
            }
        };
    }
    with_kinds!(insert);
}
