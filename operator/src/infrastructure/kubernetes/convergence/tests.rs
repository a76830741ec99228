use std::sync::Arc;

use axum::http::Method;
use kube::runtime::watcher::Event;
use operator_core::{
    api::{Gateway, NginxFleetSpec},
    infra::{Cluster, GatewayInfra, Provisioning, objects},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{gaps::Gaps, mock, parts::Parts, stores::Writers};

/// That of gateways, once it acts.
async fn convergence(parts: &mut Parts, client: Client, cluster: &Cluster, writers: &Writers) -> Convergence {
    let site = Site {
        client,
        gaps: Gaps::default(),
        namespaces: Vec::new(),
        leads: watch::channel(true).1,
        stores: writers.stores(),
    };
    let mut convergence = Convergence::new(parts, site, Family::of_gateways(cluster));
    while !convergence.acts() {
        convergence.due().await;
    }
    convergence
}

/// Stores with the Gateway `default/edge`.
fn writers() -> Writers {
    let gateway = json!({
        "metadata": {"namespace": "default", "name": "edge"},
        "spec": {"gatewayClassName": "flotilla", "listeners": []},
    });
    let gateway: Gateway = serde_json::from_value(gateway).unwrap();
    let mut writers = Writers::default();
    writers.gateways.apply_watcher_event(&Event::Apply(gateway));
    writers
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
    let mut parts = Parts::new(CancellationToken::new());
    let mut convergence = convergence(&mut parts, client, &cluster, &writers()).await;
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
    let mut parts = Parts::new(CancellationToken::new());
    let mut convergence = convergence(&mut parts, client, &cluster, &writers()).await;
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

#[tokio::test]
async fn what_goes_with_its_gateway_is_not_made_again() {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let client = mock::client({
        let requests = requests.clone();
        move |asked| {
            if asked.method == Method::GET {
                return asked.path.ends_with('s').then(|| mock::list(&[]));
            }
            requests.lock().push(asked.path);
            Some((200, asked.body))
        }
    });
    let cluster = Cluster::default();
    let mut writers = writers();
    let mut parts = Parts::new(CancellationToken::new());
    let mut convergence = convergence(&mut parts, client, &cluster, &writers).await;
    let edge = ObjectKey::new("default", "edge");
    let wanted = || Objects::from([(edge.clone(), objects(&edge, &GatewayInfra::default(), &cluster))]);
    convergence.approach(wanted()).await;
    assert!(!std::mem::take(&mut *requests.lock()).is_empty());
    // Nobody has told yet that nothing is wanted any more.
    let gateway = writers.stores().gateways.state().remove(0);
    writers
        .gateways
        .apply_watcher_event(&Event::Delete((*gateway).clone()));
    convergence.approach(wanted()).await;
    assert_eq!(*requests.lock(), [""; 0]);
}

#[tokio::test]
async fn who_leads_no_longer_waits_for_no_answer() {
    let client = mock::client(|asked| asked.path.ends_with('s').then(|| mock::list(&[])));
    let (leads, leading) = watch::channel(true);
    let client = mock::hanging(client, move |method| {
        let is_write = *method == Method::PATCH;
        if is_write {
            leads.send_replace(false);
        }
        is_write
    });
    let cluster = Cluster::default();
    let mut parts = Parts::new(CancellationToken::new());
    let mut convergence = convergence(&mut parts, client, &cluster, &writers()).await;
    convergence.leads = leading;
    let edge = ObjectKey::new("default", "edge");
    let wanted = Objects::from([(edge.clone(), objects(&edge, &GatewayInfra::default(), &cluster))]);
    let approaching = timeout(Duration::from_secs(20), convergence.approach(wanted));
    assert!(approaching.await.is_ok(), "still waits");
}
