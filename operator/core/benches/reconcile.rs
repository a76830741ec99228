//! How long one look at everything takes: `cargo bench -p operator-core`.
//!
//! One Gateway with an HTTP listener; each HTTPRoute has a hostname of its own, three rules (an exact
//! path, a prefix with a header, a prefix with two weighted backends), and there are 50 Services with 10 endpoints.

use std::sync::Arc;

use divan::Bencher;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::ResourceExt;
use operator_core::{
    object::ObjectKey, observed::Observed, options::Options, reconcile, snapshot::Objects, snapshot::Snapshot,
};
use serde_json::{Value, json};

fn main() {
    divan::main();
}

#[divan::bench(args = [1_000, 5_000, 10_000])]
fn routes(bencher: Bencher<'_, '_>, routes: usize) {
    let snapshot = snapshot(routes);
    let observed = Observed::default();
    let options = Options::default();
    bencher.bench_local(|| reconcile(&snapshot, &observed, &options));
}

fn snapshot(routes: usize) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let class =
        json!({"metadata": {"name": "flotilla"}, "spec": {"controllerName": Options::CONTROLLER_NAME}});
    insert(&mut snapshot.gateway_classes, class);
    let gateway = json!({
        "metadata": {"namespace": "default", "name": "edge", "generation": 1},
        "spec": {"gatewayClassName": "flotilla", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    });
    insert(&mut snapshot.gateways, gateway);
    for number in 0..50 {
        let name = format!("service-{number}");
        let service = json!({
            "metadata": {"namespace": "default", "name": name},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        });
        insert(&mut snapshot.services, service);
        let addresses = (0..10).map(|host| json!({"addresses": [format!("198.18.{number}.{host}")]}));
        let slice = json!({
            "metadata": {
                "namespace": "default", "name": name, "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": addresses.collect::<Vec<_>>(),
        });
        insert(&mut snapshot.endpoint_slices, slice);
    }
    for number in 0..routes {
        insert(&mut snapshot.http_routes, route(number));
    }
    snapshot
}

fn route(number: usize) -> Value {
    let backend = |offset: usize, weight: u32| json!({"name": format!("service-{}", (number + offset) % 50), "port": 80, "weight": weight});
    json!({
        "metadata": {"namespace": "default", "name": format!("route-{number}"), "generation": 1},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "hostnames": [format!("host-{number}.example.com")],
            "rules": [
                {
                    "matches": [{"path": {"type": "Exact", "value": "/login"}}],
                    "backendRefs": [backend(0, 1)],
                },
                {
                    "matches": [{
                        "path": {"type": "PathPrefix", "value": "/api"},
                        "headers": [{"name": "version", "value": "two"}],
                    }],
                    "backendRefs": [backend(1, 1)],
                },
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/api"}}],
                    "backendRefs": [backend(2, 9), backend(3, 1)],
                },
            ],
        },
    })
}

fn insert<K: DeserializeOwned + ResourceExt>(objects: &mut Objects<K>, object: Value) {
    let object: K = serde_json::from_value(object).expect("a valid object");
    objects.insert(ObjectKey::of(&object), Arc::new(object));
}
