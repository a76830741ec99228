//! A Gateway that runs in the cluster, and what tests need around it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    client::{Request, Target},
    load::Load,
    standalone::eventually,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Kind, Pod, Setting, condition};

/// The Service that echoes requests, and its Deployment.
const ECHO: &str = "echo";

/// How long one attempt may take to see whether something is served.
const ATTEMPT: Duration = Duration::from_millis(250);

/// A Gateway of the test's namespace.
pub(crate) struct Gateway<'a> {
    setting: &'a Setting,
    name: String,
    pub(crate) address: IpAddr,
}

impl Setting {
    /// Makes a Gateway with a listener for HTTP on port 80, and waits until it is programmed.
    pub(crate) async fn gateway(&self, name: &str) -> Result<Gateway<'_>> {
        self.apply_gateway(name).await?;
        self.programmed(name).await
    }

    /// Applies a Gateway with a listener for HTTP on port 80.
    pub(crate) async fn apply_gateway(&self, name: &str) -> Result<()> {
        self.apply_value(manifest(name)).await
    }

    /// Makes a Gateway that runs as the `NginxFleet` of its name says, and waits until it is programmed.
    pub(crate) async fn gateway_of_fleet(&self, name: &str, fleet: Value) -> Result<Gateway<'_>> {
        self.apply_gateway_of_fleet(name, fleet).await?;
        self.programmed(name).await
    }

    /// Applies a Gateway that runs as the `NginxFleet` of its name says.
    pub(crate) async fn apply_gateway_of_fleet(&self, name: &str, fleet: Value) -> Result<()> {
        self.apply_fleet(name, fleet).await?;
        let mut gateway = manifest(name);
        gateway["spec"]["infrastructure"] = json!({
            "parametersRef": {"group": "flotilla.dev", "kind": "NginxFleet", "name": name},
        });
        self.apply_value(gateway).await
    }

    /// Applies an `NginxFleet` with these settings and no others.
    pub(crate) async fn apply_fleet(&self, name: &str, settings: Value) -> Result<()> {
        self.apply_value(json!({
            "apiVersion": "flotilla.dev/v1alpha1",
            "kind": "NginxFleet",
            "metadata": {"name": name},
            "spec": settings,
        }))
        .await
    }

    /// Waits until a Gateway is programmed as it is by now.
    pub(crate) async fn programmed(&self, name: &str) -> Result<Gateway<'_>> {
        let gateways = self.namespace(Kind::GATEWAY);
        let gateway = gateways
            .until(name, "it is programmed", |gateway| {
                let programmed = condition(&gateway["status"], "Programmed");
                programmed["status"] == "True"
                    && programmed["observedGeneration"] == gateway["metadata"]["generation"]
            })
            .await?;
        let address = gateway["status"]["addresses"][0]["value"].as_str();
        let address = address.context("a programmed Gateway has an address")?;
        Ok(Gateway {
            setting: self,
            name: name.to_owned(),
            address: address.parse()?,
        })
    }

    /// Applies a route of all requests for a host to the echo Service, by way of the Gateway `edge`.
    pub(crate) async fn route(&self, name: &str, host: &str) -> Result<()> {
        self.apply_value(route("edge", name, host)).await
    }

    /// Runs this many backends that tell what they were asked, as the Service `echo`, and waits until they are ready.
    pub(crate) async fn echo(&self, replicas: usize) -> Result<()> {
        self.backends(ECHO, replicas).await
    }

    /// The same as a Service of another name.
    pub(crate) async fn backends(&self, service: &str, replicas: usize) -> Result<()> {
        let labels = json!({"app": service});
        let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
        self.apply_value(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": service},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 3000}]},
        }))
        .await?;
        self.apply_value(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": service},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "enableServiceLinks": false,
                        "containers": [{
                            "name": ECHO,
                            "image": "flotilla.test/echo:dev",
                            "env": [
                                {"name": "POD_NAME", "valueFrom": field("metadata.name")},
                                {"name": "NAMESPACE", "valueFrom": field("metadata.namespace")},
                            ],
                            "readinessProbe": {"tcpSocket": {"port": 3000}, "periodSeconds": 1},
                            // Requests that are on their way when it is told to stop still find it.
                            "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
                        }],
                    },
                },
            },
        }))
        .await?;
        self.settled(service).await
    }

    /// Waits until a Deployment has all its pods, as it wants them by now, and no others.
    pub(crate) async fn settled(&self, deployment: &str) -> Result<()> {
        self.settled_in(&self.namespace, deployment).await
    }

    /// The same in another namespace.
    pub(crate) async fn settled_in(&self, namespace: &str, deployment: &str) -> Result<()> {
        let deployments = self.namespace_of(Kind::DEPLOYMENT, namespace);
        deployments
            .until(deployment, "its pods are there", |deployment| {
                let (spec, status) = (&deployment["spec"], &deployment["status"]);
                let wanted = spec["replicas"].as_u64().unwrap_or(0);
                status["observedGeneration"] == deployment["metadata"]["generation"]
                    && [
                        "replicas",
                        "updatedReplicas",
                        "readyReplicas",
                        "availableReplicas",
                    ]
                    .iter()
                    .all(|field| status[field].as_u64().unwrap_or(0) == wanted)
            })
            .await?;
        Ok(())
    }
}

impl Gateway<'_> {
    /// Where its listener for HTTP is.
    pub(crate) fn http(&self) -> Target {
        Target::http(SocketAddr::new(self.address, 80))
    }

    /// Where its listener for HTTPS is.
    pub(crate) fn https(&self, name: &str) -> Target {
        Target::https(SocketAddr::new(self.address, 443), name)
    }

    /// A hundred requests a second to this host.
    pub(crate) fn load(&self, host: &str) -> Load {
        Load::new(self.http(), Request::get("/").host(host))
    }

    /// The name of all objects that run it.
    pub(crate) fn objects(&self) -> String {
        format!("flotilla-{}", self.name)
    }

    /// Its pods that are not told to stop.
    pub(crate) async fn pods(&self) -> Result<Vec<Pod>> {
        let selector = format!("gateway.networking.k8s.io/gateway-name={}", self.name);
        self.setting.pods(&self.setting.namespace, &selector).await
    }

    /// Has it run on this many pods, and waits until it does.
    pub(crate) async fn scale(&self, replicas: usize) -> Result<()> {
        let deployments = self.setting.namespace(Kind::DEPLOYMENT);
        let patch = json!({"spec": {"replicas": replicas}});
        deployments.merge(&self.objects(), patch).await?;
        self.setting.settled(&self.objects()).await
    }

    /// How often NGINX was reloaded in its pods, as the NGINX workers there say themselves.
    pub(crate) async fn reloads(&self) -> Result<BTreeMap<String, u64>> {
        let mut reloads = BTreeMap::new();
        for pod in self.pods().await? {
            let said = pod.ask_nginx().await?;
            let number = said.split_whitespace().last().and_then(|word| word.parse().ok());
            reloads.insert(pod.name, number.with_context(|| format!("NGINX says {said:?}"))?);
        }
        Ok(reloads)
    }
}

/// A Gateway with a listener for HTTP on port 80.
pub(crate) fn manifest(name: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name},
        "spec": {
            "gatewayClassName": "flotilla",
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        },
    })
}

/// A route of all requests for a host to the echo Service, by way of a Gateway.
pub(crate) fn route(gateway: &str, name: &str, host: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {
            "parentRefs": [{"name": gateway}],
            "hostnames": [host],
            "rules": [{"backendRefs": [{"name": ECHO, "port": 80}]}],
        },
    })
}

/// Waits until a host is served, and says how long that took.
pub(crate) async fn served(target: &Target, host: &str) -> Result<Duration> {
    let started = Instant::now();
    eventually(async || {
        // Packets to a load balancer that the node does not know yet are lost, and TCP waits long before it tries again.
        let answer = timeout(ATTEMPT, target.get(host, "/")).await??;
        ensure!(answer.status.is_success(), "{answer}");
        Ok(())
    })
    .await?;
    Ok(started.elapsed())
}
