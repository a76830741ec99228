//! Gateways as pods of a cluster.

use std::sync::Arc;

use operator_core::{
    infra::{
        Cluster, DAEMON_SET, DEPLOYMENT, GatewayInfra, SERVICE, addresses, node_ports, objects, objects_key,
    },
    object::ObjectKey,
    observed::InfrastructureFailure,
};
use serde_json::Value;
use tokio::sync::watch;

use super::{
    Site,
    convergence::{Convergence, Objects},
    family::Family,
    obstacle::refusal_of_pods,
    pods::Pods,
    shortfall::Shortfalls,
};
use crate::{controller::Infrastructure, metrics::Metrics, observations::Observations, parts::Parts};

/// Has the cluster run gateways.
pub struct Gateways {
    cluster: Cluster,
    /// What the cluster's authorities are to be.
    authorities: watch::Receiver<String>,
    observations: Observations,
    metrics: Arc<Metrics>,
    pods: Pods,
    shortfalls: Shortfalls,
    convergence: Convergence,
}

impl Gateways {
    /// Has parts follow what runs; nothing is changed before [`Self::run`], nor before there are authorities to tell agents.
    #[must_use]
    pub fn new(
        parts: &mut Parts,
        site: Site,
        cluster: Cluster,
        authorities: watch::Receiver<String>,
        observations: Observations,
        metrics: Arc<Metrics>,
    ) -> Self {
        let family = Family::of_gateways(&cluster);
        Self {
            cluster,
            authorities,
            observations,
            metrics,
            pods: Pods::follow(parts, &site, &family),
            shortfalls: Shortfalls::default(),
            convergence: Convergence::new(parts, site, family),
        }
    }

    /// Brings what runs to what is wanted, for ever.
    pub async fn run(mut self, mut wanted: watch::Receiver<Option<Infrastructure>>) {
        loop {
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = self.convergence.due() => {}
                () = self.pods.changed.notified() => {}
                () = self.shortfalls.due() => {}
                Ok(()) = self.authorities.changed() => {}
            }
            let wanted = wanted.borrow_and_update().clone();
            let Some(wanted) = wanted else { continue };
            self.cluster
                .authorities
                .clone_from(&self.authorities.borrow_and_update());
            if !self.cluster.authorities.is_empty() {
                let objects = self.objects(&wanted);
                self.convergence.approach(objects).await;
            }
            self.observe(&wanted);
        }
    }

    fn objects(&self, wanted: &Infrastructure) -> Objects {
        let wanted = wanted.iter();
        wanted
            .map(|(gateway, infra)| (gateway.clone(), objects(gateway, infra, &self.cluster)))
            .collect()
    }

    /// Notes where gateways can be reached, and what keeps them and their pods from running.
    fn observe(&mut self, wanted: &Infrastructure) {
        for (gateway, infra) in wanted {
            let service = self.convergence.get(gateway, SERVICE);
            let (addresses, failure) = self.state(gateway, infra, service.as_ref());
            let is_unaddressed =
                |service: &&Value| addresses.is_empty() && service["spec"]["type"] == "LoadBalancer";
            let unaddressed_service = service.as_ref().filter(is_unaddressed);
            let unaddressed_service = unaddressed_service.map(|_| objects_key(gateway).to_string());
            let pods = self.pods.of(gateway);
            let missing_pods = self.missing_pods(gateway);
            self.observations.note(gateway, |observed| {
                observed.addresses = addresses;
                observed.node_ports = service.as_ref().map(node_ports).unwrap_or_default();
                observed.unaddressed_service = unaddressed_service;
                observed.failure = failure;
                observed.pods = pods;
                observed.missing_pods = missing_pods;
            });
        }
        let gone = self.observations.get().gateways.into_keys();
        for gateway in gone.filter(|gateway| !wanted.contains_key(gateway)) {
            self.observations.forget(&gateway);
            self.shortfalls.note(&gateway, None);
        }
        self.metrics
            .gateways
            .set(i64::try_from(wanted.len()).unwrap_or(i64::MAX));
    }

    /// Why the cluster makes no pods that are still missing.
    fn missing_pods(&mut self, gateway: &ObjectKey) -> Option<String> {
        let deployment = self.convergence.get(gateway, DEPLOYMENT);
        let daemon_set = self.convergence.get(gateway, DAEMON_SET);
        let shortfall = self.shortfalls.note(gateway, daemon_set.as_ref());
        deployment.as_ref().and_then(refusal_of_pods).or(shortfall)
    }

    /// Where a gateway can be reached, and why it does not run as asked.
    fn state(
        &self,
        gateway: &ObjectKey,
        infra: &GatewayInfra,
        service: Option<&Value>,
    ) -> (Vec<String>, Option<InfrastructureFailure>) {
        let (addresses, missing) = service
            .map(|service| addresses(service, &infra.addresses))
            .unwrap_or_default();
        let failure = self.convergence.failure(gateway);
        let failure = failure.map(InfrastructureFailure::Other).or_else(|| {
            let address = missing.first()?;
            Some(InfrastructureFailure::AddressNotUsable(format!(
                "The cluster's load balancer has not given the gateway the address {address}"
            )))
        });
        (addresses, failure)
    }
}
