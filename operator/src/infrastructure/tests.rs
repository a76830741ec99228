use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use operator_core::{
    infra::GatewayInfra,
    object::ObjectKey,
    observed::{InfrastructureFailure, ObservedGateway},
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{controller::Infrastructure, fleet::Tokens, metrics::Metrics, observations::Observations};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Does of an agent what the operator sees of it: holds the lock, says its process id, ends when told to.
const AGENT: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
    if [ "$1" = --prefix ]; then prefix=$2; fi
    shift
done
exec 9>"$prefix/agent.lock"
flock -n 9 || exit 1
echo $$ >"$prefix/init.pid"
trap 'exit 0' TERM
while :; do sleep 0.01 9>&-; done
"#;

/// Gateways in a folder of a test's own; what still runs is killed when this is dropped.
struct Machine {
    folder: TempDir,
    observations: Observations,
    wanted: watch::Sender<Option<Infrastructure>>,
    stop: CancellationToken,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let agent = folder.path().join("agent");
        fs::write(&agent, AGENT).unwrap();
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            folder,
            observations: Observations::default(),
            wanted: watch::Sender::new(None),
            stop: CancellationToken::new(),
        }
    }

    /// Starts what an operator would.
    fn start(&self) -> JoinHandle<()> {
        let settings = Settings {
            gateways: self.gateways(),
            addresses: "127.78.0.0/24".parse().unwrap(),
            privileged_port_shift: 0,
            agent: self.folder.path().join("agent"),
            nginx: PathBuf::from("nginx"),
            socket: self.folder.path().join("fleet.sock"),
        };
        let (tokens, metrics) = (Tokens::default(), Arc::new(Metrics::default()));
        let processes = Processes::new(settings, tokens, self.observations.clone(), metrics).unwrap();
        tokio::spawn(processes.run(self.wanted.subscribe(), self.stop.clone()))
    }

    fn want(&self, gateways: &[(&str, GatewayInfra)]) {
        let wanted = gateways
            .iter()
            .map(|(name, infra)| (ObjectKey::new("default", *name), infra.clone()));
        self.wanted.send_replace(Some(wanted.collect()));
    }

    fn gateways(&self) -> PathBuf {
        self.folder.path().join("gateways")
    }

    fn observed(&self, gateway: &str) -> ObservedGateway {
        self.observations
            .get()
            .gateways
            .remove(&ObjectKey::new("default", gateway))
            .unwrap_or_default()
    }

    /// Process ids of all agents that live, by name of their gateway.
    fn agents(&self) -> BTreeMap<String, Pid> {
        let folders = folder::existing(&self.gateways()).unwrap().into_iter();
        folders
            .filter_map(|(folder, record)| Some((record.name, folder.agent()?)))
            .collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for pid in self.agents().into_values() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

async fn eventually<T>(what: &str, attempt: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn asking_for(address: &str) -> GatewayInfra {
    GatewayInfra {
        addresses: vec![address.parse().unwrap()],
        ..GatewayInfra::default()
    }
}

#[tokio::test]
async fn every_gateway_has_an_agent_and_an_address_of_its_own() {
    let machine = Machine::new();
    let running = machine.start();
    machine.want(&[
        ("a", GatewayInfra::default()),
        ("b", GatewayInfra::default()),
        ("c", asking_for("127.78.1.1")),
    ]);
    let agents = eventually("three agents", || {
        Some(machine.agents()).filter(|agents| agents.len() == 3)
    })
    .await;
    let addresses = ["a", "b", "c"].map(|name| machine.observed(name).addresses.concat());
    assert_eq!(addresses, ["127.78.0.1", "127.78.0.2", "127.78.1.1"]);

    machine.stop.cancel();
    running.await.unwrap();
    for pid in agents.into_values() {
        assert!(
            test_kill_process(pid).is_err(),
            "agents end with the operator's orderly end"
        );
    }
}

#[tokio::test]
async fn an_agent_that_runs_already_is_taken_over() {
    let machine = Machine::new();
    let running = machine.start();
    machine.want(&[("a", GatewayInfra::default())]);
    let before = eventually("an agent", || machine.agents().remove("a")).await;
    let address = machine.observed("a").addresses;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());

    machine.observations.forget(&ObjectKey::new("default", "a"));
    machine.start();
    eventually("the address", || {
        Some(machine.observed("a").addresses).filter(|seen| *seen == address)
    })
    .await;
    assert_eq!(machine.agents().remove("a"), Some(before));
}

#[tokio::test]
async fn an_agent_that_dies_is_started_again() {
    let machine = Machine::new();
    machine.start();
    machine.want(&[("a", GatewayInfra::default())]);
    let before = eventually("an agent", || machine.agents().remove("a")).await;
    kill_process(before, Signal::KILL).unwrap();
    eventually("another agent", || {
        machine.agents().remove("a").filter(|pid| *pid != before)
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_is_gone_leaves_nothing() {
    let machine = Machine::new();
    machine.start();
    machine.want(&[("a", GatewayInfra::default())]);
    let pid = eventually("an agent", || machine.agents().remove("a")).await;
    machine.want(&[]);
    let is_empty = |folder: &Path| fs::read_dir(folder).unwrap().next().is_none();
    eventually("an empty folder", || is_empty(&machine.gateways()).then_some(())).await;
    assert!(test_kill_process(pid).is_err());
    assert!(machine.observations.get().gateways.is_empty());
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_a_failure_and_changes_nothing_else() {
    let machine = Machine::new();
    machine.start();
    machine.want(&[("a", asking_for("127.78.2.1"))]);
    eventually("an agent", || machine.agents().remove("a")).await;
    machine.want(&[("a", asking_for("192.0.2.1")), ("b", asking_for("127.78.2.1"))]);
    let failure = |name: &str| match machine.observed(name).failure {
        Some(InfrastructureFailure::AddressNotUsable(message)) => Some(message),
        _ => None,
    };
    let message = eventually("a failure", || failure("a")).await;
    assert!(
        message.starts_with("192.0.2.1 cannot be listened on: "),
        "{message}"
    );
    assert_eq!(machine.observed("a").addresses, ["127.78.2.1"]);
    assert_eq!(
        eventually("a failure", || failure("b")).await,
        "127.78.2.1 is the address of Gateway default/a"
    );
}

#[tokio::test]
async fn an_agent_that_cannot_be_started_is_a_failure() {
    let machine = Machine::new();
    fs::remove_file(machine.folder.path().join("agent")).unwrap();
    machine.start();
    machine.want(&[("a", GatewayInfra::default())]);
    let failure = eventually("a failure", || machine.observed("a").failure).await;
    assert!(
        matches!(&failure, InfrastructureFailure::Other(message) if message.starts_with("cannot start")),
        "{failure:?}"
    );
}
