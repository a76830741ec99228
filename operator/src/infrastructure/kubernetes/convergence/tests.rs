use std::sync::Arc;

use axum::http::Method;
use operator_core::{
    api::NginxFleetSpec,
    infra::{Cluster, GatewayInfra, Provisioning, objects},
};
use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::mock;

/// That of gateways, once it acts.
async fn convergence(client: Client, cluster: &Cluster) -> Convergence {
    let family = Family::of_gateways(cluster);
    let mut convergence = Convergence::new(client, family, &[], watch::channel(true).1);
    while !convergence.acts() {
        convergence.due().await;
    }
    convergence
}

/// What is deleted, as paths, when a gateway that runs as a Deployment is to run as a `DaemonSet` of which that many
/// pods serve; `None` before there is one.
async fn deleted(serving: Option<u32>) -> Vec<String> {
    let deletions = Arc::new(Mutex::new(Vec::new()));
    let client = mock::client({
        let deletions = deletions.clone();
        move |asked| {
            let kind = asked.path.rsplit('/').next().unwrap_or_default();
            match asked.method {
                Method::GET => {
                    let metadata =
                        json!({"namespace": "default", "name": "flotilla-edge", "uid": "1", "generation": 1});
                    let items = match (kind, serving) {
                        ("deployments", _) => vec![json!({"metadata": metadata})],
                        ("daemonsets", Some(serving)) => vec![json!({"metadata": metadata, "status": {
                            "observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2,
                            "numberAvailable": serving,
                        }})],
                        _ => Vec::new(),
                    };
                    // What is there is ours; nothing else is.
                    kind.ends_with('s').then(|| mock::list(&items))
                }
                Method::DELETE => {
                    deletions.lock().push(asked.path);
                    Some((200, json!({"kind": "Status", "status": "Success"})))
                }
                _ => Some((200, asked.body)),
            }
        }
    });
    let cluster = Cluster::default();
    let mut convergence = convergence(client, &cluster).await;
    let spec: NginxFleetSpec = serde_json::from_value(json!({"workload": {"kind": "DaemonSet"}})).unwrap();
    let infra = GatewayInfra {
        ports: [80].into(),
        provisioning: Some(Provisioning {
            workload: spec.workload,
            ..Provisioning::default()
        }),
        ..GatewayInfra::default()
    };
    let gateway = ObjectKey::new("default", "edge");
    let wanted = Objects::from([(gateway.clone(), objects(&gateway, &infra, &cluster))]);
    convergence.approach(wanted).await;
    assert_eq!(convergence.failure(&gateway), None);
    deletions.lock().clone()
}

#[tokio::test]
async fn a_workload_of_the_other_kind_goes_when_its_successor_serves() {
    assert_eq!(deleted(None).await, [""; 0]);
    assert_eq!(deleted(Some(1)).await, [""; 0]);
    assert_eq!(
        deleted(Some(2)).await,
        ["/apis/apps/v1/namespaces/default/deployments/flotilla-edge"]
    );
}

#[tokio::test]
async fn what_a_namespace_on_its_way_out_refuses_is_not_tried_again() {
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let client = mock::client({
        let attempts = attempts.clone();
        move |asked| match asked.method {
            Method::PATCH => {
                attempts.lock().push(asked.path);
                Some(mock::namespace_terminating())
            }
            _ => asked.path.ends_with('s').then(|| mock::list(&[])),
        }
    });
    let cluster = Cluster::default();
    let mut convergence = convergence(client, &cluster).await;
    let gateway = ObjectKey::new("default", "edge");
    let infra = |uid: &str| GatewayInfra {
        uid: uid.to_owned(),
        ..GatewayInfra::default()
    };
    for (uid, tried) in [("1", 1), ("1", 0), ("2", 1)] {
        let wanted = Objects::from([(gateway.clone(), objects(&gateway, &infra(uid), &cluster))]);
        convergence.approach(wanted).await;
        assert_eq!(std::mem::take(&mut *attempts.lock()).len(), tried, "{uid}");
        assert_eq!((convergence.failure(&gateway), convergence.failed), (None, false));
    }
}
