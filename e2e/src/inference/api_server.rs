//! Enough of a Kubernetes API server for a picker that runs without a cluster: objects that it may list and watch.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{AbortHandle, JoinSet},
};

/// The kinds that are served: group and version as in paths, plural, kind.
const KINDS: [(&str, &str, &str); 4] = [
    ("api/v1", "pods", "Pod"),
    (
        "apis/inference.networking.k8s.io/v1",
        "inferencepools",
        "InferencePool",
    ),
    (
        "apis/inference.networking.x-k8s.io/v1alpha2",
        "inferenceobjectives",
        "InferenceObjective",
    ),
    (
        "apis/inference.networking.x-k8s.io/v1alpha2",
        "inferencemodelrewrites",
        "InferenceModelRewrite",
    ),
];

/// A running server; it stops when this value is dropped.
#[derive(Debug)]
pub struct ApiServer {
    address: SocketAddr,
    objects: watch::Sender<Objects>,
    listener: AbortHandle,
}

/// All objects, each with its kind, namespace, name and, in its metadata, the revision of its last change.
#[derive(Clone, Debug, Default)]
struct Objects {
    revision: u64,
    by_name: BTreeMap<Name, Value>,
}

type Name = [String; 3];
type Body = BoxBody<Bytes, Infallible>;

impl ApiServer {
    /// Starts a server at an address.
    pub async fn start(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen at {address}"))?;
        let address = listener
            .local_addr()
            .context("a listening socket has an address")?;
        let (objects, watched) = watch::channel(Objects::default());
        let listener = tokio::spawn(accept(listener, watched)).abort_handle();
        Ok(Self {
            address,
            objects,
            listener,
        })
    }

    /// Creates an object or replaces the one of its kind, namespace and name.
    pub fn apply(&self, mut object: Value) {
        self.objects.send_modify(|objects| {
            objects.revision += 1;
            object["metadata"]["resourceVersion"] = objects.revision.to_string().into();
            objects.by_name.insert(name(&object), object);
        });
    }

    /// Deletes an object by kind, namespace and name.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) {
        self.objects.send_modify(|objects| {
            objects.revision += 1;
            objects
                .by_name
                .remove(&[kind, namespace, name].map(str::to_owned));
        });
    }

    /// Writes a kubeconfig for it.
    pub fn kubeconfig(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join("kubeconfig");
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": { "server": format!("http://{}", self.address) } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
            "users": [{ "name": "test", "user": {} }],
            "current-context": "test",
        });
        fs::write(&path, kubeconfig.to_string())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Objects {
    fn of(&self, kind: &str, namespace: Option<&str>) -> BTreeMap<Name, Value> {
        let wanted = |name: &Name| name[0] == kind && namespace.is_none_or(|namespace| name[1] == namespace);
        let all = self.by_name.iter().filter(|(name, _)| wanted(name));
        all.map(|(name, object)| (name.clone(), object.clone())).collect()
    }
}

fn name(object: &Value) -> Name {
    let metadata = &object["metadata"];
    [&object["kind"], &metadata["namespace"], &metadata["name"]]
        .map(|part| part.as_str().unwrap_or_default().to_owned())
}

async fn accept(listener: TcpListener, objects: watch::Receiver<Objects>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let objects = objects.clone();
        connections.spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&request, &objects);
                async { Ok::<_, Infallible>(response) }
            });
            // A connection that fails is the client's to notice.
            drop(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

fn answer(request: &Request<Incoming>, objects: &watch::Receiver<Objects>) -> Response<Body> {
    let path = request.uri().path().trim_matches('/');
    let query = request.uri().query().unwrap_or_default();
    if let Some(discovered) = discovery(path) {
        return response(200, whole(&discovered));
    }
    let Some((kind, namespace)) = wanted(path) else {
        let gone = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound" });
        return response(404, whole(&gone));
    };
    let namespace = namespace.map(str::to_owned);
    if query.split('&').any(|pair| pair == "watch=true") {
        return response(200, changes(kind, namespace, objects.clone()));
    }
    let objects = objects.borrow();
    let items: Vec<Value> = objects.of(kind, namespace.as_deref()).into_values().collect();
    let version = items
        .first()
        .map_or(Value::Null, |item| item["apiVersion"].clone());
    let list = json!({
        "kind": format!("{kind}List"),
        "apiVersion": version,
        "metadata": { "resourceVersion": objects.revision.to_string() },
        "items": items,
    });
    response(200, whole(&list))
}

/// What clients ask first: which kinds there are.
fn discovery(path: &str) -> Option<Value> {
    let groups = || {
        let mut groups: Vec<&str> = KINDS
            .iter()
            .filter_map(|(at, ..)| at.strip_prefix("apis/"))
            .collect();
        groups.dedup();
        groups.into_iter().filter_map(|at| {
            let (group, version) = at.split_once('/')?;
            let version = json!({ "groupVersion": at, "version": version });
            Some(json!({ "name": group, "versions": [version], "preferredVersion": version }))
        })
    };
    match path {
        "version" => Some(json!({ "major": "1", "minor": "36", "gitVersion": "v1.36.0" })),
        "api" => Some(json!({ "kind": "APIVersions", "versions": ["v1"] })),
        "apis" => Some(
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups().collect::<Vec<_>>() }),
        ),
        _ => {
            let here: Vec<Value> = KINDS
                .iter()
                .filter(|(at, ..)| *at == path)
                .map(|(_, plural, kind)| {
                    json!({
                        "name": plural, "singularName": kind.to_lowercase(), "namespaced": true, "kind": kind,
                        "verbs": ["get", "list", "watch"],
                    })
                })
                .collect();
            let version = path.trim_start_matches("apis/").trim_start_matches("api/");
            (!here.is_empty()).then(|| {
                json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": here })
            })
        }
    }
}

/// The kind that a path is about, and the namespace if it names one.
fn wanted(path: &str) -> Option<(&'static str, Option<&str>)> {
    KINDS.iter().find_map(|(at, plural, kind)| {
        let rest = path.strip_prefix(at)?.strip_prefix('/')?;
        let (namespace, rest) = match rest.strip_prefix("namespaces/") {
            Some(rest) => {
                let (namespace, rest) = rest.split_once('/')?;
                (Some(namespace), rest)
            }
            None => (None, rest),
        };
        (rest == *plural).then_some((*kind, namespace))
    })
}

/// A watch: what there is, a bookmark that says that this was all, then what changes.
///
/// See <https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists>.
fn changes(kind: &'static str, namespace: Option<String>, objects: watch::Receiver<Objects>) -> Body {
    struct Watch {
        objects: watch::Receiver<Objects>,
        known: Option<BTreeMap<Name, Value>>,
    }
    let start = Watch { objects, known: None };
    let events = stream::unfold(start, move |mut watch| {
        let namespace = namespace.clone();
        async move {
            if watch.known.is_some() {
                watch.objects.changed().await.ok()?;
            }
            let (now, revision) = {
                let objects = watch.objects.borrow_and_update();
                (objects.of(kind, namespace.as_deref()), objects.revision)
            };
            let mut lines = difference(&watch.known.clone().unwrap_or_default(), &now);
            if watch.known.is_none() {
                let metadata = json!({
                    "resourceVersion": revision.to_string(),
                    "annotations": { "k8s.io/initial-events-end": "true" },
                });
                let version = KINDS.iter().find(|(.., its)| *its == kind).map(|(at, ..)| *at);
                let version = version.unwrap_or_default();
                let version = version.trim_start_matches("apis/").trim_start_matches("api/");
                let object = json!({ "kind": kind, "apiVersion": version, "metadata": metadata });
                lines.push(json!({ "type": "BOOKMARK", "object": object }));
            }
            watch.known = Some(now);
            let lines: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
            let text = lines.concat();
            Some((Ok(Frame::data(Bytes::from(text))), watch))
        }
    });
    BodyExt::boxed(StreamBody::new(Box::pin(events)))
}

fn difference(before: &BTreeMap<Name, Value>, now: &BTreeMap<Name, Value>) -> Vec<Value> {
    let gone = before.iter().filter(|(name, _)| !now.contains_key(*name));
    let gone = gone.map(|(_, object)| json!({ "type": "DELETED", "object": object }));
    let there = now.iter().filter_map(|(name, object)| match before.get(name) {
        None => Some(json!({ "type": "ADDED", "object": object })),
        Some(old) if old != object => Some(json!({ "type": "MODIFIED", "object": object })),
        Some(_) => None,
    });
    gone.chain(there).collect()
}

fn whole(value: &Value) -> Body {
    BodyExt::boxed(Full::from(value.to_string()))
}

fn response(status: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status.try_into().expect("both statuses in use are legal");
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
