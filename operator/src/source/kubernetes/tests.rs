use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use kube::Client;
use operator_core::{object::ObjectKey, outcome::Needs};
use serde_json::json;
use tokio::{
    sync::Notify,
    task::yield_now,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Kubernetes, STATUS_DELAY, pass_on_late};
use crate::{
    gaps::Gaps,
    mock::{client, list},
    parts::Parts,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn parts() -> Parts {
    Parts::new(CancellationToken::new())
}

#[tokio::test]
async fn an_object_that_cannot_be_decoded_hides_no_other_and_a_kind_that_is_not_served_stalls_nobody() {
    let client = client(|asked| {
        let route = |name: &str, rules: serde_json::Value| json!({"metadata": {"namespace": "default", "name": name}, "spec": {"rules": rules}});
        match asked.path.rsplit('/').next() {
            Some("gatewayclasses" | "gateways") => Some(list(&[])),
            Some("httproutes") => Some(list(&[route("odd", json!("none")), route("shop", json!([]))])),
            _ => None,
        }
    });
    let mut parts = parts();
    let source = Kubernetes::start(&mut parts, &client, &Gaps::default(), &[], &Arc::default());
    timeout(PATIENCE, source.is_complete()).await.unwrap();
    let routes = source.stores().snapshot().http_routes;
    assert_eq!(
        routes.into_keys().collect::<Vec<_>>(),
        [ObjectKey::new("default", "shop")]
    );
}

/// An API server that lets nobody list a kind, by its plural, and counts how often somebody tries.
fn forbidding(plural: &'static str, attempts: Arc<AtomicU32>) -> Client {
    client(move |asked| {
        let is_asked = asked.path.ends_with(plural);
        attempts.fetch_add(u32::from(is_asked), Ordering::Relaxed);
        let refusal = json!({"kind": "Status", "status": "Failure", "code": 403, "message": format!("{plural} is forbidden")});
        Some(if is_asked { (403, refusal) } else { list(&[]) })
    })
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_we_may_not_read_is_told_and_waited_for_only_if_it_is_needed() {
    for (plural, is_waited_for) in [("inferencepools", false), ("httproutes", true)] {
        let (mut parts, gaps) = (parts(), Gaps::default());
        let attempts = Arc::new(AtomicU32::new(0));
        let client = forbidding(plural, attempts.clone());
        let source = Kubernetes::start(&mut parts, &client, &gaps, &[], &Arc::default());
        let complete = timeout(PATIENCE, source.is_complete()).await;
        assert_eq!(complete.is_err(), is_waited_for, "{plural}");
        while gaps.sentences().is_empty() {
            yield_now().await;
        }
        let [gap] = &Vec::from_iter(gaps.sentences())[..] else {
            panic!("one kind cannot be read: {gaps:?}");
        };
        sleep(PATIENCE).await;
        let attempts = attempts.load(Ordering::Relaxed);
        assert!(attempts < 20, "{attempts} attempts in {:?}", 2 * PATIENCE);
        assert!(
            gap.contains(&format!("{plural} is forbidden; have helm upgrade")),
            "{gap}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_complete_without_gateways() {
    let mut parts = parts();
    let source = Kubernetes::start(
        &mut parts,
        &client(|_| None),
        &Gaps::default(),
        &[],
        &Arc::default(),
    );
    assert!(timeout(PATIENCE, source.is_complete()).await.is_err());
}

#[tokio::test]
async fn only_secrets_that_are_needed_are_read_and_only_as_long() {
    let client = client(|asked| {
        assert!(
            !asked.path.ends_with("/api/v1/secrets"),
            "nobody asks for all Secrets"
        );
        let one = json!({"metadata": {"namespace": "default", "name": "shop"}});
        let is_shop = asked.path.ends_with("/secrets") && asked.query.contains("metadata.name%3Dshop");
        asked
            .path
            .ends_with("/secrets")
            .then(|| list(if is_shop { std::slice::from_ref(&one) } else { &[] }))
    });
    let changed = Arc::new(Notify::new());
    let mut parts = parts();
    let source = Kubernetes::start(&mut parts, &client, &Gaps::default(), &[], &changed);
    let on_demand = source.on_demand();
    let secrets = ["shop", "gone", "No name,for=any"].map(|name| ObjectKey::new("default", name));
    let needs = Needs {
        secrets: secrets.into(),
        ..Needs::default()
    };
    let supplied = async {
        while !on_demand.supply(&needs) {
            changed.notified().await;
        }
    };
    timeout(PATIENCE, supplied).await.unwrap();
    let known = || source.stores().snapshot().secrets.into_keys().collect::<Vec<_>>();
    assert_eq!(known(), [ObjectKey::new("default", "shop")]);

    assert!(on_demand.supply(&Needs::default()));
    let forgotten = async {
        while !known().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, forgotten).await.unwrap();
}

#[tokio::test]
async fn a_watch_that_fails_is_not_lost() {
    let client = client(|asked| {
        assert!(!asked.path.ends_with("/secrets"), "on purpose");
        None
    });
    let mut parts = parts();
    let source = Kubernetes::start(&mut parts, &client, &Gaps::default(), &[], &Arc::default());
    let needs = Needs {
        secrets: [ObjectKey::new("default", "shop")].into(),
        ..Needs::default()
    };
    assert!(!source.on_demand().supply(&needs));
    let ended = timeout(PATIENCE, parts.last()).await.unwrap().unwrap_err();
    assert_eq!(
        ended.to_string(),
        "a part of the operator failed: watches on demand"
    );
}

#[tokio::test]
async fn only_pods_of_namespaces_that_are_needed_are_read_and_only_as_long() {
    let client = client(|asked| {
        assert!(!asked.path.ends_with("/api/v1/pods"), "nobody asks for all pods");
        let pod = |namespace: &str| json!({"metadata": {"namespace": namespace, "name": "llama"}});
        match asked.path.as_str() {
            "/api/v1/namespaces/models/pods" => Some(list(&[pod("models")])),
            "/api/v1/namespaces/more/pods" => Some(list(&[pod("more")])),
            _ => None,
        }
    });
    let changed = Arc::new(Notify::new());
    let mut parts = parts();
    let source = Kubernetes::start(&mut parts, &client, &Gaps::default(), &[], &changed);
    let on_demand = source.on_demand();
    let known = || {
        let pods = source.stores().snapshot().pods;
        pods.into_keys().map(|key| key.namespace).collect::<Vec<_>>()
    };
    let needs = |namespaces: &[&str]| Needs {
        pods: namespaces.iter().map(ToString::to_string).collect(),
        ..Needs::default()
    };
    let supplied = async {
        // A namespace whose pods cannot be read delays nobody.
        while !on_demand.supply(&needs(&["forbidden", "models", "more"])) {
            changed.notified().await;
        }
    };
    timeout(PATIENCE, supplied).await.unwrap();
    assert_eq!(known(), ["models", "more"]);

    assert!(on_demand.supply(&needs(&["more"])));
    let forgotten = async {
        while known() != ["more"] {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, forgotten).await.unwrap();
}

#[tokio::test]
async fn objects_of_other_namespaces_than_those_named_are_not_asked_for() {
    let client = client(|asked| {
        let gateway = |namespace: &str| json!({"metadata": {"namespace": namespace, "name": "edge"}, "spec": {"gatewayClassName": "flotilla", "listeners": []}});
        match asked.path.as_str() {
            "/apis/gateway.networking.k8s.io/v1/gatewayclasses" => Some(list(&[])),
            "/apis/gateway.networking.k8s.io/v1/gateways" => panic!("nobody asks for all gateways"),
            "/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways" => Some(list(&[gateway("shop")])),
            "/apis/gateway.networking.k8s.io/v1/namespaces/blog/gateways" => Some(list(&[gateway("blog")])),
            _ => None,
        }
    });
    let namespaces = ["blog", "shop"].map(str::to_owned);
    let mut parts = parts();
    let source = Kubernetes::start(
        &mut parts,
        &client,
        &Gaps::default(),
        &namespaces,
        &Arc::default(),
    );
    timeout(PATIENCE, source.is_complete()).await.unwrap();
    let gateways = source.stores().snapshot().gateways;
    let namespaces: Vec<String> = gateways.into_keys().map(|key| key.namespace).collect();
    assert_eq!(namespaces, ["blog", "shop"]);
}

#[tokio::test(start_paused = true)]
async fn many_changes_of_statuses_are_looked_at_together() {
    let (status_changed, changed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    tokio::spawn(pass_on_late(status_changed.clone(), changed.clone()));
    let begun = Instant::now();
    status_changed.notify_one();
    yield_now().await;
    changed.notify_one();
    changed.notified().await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "nothing else waits for them");
    for _ in 0..100 {
        status_changed.notify_one();
    }
    for looks in [1, 2] {
        changed.notified().await;
        assert_eq!(begun.elapsed(), looks * STATUS_DELAY);
    }
    assert!(timeout(PATIENCE, changed.notified()).await.is_err());
}
