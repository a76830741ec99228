//! What is left of objects before they are stored: a cluster has many, and most of what they hold is for others.

use std::any::Any;

use k8s_openapi::api::{
    core::v1::{Namespace, Pod, PodCondition, PodStatus, Service, ServiceSpec},
    discovery::v1::{Endpoint, EndpointConditions, EndpointSlice},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use operator_core::data::ACTIVE_PORTS;

/// Drops what nobody here reads.
pub(super) fn prune<K: Resource + Any>(object: &mut K) {
    let metadata = object.meta_mut();
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    let object: &mut dyn Any = object;
    if let Some(service) = object.downcast_mut::<Service>() {
        prune_service(service);
    } else if let Some(slice) = object.downcast_mut::<EndpointSlice>() {
        prune_slice(slice);
    } else if let Some(pod) = object.downcast_mut::<Pod>() {
        prune_pod(pod);
    } else if let Some(namespace) = object.downcast_mut::<Namespace>() {
        namespace.metadata.annotations = None;
        namespace.spec = None;
        namespace.status = None;
    }
}

/// Type, families of addresses and ports are left.
fn prune_service(service: &mut Service) {
    service.metadata.annotations = None;
    service.metadata.labels = None;
    service.metadata.owner_references = None;
    service.status = None;
    service.spec = service.spec.take().map(|spec| ServiceSpec {
        type_: spec.type_,
        ip_families: spec.ip_families,
        ports: spec.ports,
        ..ServiceSpec::default()
    });
}

/// The Service that it belongs to, ports, addresses and whether those are ready or at least serve are left.
fn prune_slice(slice: &mut EndpointSlice) {
    slice.metadata.annotations = None;
    slice.metadata.owner_references = None;
    slice.metadata.generate_name = None;
    if let Some(labels) = &mut slice.metadata.labels {
        labels.retain(|key, _| key == "kubernetes.io/service-name");
    }
    for endpoint in slice.endpoints.iter_mut().flatten() {
        *endpoint = Endpoint {
            addresses: std::mem::take(&mut endpoint.addresses),
            conditions: endpoint.conditions.take().map(|conditions| EndpointConditions {
                terminating: None,
                ..conditions
            }),
            ..Endpoint::default()
        };
    }
}

/// Labels, active ports, addresses and whether it is ready are left: what changes a pod otherwise changes nothing here.
fn prune_pod(pod: &mut Pod) {
    let mut metadata = std::mem::take(&mut pod.metadata);
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|name, _| ACTIVE_PORTS.contains(&name.as_str()));
    }
    let status = pod.status.take().unwrap_or_default();
    let ready = status.conditions.into_iter().flatten();
    let ready = ready.filter(|condition| condition.type_ == "Ready");
    let ready = ready.map(|PodCondition { type_, status, .. }| PodCondition {
        type_,
        status,
        ..PodCondition::default()
    });
    *pod = Pod {
        metadata: ObjectMeta {
            name: metadata.name,
            namespace: metadata.namespace,
            labels: metadata.labels,
            annotations: metadata.annotations.filter(|annotations| !annotations.is_empty()),
            deletion_timestamp: metadata.deletion_timestamp,
            ..ObjectMeta::default()
        },
        spec: None,
        status: Some(PodStatus {
            conditions: Some(ready.collect()),
            phase: status.phase,
            pod_ip: status.pod_ip,
            pod_ips: status.pod_ips,
            ..PodStatus::default()
        }),
    };
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json, to_value};

    use super::*;

    fn pruned<K: Resource + Any + serde::Serialize + serde::de::DeserializeOwned>(object: Value) -> Value {
        let mut object: K = from_value(object).unwrap();
        prune(&mut object);
        to_value(&object).unwrap()
    }

    #[test]
    fn endpoints_keep_addresses_and_readiness() {
        let slice = pruned::<EndpointSlice>(json!({
            "metadata": {
                "namespace": "default", "name": "shop-1", "resourceVersion": "7",
                "labels": {"kubernetes.io/service-name": "shop", "app": "shop"},
                "managedFields": [{"manager": "m"}],
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{
                "addresses": ["10.0.0.1"], "conditions": {"ready": false, "serving": true, "terminating": true},
                "nodeName": "node",
                "targetRef": {"kind": "Pod", "name": "shop-1"},
            }],
        }));
        assert_eq!(
            slice["metadata"]["labels"],
            json!({"kubernetes.io/service-name": "shop"})
        );
        assert_eq!(slice["metadata"]["resourceVersion"], "7");
        assert_eq!(slice["metadata"].get("managedFields"), None);
        assert_eq!(
            slice["endpoints"],
            json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": false, "serving": true}}])
        );
        assert_eq!(slice["ports"], json!([{"name": "http", "port": 8080}]));
    }

    #[test]
    fn services_keep_type_and_ports() {
        let service = pruned::<Service>(json!({
            "metadata": {"namespace": "default", "name": "shop"},
            "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "selector": {"app": "shop"},
                     "ports": [{"name": "http", "port": 80, "appProtocol": "kubernetes.io/h2c"}]},
        }));
        assert_eq!(
            service["spec"],
            json!({"type": "ClusterIP", "ports": [{"name": "http", "port": 80, "appProtocol": "kubernetes.io/h2c"}]})
        );
    }

    #[test]
    fn pods_keep_labels_active_ports_addresses_and_readiness() {
        let pod = pruned::<Pod>(json!({
            "metadata": {"namespace": "default", "name": "llama-1", "labels": {"app": "llama"}, "resourceVersion": "7",
                         "annotations": {"inference.networking.k8s.io/active-ports": "8000", "note": "long"},
                         "uid": "u", "ownerReferences": [], "deletionTimestamp": "2026-11-22T00:00:00Z"},
            "spec": {"containers": [{"name": "vllm", "image": "vllm"}]},
            "status": {
                "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "hostIP": "192.0.2.1",
                "conditions": [
                    {"type": "PodScheduled", "status": "True"},
                    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T00:00:00Z"},
                ],
            },
        }));
        assert_eq!(
            pod["metadata"],
            json!({"namespace": "default", "name": "llama-1", "labels": {"app": "llama"},
                   "annotations": {"inference.networking.k8s.io/active-ports": "8000"},
                   "deletionTimestamp": "2026-11-22T00:00:00Z"})
        );
        assert_eq!(pod.get("spec"), None);
        assert_eq!(
            pod["status"],
            json!({"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
                   "conditions": [{"type": "Ready", "status": "True"}]})
        );
    }

    #[test]
    fn namespaces_keep_their_labels_and_that_they_are_on_their_way_out() {
        let namespace = pruned::<Namespace>(json!({
            "metadata": {"name": "shop", "labels": {"team": "web"}, "annotations": {"note": "long"},
                         "deletionTimestamp": "2026-11-22T00:00:00Z"},
            "spec": {"finalizers": ["kubernetes"]},
        }));
        assert_eq!(
            namespace["metadata"],
            json!({"name": "shop", "labels": {"team": "web"}, "deletionTimestamp": "2026-11-22T00:00:00Z"})
        );
        assert_eq!(namespace.get("spec"), None);
    }
}
