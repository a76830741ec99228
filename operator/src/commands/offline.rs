//! A folder as it would be run, with nothing running.

use std::{collections::BTreeMap, net::Ipv4Addr, path::Path};

use operator_core::{
    observed::{Instance, Observed, ObservedGateway, ObservedPicker},
    options::{ListenOn, Options},
    outcome::{GatewayOutcome, Outcome},
    reconcile,
    snapshot::Snapshot,
};

use crate::source::{ApiServer, Folder, ObjectId, Position, Problem, Severity};

/// The objects of a folder, each as if it had just been created.
pub(super) struct Offline {
    pub snapshot: Snapshot,
    pub positions: BTreeMap<ObjectId, Position>,
    pub problems: Vec<Problem>,
}

impl Offline {
    /// Reads a folder; notes about files go to standard error.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let folder = Folder::open(folder)?;
        let mut api_server = ApiServer::default();
        let problems = api_server.read(&folder);
        let (problems, notes): (_, Vec<_>) = problems
            .into_iter()
            .partition(|problem| problem.severity == Severity::Error);
        for note in notes {
            eprintln!("note: {note}");
        }
        Ok(Self {
            snapshot: api_server.stores().snapshot(),
            positions: folder.positions(),
            problems,
        })
    }

    /// The same, with problems of files on standard error too.
    pub(super) fn read_loudly(folder: &Path) -> anyhow::Result<Self> {
        let offline = Self::read(folder)?;
        for problem in &offline.problems {
            eprintln!("warning: {problem}");
        }
        Ok(offline)
    }

    /// What would be made of the objects, with nothing running.
    pub(super) fn outcome(&self) -> Outcome {
        reconcile(&self.snapshot, &Observed::default(), &options())
    }

    /// What would be made of the objects if every gateway ran as wanted, so that nothing is said of what only running
    /// can settle.
    pub(super) fn outcome_when_served(&self) -> Outcome {
        let Outcome {
            gateways, pickers, ..
        } = self.outcome();
        let gateways = gateways.into_iter();
        let picks = ObservedPicker {
            ready: 1,
            wanted: 1,
            ..ObservedPicker::default()
        };
        let observed = Observed {
            gateways: gateways.map(|(key, wanted)| (key, served(&wanted))).collect(),
            pickers: pickers.into_keys().map(|key| (key, picks.clone())).collect(),
            authorities: String::new(),
        };
        reconcile(&self.snapshot, &observed, &options())
    }
}

/// What is not bound to any machine.
pub(super) fn options() -> Options {
    Options {
        listen: ListenOn::Every,
        ..Options::default()
    }
}

/// What is observed of a gateway that serves what is wanted.
fn served(wanted: &GatewayOutcome) -> ObservedGateway {
    let config = wanted
        .generation
        .as_ref()
        .map(|generation| generation.config.version.clone());
    let instance = Instance {
        config: config.unwrap_or_default(),
        ready: true,
        ..Instance::default()
    };
    let addresses = match &wanted.infra.addresses[..] {
        [] => vec![Ipv4Addr::LOCALHOST.to_string()],
        wanted => wanted.iter().map(ToString::to_string).collect(),
    };
    ObservedGateway {
        addresses,
        instances: BTreeMap::from([("check".to_owned(), instance)]),
        ..ObservedGateway::default()
    }
}
