//! What agents say, kept as long as they are there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use operator_core::{
    object::ObjectKey,
    observed::{Instance, RefusedPicker, Rejection},
};
use parking_lot::Mutex;
use proto::fleet::{PickerRefusal, Report};

use super::leg;
use crate::{metrics::Metrics, observations::Observations};

/// How long an agent may be away before its gateway's status shows it: an agent that restarts is back by then.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// Takes reports in.
#[derive(Clone)]
pub(super) struct Reports {
    observations: Observations,
    metrics: Arc<Metrics>,
    /// The newest connection of each instance.
    connections: Arc<Mutex<BTreeMap<(ObjectKey, String), u64>>>,
}

/// One agent's connection, from its first report on.
pub(super) struct Connection {
    reports: Reports,
    gateway: ObjectKey,
    instance: String,
    number: u64,
}

impl Reports {
    pub(super) fn new(observations: Observations, metrics: Arc<Metrics>) -> Self {
        Self {
            observations,
            metrics,
            connections: Arc::default(),
        }
    }

    /// Begins a connection of an instance; it supersedes earlier ones.
    pub(super) fn connect(&self, gateway: &ObjectKey, instance: &str) -> Connection {
        let mut connections = self.connections.lock();
        let number = connections
            .entry((gateway.clone(), instance.to_owned()))
            .or_default();
        *number += 1;
        self.metrics.agents_connected.inc();
        tracing::info!(%gateway, instance, "agent connected");
        Connection {
            reports: self.clone(),
            gateway: gateway.clone(),
            instance: instance.to_owned(),
            number: *number,
        }
    }
}

impl Connection {
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
            gateway,
            instance,
            ..
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
        let Self {
            reports,
            gateway,
            instance,
            number,
        } = self;
        reports.metrics.agents_connected.dec();
        tracing::info!(%gateway, instance, "agent disconnected");
        let (reports, key, number) = (reports.clone(), (gateway.clone(), instance.clone()), *number);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            tokio::time::sleep(GRACE).await;
            let mut connections = reports.connections.lock();
            if connections.get(&key) == Some(&number) {
                connections.remove(&key);
                let (gateway, instance) = &key;
                reports
                    .observations
                    .note(gateway, |observed| drop(observed.instances.remove(instance)));
            }
        });
    }
}
