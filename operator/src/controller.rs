//! The loop: whatever changes, everything is computed anew, and what differs from last time leaves.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use operator_core::{
    generation::Generation,
    infra::{GatewayInfra, PickerInfra},
    object::ObjectKey,
    options::Options,
    outcome::{Outcome, StatusChange},
    reconcile,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::{metrics::Metrics, observations::Observations, source::OnDemand, stores::Stores};

/// Shortest time between the beginnings of two rebuilds: a lone change goes at once, the many of a burst go together.
const PERIOD: Duration = Duration::from_millis(100);

/// What gateways are to serve, one channel each. A slow reader skips to the newest and delays nobody.
#[derive(Clone, Default)]
pub struct Generations(Arc<Mutex<BTreeMap<ObjectKey, Channel>>>);

/// Holds `None` as long as it is not known what to serve.
type Channel = watch::Sender<Option<Arc<Generation>>>;

/// What must run, by gateway.
pub type Infrastructure = BTreeMap<ObjectKey, GatewayInfra>;

/// Which endpoint pickers must run, by `EndpointPicker`.
pub type Pickers = BTreeMap<ObjectKey, PickerInfra>;

/// Where an outcome leaves to.
#[derive(Clone)]
pub struct Publications {
    /// For agents.
    pub generations: Generations,
    /// For the infrastructure; `None` before the first outcome, which is not to say that nothing must run.
    pub infrastructure: watch::Sender<Option<Infrastructure>>,
    /// For the infrastructure likewise: the endpoint pickers.
    pub pickers: watch::Sender<Option<Pickers>>,
    /// For the status writer.
    pub statuses: watch::Sender<Arc<Vec<StatusChange>>>,
}

/// Turns snapshots into outcomes, again and again.
pub struct Controller {
    /// What is known of objects.
    pub stores: Stores,
    /// What fetches the objects that are only read when another refers to them; `None` where all are read.
    pub on_demand: Option<OnDemand>,
    /// What is known of everything else.
    pub observations: Observations,
    /// What the operator was told at its start.
    pub options: Options,
    /// Woken whenever something is to be looked at. It holds one permit: what changes during a rebuild causes exactly
    /// one more.
    pub changed: Arc<Notify>,
    /// Where outcomes go.
    pub publications: Publications,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Generations {
    /// What a gateway is to serve, now and later; `None` as long as that is not known.
    #[must_use]
    pub fn subscribe(&self, gateway: &ObjectKey) -> watch::Receiver<Option<Arc<Generation>>> {
        self.0.lock().entry(gateway.clone()).or_default().subscribe()
    }

    /// Version of the configuration that a gateway is to serve; `None` as long as that is not known.
    #[must_use]
    pub fn version(&self, gateway: &ObjectKey) -> Option<String> {
        let channels = self.0.lock();
        let newest = channels.get(gateway)?.borrow();
        Some(newest.as_ref()?.config.version.clone())
    }

    /// Publishes what differs from last time; returns how many did.
    fn publish(&self, outcome: &Outcome) -> u64 {
        let mut channels = self.0.lock();
        channels.retain(|gateway, channel| {
            outcome.gateways.contains_key(gateway) || channel.receiver_count() > 0
        });
        let mut published = 0;
        for (gateway, wanted) in &outcome.gateways {
            // A gateway that has no address for a moment goes on with what it has.
            let Some(generation) = &wanted.generation else {
                continue;
            };
            let channel = channels.entry(gateway.clone()).or_default();
            let news = channel.send_if_modified(|current| {
                let differs = current.as_ref().is_none_or(|current| {
                    current.config.version != generation.config.version || current.data.version != generation.data.version
                });
                if differs {
                    tracing::info!(%gateway, config = generation.config.version, data = generation.data.version, "published");
                    *current = Some(generation.clone());
                }
                differs
            });
            published += u64::from(news);
        }
        published
    }
}

impl Default for Publications {
    fn default() -> Self {
        Self {
            generations: Generations::default(),
            infrastructure: watch::Sender::new(None),
            pickers: watch::Sender::new(None),
            statuses: watch::Sender::default(),
        }
    }
}

impl Publications {
    /// Publishes what differs from last time; returns how many generations did.
    pub(crate) fn publish(&self, outcome: Outcome) -> u64 {
        let published = self.generations.publish(&outcome);
        let Outcome {
            gateways,
            pickers,
            statuses,
            needs: _,
        } = outcome;
        let infrastructure = gateways
            .into_iter()
            .map(|(gateway, wanted)| (gateway, wanted.infra))
            .collect();
        self.infrastructure.send_if_modified(|current| {
            let differs = current.as_ref() != Some(&infrastructure);
            *current = Some(infrastructure);
            differs
        });
        self.pickers.send_if_modified(|current| {
            let differs = current.as_ref() != Some(&pickers);
            *current = Some(pickers);
            differs
        });
        self.statuses.send_if_modified(|current| {
            let differs = **current != statuses;
            *current = Arc::new(statuses);
            differs
        });
        published
    }
}

impl Controller {
    /// Reconciles whenever something changes, for ever.
    pub async fn run(self) {
        loop {
            self.changed.notified().await;
            let started = Instant::now();
            self.turn().await;
            tokio::time::sleep(PERIOD.saturating_sub(started.elapsed())).await;
        }
    }

    async fn turn(&self) {
        let (stores, observations, options) = (
            self.stores.clone(),
            self.observations.clone(),
            self.options.clone(),
        );
        let reconciled = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            (
                reconcile(&stores.snapshot(), &observations.get(), &options),
                started.elapsed(),
            )
        });
        match reconciled.await {
            Ok((outcome, duration)) => {
                self.metrics.reconcile_duration.observe(duration.as_secs_f64());
                let on_demand = self.on_demand.as_ref();
                if !on_demand.is_none_or(|on_demand| on_demand.supply(&outcome.needs)) {
                    // What is missing wakes us when it has come.
                    return;
                }
                let published = self.publications.publish(outcome);
                self.metrics.generations_published.inc_by(published);
            }
            // What was published stays, and the next change is looked at like any other.
            Err(error) => {
                self.metrics.reconcile_failures.inc();
                tracing::error!(%error, "reconcile failed; this is a bug, please report it");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use operator_core::{
        generation::{Data, Files},
        outcome::GatewayOutcome,
    };

    use super::*;

    fn generation(config: &str, data: &str) -> Arc<Generation> {
        let config = Files {
            version: config.to_owned(),
            files: BTreeMap::new(),
        };
        let data = Data {
            version: data.to_owned(),
            ..Data::default()
        };
        Arc::new(Generation { config, data })
    }

    fn outcome(generation: Option<Arc<Generation>>) -> Outcome {
        let wanted = GatewayOutcome {
            infra: GatewayInfra::default(),
            generation,
        };
        Outcome {
            gateways: BTreeMap::from([(ObjectKey::new("default", "edge"), wanted)]),
            ..Outcome::default()
        }
    }

    #[test]
    fn only_what_differs_is_published() {
        let publications = Publications::default();
        let mut infrastructure = publications.infrastructure.subscribe();
        assert_eq!(publications.publish(outcome(Some(generation("c1", "d1")))), 1);
        assert!(infrastructure.has_changed().unwrap());
        infrastructure.mark_unchanged();
        assert_eq!(publications.publish(outcome(Some(generation("c1", "d1")))), 0);
        assert_eq!(publications.publish(outcome(Some(generation("c1", "d2")))), 1);
        assert!(!infrastructure.has_changed().unwrap());
    }

    #[test]
    fn a_gateway_without_an_address_goes_on_with_what_it_has() {
        let publications = Publications::default();
        publications.publish(outcome(Some(generation("c1", "d1"))));
        publications.publish(outcome(None));
        let gateway = ObjectKey::new("default", "edge");
        let generation = publications.generations.subscribe(&gateway).borrow().clone();
        assert_eq!(generation.unwrap().config.version, "c1");
    }

    #[test]
    fn the_first_outcome_is_news_even_if_nothing_must_run() {
        let publications = Publications::default();
        let infrastructure = publications.infrastructure.subscribe();
        publications.publish(Outcome::default());
        assert!(infrastructure.has_changed().unwrap());
    }
}
