//! What is counted, in Prometheus' format.

use std::{fmt, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Counters and gauges of the operator.
pub struct Metrics {
    registry: Registry,
    /// Time that one `reconcile` takes, in seconds.
    pub reconcile_duration: Histogram,
    /// Calls of `reconcile` that did not come back.
    pub reconcile_failures: Counter,
    /// Generations that left for agents.
    pub generations_published: Counter,
    /// Generations that some NGINX refused.
    pub rejections: Counter,
    /// Agents that follow at the moment.
    pub agents_connected: Gauge,
    /// Gateways that run at the moment.
    pub gateways: Gauge,
    /// Agents started, again or for the first time.
    pub agent_starts: Counter,
    /// Statuses written.
    pub status_writes: Counter,
    /// Problems in files of the folder at the moment.
    pub file_errors: Gauge,
    /// Objects in the stores by kind.
    pub objects: Family<KindLabel, Gauge<u64, AtomicU64>>,
}

/// The label that says which kind a figure is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// Such as `HTTPRoute`.
    pub kind: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
        let mut metrics = Self {
            registry: Registry::with_prefix("flotilla"),
            reconcile_duration: Histogram::new(buckets),
            reconcile_failures: Counter::default(),
            generations_published: Counter::default(),
            rejections: Counter::default(),
            agents_connected: Gauge::default(),
            gateways: Gauge::default(),
            agent_starts: Counter::default(),
            status_writes: Counter::default(),
            file_errors: Gauge::default(),
            objects: Family::default(),
        };
        let Self {
            registry,
            reconcile_duration,
            reconcile_failures,
            generations_published,
            rejections,
            agents_connected,
            gateways,
            agent_starts,
            status_writes,
            file_errors,
            objects,
        } = &mut metrics;
        registry.register_with_unit(
            "reconcile_duration",
            "Time to compute everything that is wanted from everything that is known",
            Unit::Seconds,
            reconcile_duration.clone(),
        );
        registry.register(
            "reconcile_failures",
            "Computations that failed, each of them a bug",
            reconcile_failures.clone(),
        );
        registry.register(
            "generations_published",
            "Generations that left for agents",
            generations_published.clone(),
        );
        registry.register(
            "generations_rejected",
            "Configurations that some NGINX refused",
            rejections.clone(),
        );
        registry.register(
            "agents_connected",
            "Agents that follow the operator",
            agents_connected.clone(),
        );
        registry.register("gateways", "Gateways that are run", gateways.clone());
        registry.register("agent_starts", "Agents that were started", agent_starts.clone());
        registry.register(
            "status_writes",
            "Statuses that were written",
            status_writes.clone(),
        );
        registry.register(
            "file_errors",
            "Problems in the files that objects are read from",
            file_errors.clone(),
        );
        registry.register("objects", "Objects that are known, by kind", objects.clone());
        metrics
    }
}

impl Metrics {
    /// All of them as text; see <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_our_prefix_and_their_unit() {
        let metrics = Metrics::default();
        metrics.reconcile_duration.observe(0.002);
        metrics
            .objects
            .get_or_create(&KindLabel { kind: "HTTPRoute" })
            .set(3);
        let text = metrics.text().unwrap();
        assert!(
            text.contains("flotilla_reconcile_duration_seconds_count 1\n"),
            "{text}"
        );
        assert!(
            text.contains("flotilla_objects{kind=\"HTTPRoute\"} 3\n"),
            "{text}"
        );
    }
}
