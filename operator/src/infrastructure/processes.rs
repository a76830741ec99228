//! All gateways as processes of this machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as _,
    iter,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use operator_core::{infra::GatewayInfra, object::ObjectKey, observed::InfrastructureFailure};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    addresses::usable,
    agent::{Agent, Look},
    folder::{Error, GatewayFolder, Record, existing},
    settings::Settings,
};
use crate::{controller::Infrastructure, fleet::Tokens, metrics::Metrics, observations::Observations};

/// How often the agents are looked at.
const PERIOD: Duration = Duration::from_millis(200);

/// Runs gateways, and keeps them running.
///
/// Agents are no business of the process that started them: one that runs already is found by the lock in its folder
/// and taken over, so an operator that is killed and started again changes nothing.
pub struct Processes {
    settings: Settings,
    tokens: Tokens,
    observations: Observations,
    metrics: Arc<Metrics>,
    gateways: BTreeMap<ObjectKey, Gateway>,
    /// Gateways that end; one that is wanted again has to wait for it.
    ending: JoinSet<(ObjectKey, GatewayFolder)>,
    ending_keys: BTreeSet<ObjectKey>,
}

struct Gateway {
    record: Record,
    agent: Agent,
    /// The addresses that it serves at.
    addresses: Vec<IpAddr>,
    /// What those addresses were chosen for.
    settled: Option<GatewayInfra>,
}

impl Gateway {
    fn new(record: Record, folder: GatewayFolder) -> Self {
        Self {
            record,
            agent: Agent::new(folder),
            addresses: Vec::new(),
            settled: None,
        }
    }
}

impl Processes {
    /// Takes over what earlier operators left.
    pub fn new(
        settings: Settings,
        tokens: Tokens,
        observations: Observations,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Error> {
        let mut gateways = BTreeMap::new();
        for (folder, record) in existing(&settings.gateways)? {
            tokens.admit(folder.token()?, &record.key());
            gateways.insert(record.key(), Gateway::new(record, folder));
        }
        Ok(Self {
            settings,
            tokens,
            observations,
            metrics,
            gateways,
            ending: JoinSet::new(),
            ending_keys: BTreeSet::new(),
        })
    }

    /// Runs what is wanted until told to stop, then ends all gateways in order.
    pub async fn run(mut self, mut wanted: watch::Receiver<Option<Infrastructure>>, stop: CancellationToken) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
                Ok(()) = wanted.changed() => {}
                Some(ended) = self.ending.join_next() => self.ended(ended.ok()),
            }
            let wanted = wanted.borrow_and_update().clone();
            if let Some(wanted) = wanted {
                self.approach(&wanted);
            }
        }
        let agents = self.gateways.into_values().map(|gateway| gateway.agent.stop());
        join_all(agents).await;
        while self.ending.join_next().await.is_some() {}
    }

    /// Brings what runs nearer to what is wanted; called again and again, it gets there.
    fn approach(&mut self, wanted: &Infrastructure) {
        let gone = self
            .gateways
            .keys()
            .filter(|key| !wanted.contains_key(key))
            .cloned()
            .collect::<Vec<_>>();
        for key in gone {
            self.end(key);
        }
        for (key, infra) in wanted {
            if self.ending_keys.contains(key) {
                continue;
            }
            if let Err(failure) = self.ensure(key, infra) {
                self.fail(key, failure);
            }
            self.look_after(key, infra);
        }
        self.metrics
            .gateways
            .set(i64::try_from(self.gateways.len()).unwrap_or(i64::MAX));
    }

    /// Makes a gateway if it is missing, and settles where it serves if that is not settled.
    fn ensure(&mut self, key: &ObjectKey, infra: &GatewayInfra) -> Result<(), InfrastructureFailure> {
        if !self.gateways.contains_key(key) {
            let folder = GatewayFolder::create(&self.settings.gateways, key)?;
            self.tokens.admit(folder.token()?, key);
            let record = Record::new(key);
            folder.keep(&record)?;
            self.gateways.insert(key.clone(), Gateway::new(record, folder));
        }
        if self.gateways[key].settled.as_ref() == Some(infra) {
            return Ok(());
        }
        self.settle(key, infra)
    }

    /// Keeps the agent of a gateway running that has an address, whether that is the wanted one or not.
    fn look_after(&mut self, key: &ObjectKey, infra: &GatewayInfra) {
        let Self {
            gateways,
            settings,
            observations,
            metrics,
            ..
        } = self;
        let Some(gateway) = gateways
            .get_mut(key)
            .filter(|gateway| !gateway.addresses.is_empty())
        else {
            return;
        };
        let failure = match gateway.agent.look() {
            Look::Runs => None,
            Look::Waits => return,
            Look::Ended(status) => {
                let log = gateway.agent.folder().log_file();
                Some(format!("its agent ended with {status}; see {}", log.display()))
            }
            Look::Due => {
                metrics.agent_starts.inc();
                let started = gateway.agent.start(settings, &gateway.record);
                let log = gateway.agent.folder().log_file();
                tracing::info!(gateway = %key, addresses = ?gateway.addresses, log = %log.display(), "starting agent");
                started
                    .err()
                    .map(|error| format!("cannot start {}: {error}", settings.agent.display()))
            }
        };
        if let Some(failure) = &failure {
            tracing::warn!(gateway = %key, failure, "agent does not run");
        }
        observations.note(key, |observed| {
            observed.addresses = gateway.addresses.iter().map(ToString::to_string).collect();
            if gateway.settled.as_ref() == Some(infra) {
                observed.failure = failure.map(InfrastructureFailure::Other);
            }
        });
    }

    /// Settles where a gateway serves.
    fn settle(&mut self, key: &ObjectKey, infra: &GatewayInfra) -> Result<(), InfrastructureFailure> {
        let others = self.gateways.iter().filter(|(other, _)| *other != key);
        let taken = others.flat_map(|(other, gateway)| {
            let addresses = gateway.addresses.iter().chain(&gateway.record.address);
            addresses.map(move |address| (*address, other))
        });
        let taken = taken.collect::<BTreeMap<_, _>>();
        if let Some(message) = infra
            .addresses
            .iter()
            .find_map(|address| objection(*address, &taken))
        {
            return Err(InfrastructureFailure::AddressNotUsable(message));
        }
        let taken = taken.into_keys().collect();
        let gateway = self
            .gateways
            .get_mut(key)
            .expect("only gateways that exist are settled");
        let mut record = gateway.record.clone();
        let addresses = if infra.addresses.is_empty() {
            let ports = infra
                .ports
                .iter()
                .map(|port| self.settings.bound(*port))
                .collect();
            record.address = record
                .address
                .or_else(|| self.settings.addresses.choose(&taken, &ports));
            let Some(address) = record.address else {
                let range = self.settings.addresses;
                let message = format!("no address of {range} has the ports {ports:?} free; see --addresses");
                return Err(InfrastructureFailure::Other(message));
            };
            vec![address]
        } else {
            record.address = None;
            infra.addresses.clone()
        };
        if let Some(address) = addresses.iter().find(|address| address.is_loopback()) {
            record.dns = *address;
        }
        if record != gateway.record {
            gateway.agent.folder().keep(&record)?;
        }
        gateway.record = record;
        gateway.addresses = addresses;
        gateway.settled = Some(infra.clone());
        Ok(())
    }

    /// What it has stays: a gateway that cannot be as wanted goes on as it is.
    fn fail(&self, key: &ObjectKey, failure: InfrastructureFailure) {
        self.observations.note(key, |observed| {
            if observed.failure.as_ref() != Some(&failure) {
                tracing::warn!(gateway = %key, ?failure, "gateway cannot run as wanted");
            }
            observed.failure = Some(failure);
        });
    }

    fn end(&mut self, key: ObjectKey) {
        let Some(gateway) = self.gateways.remove(&key) else {
            return;
        };
        tracing::info!(gateway = %key, "stopping agent");
        self.tokens.revoke(&key);
        self.observations.forget(&key);
        self.ending_keys.insert(key.clone());
        self.ending.spawn(async move {
            let folder = gateway.agent.folder().clone();
            gateway.agent.stop().await;
            (key, folder)
        });
    }

    fn ended(&mut self, ended: Option<(ObjectKey, GatewayFolder)>) {
        let Some((key, folder)) = ended else { return };
        if let Err(error) = folder.remove() {
            tracing::warn!(gateway = %key, folder = %folder.path().display(), %error, "cannot remove the folder");
        }
        self.ending_keys.remove(&key);
    }
}

/// Why a gateway cannot have an address that it asks for.
fn objection(address: IpAddr, taken: &BTreeMap<IpAddr, &ObjectKey>) -> Option<String> {
    if let Some(other) = taken.get(&address) {
        return Some(format!("{address} is the address of Gateway {other}"));
    }
    let error = usable(address).err()?;
    let remedy = "use an address of this machine, such as one of 127.0.0.0/8";
    Some(format!("{address} cannot be listened on: {error}; {remedy}"))
}

/// The error with what caused it, in one line.
impl From<Error> for InfrastructureFailure {
    fn from(error: Error) -> Self {
        let causes = iter::successors(error.source(), |cause| (**cause).source());
        Self::Other(causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
    }
}
