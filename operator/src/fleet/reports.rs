//! What agents say, kept as long as they are there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use operator_core::{
    object::ObjectKey,
    observed::{Instance, RefusedPicker, Rejection},
};
use parking_lot::Mutex;
use proto::fleet::{PickerRefusal, Report};

use super::{
    bucket::{Bucket, Rate},
    leg,
};
use crate::{metrics::Metrics, observations::Observations};

/// How long an agent may be away before its gateway's status shows it: an agent that restarts is back by then.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// How often an agent is listened to: whatever it says differently is a rebuild and may be a write of a status.
const REPORTS: Rate = Rate {
    burst: 30,
    interval: Duration::from_millis(500),
};

/// Takes reports in.
#[derive(Clone)]
pub(super) struct Reports {
    observations: Observations,
    metrics: Arc<Metrics>,
    /// Every instance that is connected, or was a moment ago.
    known: Arc<Mutex<BTreeMap<Key, Known>>>,
}

/// A gateway and the name of one of its instances.
type Key = (ObjectKey, String);

/// What is known of an instance beyond its reports.
struct Known {
    /// Its newest connection.
    connection: u64,
    /// How many reports it has left, however often it connects.
    bucket: Bucket,
}

/// One agent's connection, from its first report on.
pub(super) struct Connection {
    reports: Reports,
    key: Key,
    number: u64,
}

impl Reports {
    pub(super) fn new(observations: Observations, metrics: Arc<Metrics>) -> Self {
        Self {
            observations,
            metrics,
            known: Arc::default(),
        }
    }

    /// Begins a connection of an instance; it supersedes earlier ones.
    pub(super) fn connect(&self, gateway: &ObjectKey, instance: &str) -> Connection {
        let key = (gateway.clone(), instance.to_owned());
        let mut known = self.known.lock();
        let known = known.entry(key.clone()).or_insert_with(|| Known {
            connection: 0,
            bucket: Bucket::full(),
        });
        known.connection += 1;
        self.metrics.agents_connected.inc();
        tracing::info!(%gateway, instance, "agent connected");
        Connection {
            reports: self.clone(),
            key,
            number: known.connection,
        }
    }
}

impl Connection {
    /// Ends when the agent may be listened to.
    pub(super) async fn turn(&self) {
        let take = || {
            let mut known = self.reports.known.lock();
            known
                .get_mut(&self.key)
                .map_or(Ok(()), |known| known.bucket.take(REPORTS))
        };
        while let Err(wait) = take() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Notes what the agent says.
    pub(super) fn take(&self, report: Report) {
        let Report {
            instance: _,
            config,
            data: _,
            ready,
            rejection,
            reloads: _,
            nginx: _,
            picker_refusals,
        } = report;
        let rejection = rejection.map(|rejection| Rejection {
            config: rejection.config,
            message: rejection.message,
            file: rejection.file,
            line: usize::try_from(rejection.line).unwrap_or_default(),
        });
        let said = Instance {
            config,
            ready,
            rejection,
            refused_pickers: picker_refusals.into_iter().map(refused).collect(),
        };
        let Self {
            reports,
            key: (gateway, instance),
            number: _,
        } = self;
        reports.observations.note(gateway, |observed| {
            let before = observed.instances.insert(instance.clone(), said.clone());
            let rejection_before = before.and_then(|before| before.rejection);
            if let Some(Rejection { config, message, file, line }) = &said.rejection
                && said.rejection != rejection_before
            {
                reports.metrics.rejections.inc();
                tracing::warn!(%gateway, instance, config, message, file, line, "NGINX refused a configuration");
            }
        });
    }
}

fn refused(refusal: PickerRefusal) -> RefusedPicker {
    let PickerRefusal {
        endpoints,
        address,
        reason,
        tls,
    } = refusal;
    RefusedPicker {
        domain: endpoints,
        tls: leg::from_tls(tls.unwrap_or_default()),
        address,
        reason,
    }
}

/// The connection ends; the instance is forgotten unless it comes back in time.
impl Drop for Connection {
    fn drop(&mut self) {
        let Self { reports, key, number } = self;
        let (gateway, instance) = &*key;
        reports.metrics.agents_connected.dec();
        tracing::info!(%gateway, instance, "agent disconnected");
        let (reports, key, number) = (reports.clone(), key.clone(), *number);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            tokio::time::sleep(GRACE).await;
            let mut known = reports.known.lock();
            if known.get(&key).is_some_and(|known| known.connection == number) {
                known.remove(&key);
                let (gateway, instance) = &key;
                reports
                    .observations
                    .note(gateway, |observed| drop(observed.instances.remove(instance)));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_agent_is_listened_to_so_often_and_no_more_by_coming_anew() {
        let reports = Reports::new(Observations::default(), Arc::default());
        let connect = || reports.connect(&ObjectKey::new("default", "edge"), "edge-1");
        let begun = Instant::now();
        let first = connect();
        for _ in 0..REPORTS.burst {
            first.turn().await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let second = connect();
        for turn in 1..=3 {
            second.turn().await;
            assert_eq!(begun.elapsed(), turn * REPORTS.interval);
        }
    }
}
