//! What the processes of a gateway hold: memory, sockets and requests.

use std::{fmt, path::Path};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::{process::Process, standalone::Standalone};

/// All that one gateway holds at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// Of the agent's supervisor.
    pub supervisor: Held,
    /// Of the agent's proxy.
    pub proxy: Held,
    /// Of NGINX's master and workers together.
    pub nginx: Held,
    /// Requests that the proxy says are in flight.
    pub in_flight: u64,
    /// Connections of clients that NGINX says are open, the one it was asked on included; none where it does not count.
    pub connections: Option<u64>,
}

/// What processes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Anonymous memory in KiB.
    pub memory: u64,
    /// Open sockets.
    pub sockets: usize,
}

impl Holdings {
    /// Of the only gateway of an operator.
    pub async fn of(standalone: &Standalone) -> Result<Self> {
        let processes = standalone.gateway_processes();
        let held = |words: &str| {
            let named = processes
                .iter()
                .filter(|process| process.command_line().contains(words));
            let held = named.map(Held::by).reduce(Held::and);
            held.with_context(|| format!("no process {words:?}"))
        };
        let prefix = standalone.gateway_folder()?;
        let proxy = proxy_metrics(standalone).await?;
        let nginx = get(&prefix.join("nginx.sock"), "/connections").await?;
        Ok(Self {
            supervisor: held("flotilla-agent supervise ")?,
            proxy: held("flotilla-agent proxy ")?,
            nginx: held("nginx: ")?,
            in_flight: number(&proxy, "flotilla_proxy_requests_in_flight")?,
            connections: number(&nginx, "").ok(),
        })
    }
}

impl Held {
    /// By one process.
    pub fn by(process: &Process) -> Self {
        Self {
            memory: process.anonymous(),
            sockets: process.sockets(),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            memory: self.memory + other.memory,
            sockets: self.sockets + other.sockets,
        }
    }
}

impl fmt::Display for Holdings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            supervisor,
            proxy,
            nginx,
            in_flight,
            connections,
        } = self;
        write!(
            formatter,
            "supervisor {supervisor}, proxy {proxy}, NGINX {nginx}; {in_flight} requests in flight"
        )?;
        connections.map_or(Ok(()), |connections| {
            write!(formatter, ", {connections} connections")
        })
    }
}

impl fmt::Display for Held {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} KiB and {} sockets", self.memory, self.sockets)
    }
}

/// What the proxy of the only gateway of an operator counts, as Prometheus is told.
pub async fn proxy_metrics(standalone: &Standalone) -> Result<String> {
    get(&standalone.gateway_folder()?.join("proxy.sock"), "/metrics").await
}

/// The body of the answer on a unix socket; in HTTP/1.0, so that it ends with the connection.
async fn get(socket: &Path, path: &str) -> Result<String> {
    let mut stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("cannot connect to {}", socket.display()))?;
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("no answer: {answer}"))?;
    Ok(body.to_owned())
}

/// What follows a name at the start of a line.
fn number(text: &str, name: &str) -> Result<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
    let found = lines.find_map(|line| line.split_whitespace().next()?.parse().ok());
    found.with_context(|| format!("no number {name:?} in {text}"))
}
