//! The pods of gateways as the API server knows them, those included that never reached the operator.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use operator_core::{infra::objects_key, object::ObjectKey};

use crate::admin::Fleet;

/// The label of the pods of all gateways.
const GATEWAY_PODS: &str = "app.kubernetes.io/name=flotilla-gateway";

/// The pods of all gateways, or of the namespace of one.
pub(super) async fn pods(client: Client, gateway: Option<&str>) -> kube::Result<Vec<Pod>> {
    let pods: Api<Pod> = match gateway.and_then(|gateway| gateway.split_once('/')) {
        Some((namespace, _)) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let pods = pods.list(&ListParams::default().labels(GATEWAY_PODS)).await?;
    Ok(pods.items)
}

/// The pods of a gateway that are not connected to the operator, and are not on their way out.
pub(super) fn strays<'a>(fleet: &Fleet, pods: &'a [Pod]) -> Vec<&'a Pod> {
    let Some((namespace, name)) = fleet.gateway.split_once('/') else {
        return Vec::new();
    };
    let objects = objects_key(&ObjectKey::new(namespace, name));
    let is_its = |pod: &&Pod| {
        let account = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.service_account_name.as_ref());
        pod.namespace().as_ref() == Some(&objects.namespace) && account == Some(&objects.name)
    };
    let is_connected = |pod: &&Pod| {
        fleet
            .pods
            .iter()
            .any(|connected| connected.name == pod.name_any())
    };
    let pods = pods.iter().filter(is_its).filter(|pod| !is_connected(pod));
    pods.filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .collect()
}

/// Why a pod is not connected, as far as the cluster knows.
pub(super) fn absence(pod: &Pod) -> String {
    let Some(status) = &pod.status else {
        return "the cluster has not looked at it yet".to_owned();
    };
    let mut conditions = status.conditions.iter().flatten();
    let unscheduled =
        conditions.find(|condition| condition.type_ == "PodScheduled" && condition.status != "True");
    if let Some(message) = unscheduled.and_then(|condition| condition.message.clone()) {
        return message;
    }
    let waiting = status.container_statuses.iter().flatten().find_map(|container| {
        let state = container.state.as_ref()?;
        state.waiting.as_ref()
    });
    match waiting {
        Some(waiting) => [&waiting.reason, &waiting.message]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(": "),
        None => format!("it is {}", status.phase.as_deref().unwrap_or("of no phase")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, account: &str, status: &Value) -> Pod {
        let pod = json!({
            "metadata": {"namespace": "default", "name": name},
            "spec": {"serviceAccountName": account, "containers": []},
            "status": status,
        });
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn strays_are_pods_of_the_gateway_that_the_operator_does_not_know() {
        let fleet = Fleet {
            gateway: "default/edge".to_owned(),
            pods: vec![crate::admin::Pod {
                name: "edge-0".to_owned(),
                ..Default::default()
            }],
            ..Fleet::default()
        };
        let mut going = pod("edge-3", "flotilla-edge", &Value::Null);
        going.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        let pods = [
            pod("edge-0", "flotilla-edge", &Value::Null),
            pod("edge-1", "flotilla-edge", &Value::Null),
            pod("other-2", "flotilla-other", &Value::Null),
            going,
        ];
        let names: Vec<String> = strays(&fleet, &pods).iter().map(|pod| pod.name_any()).collect();
        assert_eq!(names, ["edge-1"]);
    }

    #[test]
    fn absence_is_told_in_the_words_of_the_cluster() {
        let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}});
        for (status, why) in [
            (Value::Null, "the cluster has not looked at it yet"),
            (json!({"phase": "Pending"}), "it is Pending"),
            (
                json!({"containerStatuses": [
                    {"name": "gateway", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": waiting},
                ]}),
                "ErrImagePull: no such image",
            ),
        ] {
            assert_eq!(absence(&pod("edge-0", "flotilla-edge", &status)), why);
        }
    }
}
