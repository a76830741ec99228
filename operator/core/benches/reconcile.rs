//! How long one look at everything takes: `cargo bench -p operator-core`.
//!
//! One Gateway with one listener; each HTTPRoute has a hostname of its own; there are 50 Services with 10 endpoints
//! each. No object has a status yet, so every one of them is made and compared.

use std::{ops::Range, sync::Arc};

use divan::Bencher;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::ResourceExt;
use operator_core::{
    object::ObjectKey, observed::Observed, options::Options, reconcile, snapshot::Objects, snapshot::Snapshot,
};
use serde_json::{Value, json};

/// The allocator of the operator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// Routes with the one rule that most have: a prefix, and two weighted backends.
#[divan::bench(args = [1_000, 5_000, 10_000])]
fn routes_of_one_rule(bencher: Bencher<'_, '_>, routes: usize) {
    bench(bencher, routes, 2..3);
}

/// Routes with an exact path, a prefix with a header, and a prefix with two weighted backends.
#[divan::bench(args = [1_000, 5_000, 10_000])]
fn routes_of_three_rules(bencher: Bencher<'_, '_>, routes: usize) {
    bench(bencher, routes, 0..3);
}

fn bench(bencher: Bencher<'_, '_>, routes: usize, rules: Range<usize>) {
    let snapshot = snapshot(routes, &rules);
    let observed = Observed::default();
    let options = Options::default();
    bencher.bench_local(|| reconcile(&snapshot, &observed, &options));
}

fn snapshot(routes: usize, rules: &Range<usize>) -> Snapshot {
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
        insert(&mut snapshot.http_routes, route(number, rules));
    }
    snapshot
}

fn route(number: usize, rules: &Range<usize>) -> Value {
    let backend = |offset: usize, weight: u32| json!({"name": format!("service-{}", (number + offset) % 50), "port": 80, "weight": weight});
    let all = [
        json!({
            "matches": [{"path": {"type": "Exact", "value": "/login"}}],
            "backendRefs": [backend(0, 1)],
        }),
        json!({
            "matches": [{"path": {"value": "/api"}, "headers": [{"name": "version", "value": "two"}]}],
            "backendRefs": [backend(1, 1)],
        }),
        json!({
            "matches": [{"path": {"value": "/api"}}],
            "backendRefs": [backend(2, 9), backend(3, 1)],
        }),
    ];
    json!({
        "metadata": {"namespace": "default", "name": format!("route-{number}"), "generation": 1},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "hostnames": [format!("host-{number}.example.com")],
            "rules": all[rules.clone()],
        },
    })
}

fn insert<K: DeserializeOwned + ResourceExt>(objects: &mut Objects<K>, object: Value) {
    let object: K = serde_json::from_value(object).expect("a valid object");
    objects.insert(ObjectKey::of(&object), Arc::new(object));
}
