//! What the proxy counts. All handles are made once, so that counting is one addition.

use std::fmt;

use prometheus_client::{encoding::text::encode, metrics::gauge::Gauge, registry::Registry};

/// The counters of all threads.
#[derive(Default)]
pub struct Metrics {
    registry: Registry,
    /// Requests that NGINX handed over and that have not ended.
    pub in_flight: Gauge,
}

impl Metrics {
    /// All of them in the text format of `OpenMetrics`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes everything");
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}
