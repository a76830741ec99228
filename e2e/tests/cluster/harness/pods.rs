//! Pods: their processes on this machine, and what they use.

use std::{
    fmt, fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::{client::Target, process::Process, standalone::eventually};
use hyper::Request;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::{Kind, Setting};

/// Where a gateway's agent keeps all of its files, in its pod.
const GATEWAY_FOLDER: &str = "/var/lib/flotilla";

/// A pod of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    uid: String,
}

/// What a pod has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Time on processors since its start.
    pub(crate) processor: Duration,
    /// Resident memory that belongs to no file, in bytes.
    pub(crate) memory: u64,
}

impl fmt::Display for Usage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.memory / 1024 / 1024;
        write!(formatter, "{mib} MiB, {:.1?} of processor time", self.processor)
    }
}

impl Setting {
    /// Pods with labels that run and are not told to stop, in order of name.
    pub(crate) async fn pods(&self, namespace: &str, labels: &str) -> Result<Vec<Pod>> {
        let pods = self.namespace_of(Kind::POD, namespace).list(labels).await?;
        let running = pods.iter().filter(|pod| {
            pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["phase"] == "Running"
        });
        running.map(Pod::read).collect()
    }

    /// What a pod has used until now; the kubelet takes a moment until it knows a new one.
    pub(crate) async fn usage(&self, pod: &Pod) -> Result<Usage> {
        eventually(async || {
            let nodes = self.everywhere(Kind::new("v1", "Node")).list("").await?;
            for node in nodes.iter().filter_map(|node| node["metadata"]["name"].as_str()) {
                let path = format!("/api/v1/nodes/{node}/proxy/stats/summary?only_cpu_and_memory=true");
                let summary: Value = self.client.request(Request::get(path).body(Vec::new())?).await?;
                let mut pods = summary["pods"].as_array().into_iter().flatten();
                if let Some(found) = pods.find(|found| found["podRef"]["uid"] == pod.uid.as_str()) {
                    return Usage::read(found).with_context(|| format!("no figures of {}", pod.name));
                }
            }
            bail!("no node knows pod {}", pod.name)
        })
        .await
    }
}

impl Usage {
    fn read(pod: &Value) -> Option<Self> {
        let figure = |value: &Value| value.as_u64().filter(|figure| *figure > 0);
        Some(Self {
            processor: Duration::from_nanos(figure(&pod["cpu"]["usageCoreNanoSeconds"])?),
            memory: figure(&pod["memory"]["rssBytes"])?,
        })
    }
}

impl Pod {
    fn read(pod: &Value) -> Result<Self> {
        let text = |value: &Value| {
            value
                .as_str()
                .map(str::to_owned)
                .context("a pod that runs has it")
        };
        Ok(Self {
            name: text(&pod["metadata"]["name"])?,
            address: text(&pod["status"]["podIP"])?.parse()?,
            uid: text(&pod["metadata"]["uid"])?,
        })
    }

    /// A figure that it counts, as it says at a port, summed over its labels; 0 where it has not counted yet.
    pub(crate) async fn figure(&self, port: u16, name: &str) -> Result<f64> {
        let target = Target::http(SocketAddr::new(self.address, port));
        let answer = target.get(&self.name, "/metrics").await?;
        ensure!(answer.status.is_success(), "{answer}");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().ok())?
        });
        Ok(values.sum())
    }

    /// Its processes, as this machine sees them: their control groups have the pod's id in their names.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let ids = [self.uid.clone(), self.uid.replace('-', "_")];
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers
            .filter(|number: &u32| {
                let groups = fs::read_to_string(format!("/proc/{number}/cgroup")).unwrap_or_default();
                ids.iter().any(|id| groups.contains(id.as_str()))
            })
            .filter_map(Process::with_id)
            .collect()
    }

    /// The folder of a gateway's pod, as this machine sees it.
    pub(crate) fn gateway_folder(&self) -> Result<PathBuf> {
        let processes = self.processes_of("flotilla-agent init");
        let process = processes.first();
        let process = process.with_context(|| format!("{} runs no agent", self.name))?;
        Ok(format!("/proc/{}/root{GATEWAY_FOLDER}", process.id()).into())
    }

    /// What an NGINX worker of a gateway says of itself: its process id, the version that it serves, and how often NGINX
    /// was reloaded.
    pub(crate) async fn ask_nginx(&self) -> Result<String> {
        let socket = self.gateway_folder()?.join("nginx.sock");
        let mut stream = UnixStream::connect(&socket)
            .await
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        stream.write_all(b"GET /version HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer.lines().last().unwrap_or_default().to_owned())
    }

    /// Those of its processes whose command line has these words.
    pub(crate) fn processes_of(&self, words: &str) -> Vec<Process> {
        let mut processes = self.processes();
        processes.retain(|process| process.command_line().contains(words));
        processes
    }
}
