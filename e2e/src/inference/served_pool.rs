//! A pool behind a gateway: echoes as its pods, and a picker that follows scripts.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use tonic::Status;

use super::{
    manifests::{self, picked_by},
    picker::{Exchange, Picker},
};
use crate::{
    client::{Answer, Request, Target},
    echo::Echo,
    loopback::Loopback,
    manifests::EDGE,
    standalone::{Standalone, eventually},
};

/// The host that the pool is reached by.
pub const HOST: &str = "models.example";

/// The last octet of the first pod's address.
pub const FIRST_POD: u8 = 100;

/// The last octet of the picker's address.
pub const PICKER: u8 = 200;

/// The port of every pod.
pub const POD_PORT: u16 = 8000;

/// Names the `NginxFleet` of [`Options::proxy`].
const FLEET: &str = "\
apiVersion: flotilla.dev/v1alpha1
kind: NginxFleet
metadata: { name: fleet, namespace: default }
spec: { proxy: {proxy}, nginx: {nginx} }
";

/// What is unusual about a pool.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// How many pods it has.
    pub pods: u8,
    /// What happens while the picker fails: `FailOpen` or `FailClose`.
    pub failure_mode: &'a str,
    /// What the pods speak: `http` or `kubernetes.io/h2c`.
    pub app_protocol: &'a str,
    /// `spec.proxy` of the gateway's `NginxFleet`, in flow style.
    pub proxy: &'a str,
    /// `spec.nginx` of the same.
    pub nginx: &'a str,
}

/// A pool that is served.
#[derive(Debug)]
pub struct ServedPool {
    /// The operator with its gateway.
    pub standalone: Standalone,
    /// Where clients send requests to.
    pub edge: Target,
    /// The pods, in order of their addresses, called `pod-0` and so on.
    pub pods: Vec<Echo>,
    /// The picker; at first it chooses all pods, in order.
    pub picker: Picker,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            pods: 2,
            failure_mode: "FailClose",
            app_protocol: "http",
            proxy: "{}",
            nginx: "{}",
        }
    }
}

impl ServedPool {
    /// Two pods, a picker in plain text, `FailClose`.
    pub async fn start() -> Result<Self> {
        Self::with(Options::default()).await
    }

    /// Starts a pool with what is unusual about it, and waits until a request is served.
    pub async fn with(options: Options<'_>) -> Result<Self> {
        let loopback = Loopback::lease()?;
        let addresses: Vec<SocketAddr> = (0..options.pods).map(|pod| pod_address(&loopback, pod)).collect();
        let pods = addresses.iter().enumerate();
        let pods = try_join_all(
            pods.map(async |(number, address)| Echo::start(&format!("pod-{number}"), *address).await),
        )
        .await?;
        let endpoints: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let picker = Picker::choosing(loopback.socket(PICKER, 9002), &endpoints.join(",")).await?;
        let ips: Vec<Ipv4Addr> = (0..options.pods)
            .map(|pod| loopback.address(FIRST_POD + pod))
            .collect();
        let spec = format!(
            "appProtocol: {}, targetPorts: [{{ number: {POD_PORT} }}], {}",
            options.app_protocol,
            picked_by("picker", options.failure_mode),
        );
        let edge = EDGE.replace(
            "  gatewayClassName: flotilla\n",
            "  gatewayClassName: flotilla\n  infrastructure:\n    \
             parametersRef: { group: flotilla.dev, kind: NginxFleet, name: fleet }\n",
        );
        let manifests = [
            ("edge.yaml", edge),
            (
                "fleet.yaml",
                FLEET
                    .replace("{proxy}", options.proxy)
                    .replace("{nginx}", options.nginx),
            ),
            ("route.yaml", manifests::route_to(HOST, "models")),
            ("pool.yaml", manifests::pool("models", &spec)),
            ("pods.yaml", manifests::pods("models", &ips)),
            ("picker.yaml", manifests::picker("picker", picker.address())),
        ];
        let manifests: Vec<(&str, &str)> = manifests
            .iter()
            .map(|(file, yaml)| (*file, yaml.as_str()))
            .collect();
        let standalone = Standalone::start_with(loopback, &manifests).await?;
        let edge = standalone.edge().await?;
        eventually(async || edge.get(HOST, "/").await?.seen()).await?;
        Ok(Self {
            standalone,
            edge,
            pods,
            picker,
        })
    }

    /// Where the pod of this number is, from 0; it need not exist.
    pub fn pod(&self, number: u8) -> SocketAddr {
        pod_address(self.standalone.loopback(), number)
    }

    /// Has the picker do this in every exchange that begins from now on, for which it is told the first pod's address.
    pub fn follow<Script, Ends>(&self, script: Script)
    where
        Script: Fn(Exchange, String) -> Ends + Send + Sync + 'static,
        Ends: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let pod = self.pod(0).to_string();
        self.picker.follow(move |exchange| script(exchange, pod.clone()));
    }

    /// Resolves when no exchange with the picker is open.
    pub async fn exchanges_have_ended(&self) -> Result<()> {
        eventually(async || {
            let open = self.picker.open();
            ensure!(open == 0, "{open} exchanges with the picker are open");
            Ok(())
        })
        .await
    }

    /// Sends a request to the pool and takes the whole answer.
    pub async fn send(&self, request: Request) -> Result<Answer> {
        self.edge.send(request.host(HOST)).await
    }

    /// Sends a `GET` of a path to the pool and takes the whole answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Request::get(path)).await
    }
}

fn pod_address(loopback: &Loopback, number: u8) -> SocketAddr {
    loopback.socket(FIRST_POD + number, POD_PORT)
}
