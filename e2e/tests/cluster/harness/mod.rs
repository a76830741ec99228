//! What surrounds a test in the cluster.
//!
//! ```text
//! beside_others, alone ──> Setting: a namespace and a client ──> Gateway: its address, pods, load on it
//!                             └ objects: apply, change, wait by watch     └ pods: their processes, what they use
//! ```

mod gateway;
mod objects;
mod operator;
mod pods;

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use e2e::cluster::{Cluster, NAMESPACE};
use futures::FutureExt as _;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use tokio::sync::{OnceCell, RwLock};

pub(crate) use e2e::environment::{limit, number};

pub(crate) use self::{
    gateway::{Gateway, manifest, route, served},
    objects::{Kind, condition},
    pods::{Pod, Usage},
};

/// How long anything that a test waits for may take: pods may have to start one after the other, and to end before that.
const PATIENCE: Duration = Duration::from_mins(3);

/// How long the kubelet may take to bring a Secret or a `ConfigMap` into a pod, and the pod to notice.
pub(crate) const PROJECTION: Duration = Duration::from_mins(4);

/// Held by the tests that run side by side, or by one that wants to be alone.
static TURN: RwLock<()> = RwLock::const_new(());

/// Whether the operator is installed as this checkout has it.
static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// What a test has.
pub(crate) struct Setting {
    pub(crate) cluster: Cluster,
    pub(crate) client: Client,
    /// Its own namespace, gone when the test has ended.
    pub(crate) namespace: String,
}

/// Runs a test in a namespace of this name while others run in theirs.
pub(crate) async fn beside_others(name: &str, test: impl AsyncFnOnce(&Setting) -> Result<()>) -> Result<()> {
    let _turn = TURN.read().await;
    let outcome = outcome(name, test).await;
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Runs a test in a namespace of this name while no other runs.
pub(crate) async fn alone(name: &str, test: impl AsyncFnOnce(&Setting) -> Result<()>) -> Result<()> {
    let _turn = TURN.write().await;
    let outcome = outcome(name, test).await;
    if !matches!(outcome, Ok(Ok(()))) {
        // Whatever it has done to the operator and to definitions, the next test is not to suffer.
        let mended = Cluster::expect_running()
            .and_then(|_| Cluster::up())
            .and_then(|cluster| cluster.install::<&str>(&[]));
        mended.unwrap_or_else(|error| eprintln!("the cluster is not as it was: {error:#}"));
    }
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

/// What comes of a test in a namespace of this name, a panic included; one that failed has shown what there is to see.
async fn outcome(name: &str, test: impl AsyncFnOnce(&Setting) -> Result<()>) -> thread::Result<Result<()>> {
    let setting = match Setting::make(name).await {
        Ok(setting) => setting,
        Err(error) => return Ok(Err(error)),
    };
    let outcome = AssertUnwindSafe(test(&setting)).catch_unwind().await;
    let is_good = matches!(outcome, Ok(Ok(())));
    if !is_good {
        setting.explain();
    }
    let deleted = setting.namespace(Kind::NAMESPACE).delete(name).await;
    if is_good { Ok(deleted) } else { outcome }
}

impl Setting {
    async fn make(name: &str) -> Result<Self> {
        let cluster = Cluster::expect_running()?;
        // All that a test does is on its own thread, whose runtime has no others.
        cluster.enter()?;
        INSTALLED
            .get_or_try_init(async || cluster.install::<&str>(&[]))
            .await?;
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let setting = Self {
            cluster,
            client: Client::try_from(config)?,
            namespace: name.to_owned(),
        };
        // One that a run before this has left is on its way out, or nobody has ended it.
        setting.delete(Kind::NAMESPACE, name).await?;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        setting.apply_value(namespace).await?;
        Ok(setting)
    }

    /// Has a thread of its own, in the cluster's network, do what takes a while.
    pub(crate) async fn in_background<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cluster) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        tokio::task::spawn_blocking(|| work(&Cluster::expect_running()?)).await?
    }

    /// Shows what there is to see of a test that failed.
    fn explain(&self) {
        let own = format!("--namespace={}", self.namespace);
        let operators = format!("--namespace={NAMESPACE}");
        for arguments in [
            vec![&own, "describe", "gateways,httproutes"],
            vec![&own, "get", "deployments,pods,events"],
            vec![
                &own,
                "logs",
                "--prefix",
                "--selector=app.kubernetes.io/name=flotilla-gateway",
            ],
            vec![&operators, "get", "pods"],
            vec![
                &operators,
                "logs",
                "--prefix",
                "--selector=app.kubernetes.io/name=flotilla",
            ],
        ] {
            let said = self.cluster.kubectl(&arguments);
            let said = said.unwrap_or_else(|error| error.to_string());
            eprintln!("--- kubectl {}\n{said}", arguments.join(" "));
        }
    }
}

/// Within [`PATIENCE`], or what had not come by then.
pub(crate) async fn in_time<T>(claim: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .with_context(|| format!("not within {PATIENCE:?}: {claim}"))?
}
