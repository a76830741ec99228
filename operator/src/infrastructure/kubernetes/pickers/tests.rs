//! What is written to an API server that has certain objects.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use axum::http::Method;
use kube::runtime::watcher::Event;
use operator_core::{
    infra::{Cluster, PickerInfra, ServingCertificate, picker_names, picker_objects},
    object::ObjectKey,
    observed::ObservedPicker,
};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{Pickers, Site};
use crate::{
    certificates::Authorities, gaps::Gaps, mock, observations::Observations, parts::Parts, stores::Writers,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster with one endpoint picker that is wanted.
struct Setting {
    authorities: Authorities,
    /// What the API server has, by path of its list.
    stored: BTreeMap<&'static str, Vec<Value>>,
    /// Paths that belong to somebody else's object.
    taken: Option<&'static str>,
}

/// What became of it.
struct Course {
    observations: Observations,
    requests: mpsc::UnboundedReceiver<String>,
    /// As long as they live, somebody follows, and there is something to follow.
    _parts: Parts,
    _inputs: (
        watch::Sender<Authorities>,
        watch::Sender<bool>,
        watch::Sender<Option<crate::controller::Pickers>>,
    ),
}

fn picker() -> ObjectKey {
    ObjectKey::new("ai", "llm-picker")
}

fn infra() -> PickerInfra {
    PickerInfra {
        uid: "11".to_owned(),
        pool: "llm".to_owned(),
        port: 9002,
        ..PickerInfra::default()
    }
}

/// Where the API server lists each of a picker's objects, in their order.
const LISTS: [&str; 8] = [
    "/api/v1/serviceaccounts",
    "/apis/rbac.authorization.k8s.io/v1/roles",
    "/apis/rbac.authorization.k8s.io/v1/rolebindings",
    "/api/v1/configmaps",
    "/api/v1/secrets",
    "/api/v1/services",
    "/apis/apps/v1/deployments",
    "/apis/policy/v1/poddisruptionbudgets",
];

impl Setting {
    /// Everything is there as it is wanted.
    fn settled() -> Self {
        let authorities = Authorities::default().renewed(SystemTime::now()).unwrap();
        let signer = authorities.signer(SystemTime::now()).unwrap();
        let names = picker_names(&picker());
        let certificate = authorities.issue(signer, &names, SystemTime::now()).unwrap();
        Self {
            authorities,
            stored: stored(&certificate),
            taken: None,
        }
    }

    fn empty() -> Self {
        Self {
            stored: BTreeMap::new(),
            ..Self::settled()
        }
    }

    fn object(&mut self, list: &str) -> &mut Value {
        &mut self.stored.get_mut(list).expect("one of the lists")[0]
    }

    /// Runs the picker, in these namespaces alone if there are any; `LIST` and what is written is told.
    fn run(self, namespaces: &[&str]) -> Course {
        let (tell, requests) = mpsc::unbounded_channel();
        let Self {
            authorities,
            stored,
            taken,
        } = self;
        let client = mock::client(move |asked| {
            if let Some(selector) = asked.query.split("labelSelector=").nth(1) {
                let selector = selector.split('&').next().unwrap_or_default();
                let _ = tell.send(format!("LIST {} {selector}", asked.path));
                let items = stored.get(asked.path.as_str());
                return Some(mock::list(items.map_or(&[], Vec::as_slice)));
            }
            if asked.method == Method::GET {
                let theirs = json!({"metadata": {"namespace": "ai", "name": "llm-picker"}});
                return taken.filter(|path| *path == asked.path).map(|_| (200, theirs));
            }
            let _ = tell.send(format!("{} {}", asked.method, asked.path));
            Some((200, asked.body))
        });
        let observations = Observations::default();
        let authorities = watch::Sender::new(authorities);
        let leads = watch::Sender::new(true);
        let wanted = watch::Sender::new(None);
        let mut writers = Writers::default();
        writers.endpoint_pickers.apply_watcher_event(&Event::Apply(
            serde_json::from_value(json!({"metadata": picker(), "spec": {}})).unwrap(),
        ));
        let site = Site {
            client,
            gaps: Gaps::default(),
            namespaces: namespaces.iter().map(ToString::to_string).collect(),
            leads: leads.subscribe(),
            stores: writers.stores(),
        };
        let mut parts = Parts::new(CancellationToken::new());
        let pickers = Pickers::new(
            &mut parts,
            site,
            Cluster::default(),
            authorities.subscribe(),
            observations.clone(),
        );
        parts.run("pickers", pickers.run(wanted.subscribe()));
        wanted.send_replace(Some([(picker(), infra())].into()));
        Course {
            observations,
            requests,
            _parts: parts,
            _inputs: (authorities, leads, wanted),
        }
    }
}

/// A picker's objects, as an API server has them.
fn stored(certificate: &ServingCertificate) -> BTreeMap<&'static str, Vec<Value>> {
    let objects = picker_objects(&picker(), &infra(), certificate, &Cluster::default());
    let manifests = objects.into_iter().map(|object| {
        let mut manifest = object.manifest.expect("all of them are wanted");
        manifest["metadata"]["uid"] = json!("22");
        manifest["metadata"]["resourceVersion"] = json!("1");
        vec![manifest]
    });
    LISTS.into_iter().zip(manifests).collect()
}

impl Course {
    /// The next request, `LIST`s left out.
    async fn next_write(&mut self) -> String {
        let write = async {
            loop {
                let request = self.requests.recv().await.expect("the mock lives");
                if !request.starts_with("LIST") {
                    return request;
                }
            }
        };
        timeout(PATIENCE, write).await.expect("there is one in time")
    }

    /// What is known of the picker, once anything is.
    async fn observed(&self) -> ObservedPicker {
        let known = async {
            loop {
                if let Some(observed) = self.observations.get().pickers.remove(&picker()) {
                    return observed;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, known)
            .await
            .expect("something is known in time")
    }
}

#[tokio::test]
async fn a_new_picker_is_applied_in_the_order_in_which_its_objects_need_each_other() {
    let mut course = Setting::empty().run(&[]);
    for kind in [
        "serviceaccounts",
        "roles",
        "rolebindings",
        "configmaps",
        "secrets",
        "services",
        "deployments",
        "poddisruptionbudgets",
    ] {
        let write = course.next_write().await;
        assert!(write.starts_with("PATCH "), "{write}");
        assert!(
            write.ends_with(&format!("/namespaces/ai/{kind}/llm-picker")),
            "{write}"
        );
    }
}

#[tokio::test]
async fn what_was_changed_is_made_as_it_was_and_nothing_else_is_touched() {
    let mut setting = Setting::settled();
    setting.object("/api/v1/services")["spec"]["ports"][0]["port"] = json!(1);
    setting.object("/apis/policy/v1/poddisruptionbudgets")["spec"]["maxUnavailable"] = json!(7);
    let mut course = setting.run(&[]);
    assert_eq!(
        course.next_write().await,
        "PATCH /api/v1/namespaces/ai/services/llm-picker"
    );
    assert_eq!(
        course.next_write().await,
        "PATCH /apis/policy/v1/namespaces/ai/poddisruptionbudgets/llm-picker"
    );
}

#[tokio::test]
async fn what_is_ours_and_not_wanted_is_deleted() {
    let mut setting = Setting::settled();
    let mut old = setting.object("/api/v1/services").clone();
    old["metadata"]["name"] = json!("old-picker");
    setting.stored.get_mut("/api/v1/services").unwrap().push(old);
    let mut course = setting.run(&[]);
    assert_eq!(
        course.next_write().await,
        "DELETE /api/v1/namespaces/ai/services/old-picker"
    );
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_replaced() {
    let mut setting = Setting::settled();
    let others = Setting::settled();
    setting.authorities = others.authorities;
    assert_eq!(
        setting.run(&[]).next_write().await,
        "PATCH /api/v1/namespaces/ai/secrets/llm-picker"
    );
}

#[tokio::test]
async fn an_object_of_somebody_else_in_the_way_is_named() {
    let setting = Setting {
        taken: Some("/api/v1/namespaces/ai/services/llm-picker"),
        ..Setting::empty()
    };
    let failure = setting.run(&[]).observed().await.failure.unwrap();
    assert!(
        failure.starts_with("Service ai/llm-picker exists already"),
        "{failure}"
    );
}

#[tokio::test]
async fn pods_are_counted_by_the_deployment() {
    let mut setting = Setting::settled();
    setting.object("/apis/apps/v1/deployments")["status"] = json!({"readyReplicas": 1});
    let observed = setting.run(&[]).observed().await;
    assert_eq!((observed.ready, observed.wanted, observed.failure), (1, 1, None));
}

#[tokio::test]
async fn only_objects_of_pickers_are_followed_and_only_where_told() {
    let mut course = Setting::settled().run(&["ai"]);
    let mut listed = Vec::new();
    for _ in LISTS {
        listed.push(course.requests.recv().await.unwrap());
    }
    let (key, value) = Cluster::default().controller_label();
    let selector = format!("{key}={value},flotilla.dev/endpoint-picker")
        .replace('/', "%2F")
        .replace('=', "%3D")
        .replace(',', "%2C");
    for request in listed {
        assert!(request.contains("/namespaces/ai/"), "{request}");
        assert!(request.ends_with(&selector), "{request} {selector}");
    }
}
