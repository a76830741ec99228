//! The inference extension's own picker, outside of a cluster.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{api_server::ApiServer, programs::Program};
use crate::{
    process::{Process, adopt_orphans, end},
    standalone::eventually,
};

/// Endpoints with short queues and free caches first, and a second one in case the first is dead.
pub const BY_LOAD: &str = "\
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: max-score-picker
  parameters: { maxNumOfEndpoints: 2 }
- type: single-profile-handler
- type: destination-endpoint-served-verifier
schedulingProfiles:
- name: default
  plugins:
  - { pluginRef: queue-scorer, weight: 2 }
  - { pluginRef: kv-cache-utilization-scorer, weight: 1 }
  - { pluginRef: max-score-picker }
";

/// Endpoints that have seen the beginning of a prompt before.
pub const BY_PREFIX: &str = "\
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: prefix-cache-scorer
- type: max-score-picker
- type: single-profile-handler
schedulingProfiles:
- name: default
  plugins:
  - { pluginRef: prefix-cache-scorer, weight: 1 }
  - { pluginRef: max-score-picker }
";

/// The endpoints that the header `test-epp-endpoint-selection` names.
pub const BY_HEADER: &str = "\
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: header-based-testing-filter
- type: max-score-picker
- type: single-profile-handler
- type: destination-endpoint-served-verifier
schedulingProfiles:
- name: default
  plugins:
  - { pluginRef: header-based-testing-filter }
  - { pluginRef: max-score-picker }
";

/// A picker that runs; it ends when this value is dropped.
///
/// It listens at all addresses of the machine, at three ports in a row, so tests run it in a
/// [network](crate::network) of their own.
#[derive(Debug)]
pub struct FullPicker {
    picker: Child,
    folder: TempDir,
    port: u16,
}

impl FullPicker {
    /// Starts a picker with an `EndpointPickerConfig` for the pool `default/{pool}`, in plain text, and waits until
    /// it listens.
    pub async fn start(api_server: &ApiServer, pool: &str, port: u16, configuration: &str) -> Result<Self> {
        Self::run(api_server, pool, port, configuration, false).await
    }

    /// The same with TLS, as it is by default: its certificate is signed by nobody and has no name.
    pub async fn start_tls(
        api_server: &ApiServer,
        pool: &str,
        port: u16,
        configuration: &str,
    ) -> Result<Self> {
        Self::run(api_server, pool, port, configuration, true).await
    }

    async fn run(
        api_server: &ApiServer,
        pool: &str,
        port: u16,
        configuration: &str,
        tls: bool,
    ) -> Result<Self> {
        let program = Program::FullPicker.get()?;
        let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
        let configured = folder.path().join("configuration.yaml");
        fs::write(&configured, configuration).context("cannot write the picker's configuration")?;
        let log = File::create(folder.path().join("log")).context("cannot create the picker's log")?;
        let mut command = Command::new(program);
        command
            .arg("--config-file")
            .arg(configured)
            .args(["--pool-namespace", "default", "--pool-name", pool])
            .args(["--metrics-endpoint-auth=false", "--tracing=false"])
            .args(["--refresh-prometheus-metrics-interval", "100ms"])
            .arg(format!("--secure-serving={tls}"))
            .args(["--grpc-port", &port.to_string()])
            .args(["--grpc-health-port", &(port + 1).to_string()])
            .args(["--metrics-port", &(port + 2).to_string()])
            .env("KUBECONFIG", api_server.kubeconfig(folder.path())?)
            .env("NAMESPACE", "default")
            .env("POD_NAME", "picker-0");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        adopt_orphans();
        let picker = Self {
            picker: command.spawn().context("cannot start the picker")?,
            folder,
            port,
        };
        let address = picker.at(Ipv4Addr::LOCALHOST);
        eventually(async || {
            let connected = TcpStream::connect(address).await;
            connected.with_context(|| format!("the picker does not listen: {}", picker.log()))
        })
        .await?;
        Ok(picker)
    }

    /// Where it is, by one of the machine's addresses.
    pub fn at(&self, address: Ipv4Addr) -> SocketAddr {
        SocketAddr::from((address, self.port))
    }

    /// Where its metrics are, by one of the machine's addresses.
    pub fn metrics(&self, address: Ipv4Addr) -> SocketAddr {
        SocketAddr::from((address, self.port + 2))
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for FullPicker {
    fn drop(&mut self) {
        end(&[Process::of(&self.picker)]);
    }
}

/// An `InferencePool` of `default` as a picker reads it: pods with the label `app: {name}`.
pub fn pool(name: &str, ports: &[u16]) -> Value {
    let ports: Vec<Value> = ports.iter().map(|port| json!({ "number": port })).collect();
    json!({
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": { "name": name, "namespace": "default", "uid": format!("pool-{name}"), "generation": 1 },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "targetPorts": ports,
            "endpointPickerRef": { "name": "picker", "port": { "number": 9002 } },
        },
    })
}

/// A pod of `default` that is ready, with the label `app: {app}`.
pub fn pod(name: &str, app: &str, address: Ipv4Addr) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "uid": format!("pod-{name}"), "labels": { "app": app } },
        "spec": { "containers": [{ "name": "server", "image": "server" }] },
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{ "ip": address }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::Target,
        inference::model_server::{ModelServer, Pace},
        network,
    };

    #[tokio::test]
    async fn scrapes_the_pods_of_its_pool() -> Result<()> {
        if !network::is_own("inference::full_picker::tests::scrapes_the_pods_of_its_pool")? {
            return Ok(());
        }
        let api_server = ApiServer::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        api_server.apply(pool("models", &[8000]));
        let picker = FullPicker::start(&api_server, "models", 9002, BY_LOAD).await?;
        let ready = async |count: usize| {
            let line = format!("inference_pool_ready_pods{{name=\"models\"}} {count}");
            let target = Target::http(picker.metrics(Ipv4Addr::LOCALHOST));
            eventually(async || {
                let metrics = target.get("picker", "/metrics").await?;
                let text = String::from_utf8_lossy(&metrics.body).into_owned();
                anyhow::ensure!(text.contains(&line), "no {line} in {text}");
                Ok(())
            })
            .await
        };
        let addresses = [2, 3].map(|host| Ipv4Addr::new(127, 0, 0, host));
        let mut servers = Vec::new();
        for (name, address) in ["a", "b"].into_iter().zip(addresses) {
            servers.push(ModelServer::start(name, (address, 8000).into(), Pace::INSTANT).await?);
            api_server.apply(pod(name, "models", address));
        }
        ready(2).await?;
        api_server.delete("Pod", "default", "a");
        ready(1).await
    }
}
