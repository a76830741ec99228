//! What the proxy counts. All handles are made once, so that counting is one addition.

use std::{fmt, sync::Arc};

use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::usage::metrics::Models;

/// The counters of all threads.
pub struct Metrics {
    registry: Registry,
    /// Requests that NGINX handed over and that have not ended.
    pub in_flight: Gauge,
    pub tries: Tries,
    pub aborts: Aborts,
    pub answers: Answers,
    pub picks: Picks,
    /// From the question to the picker's choice, in seconds.
    pub picker_seconds: Histogram,
    /// Requests that the proxy chose an endpoint for because their picker failed.
    pub fallbacks: Counter,
    /// What models' answers say of themselves.
    pub models: Models,
}

/// Requests sent to endpoints, by what came of them.
#[derive(Debug)]
pub struct Tries {
    pub response: Counter,
    pub connect: Counter,
    pub reset: Counter,
    pub timeout: Counter,
}

/// Exchanges cut before their end, by who is to blame.
#[derive(Debug)]
pub struct Aborts {
    pub client: Counter,
    pub endpoint: Counter,
    /// It evicted the request, though an endpoint was serving it.
    pub picker: Counter,
    pub timeout: Counter,
}

/// Responses of the proxy's own, by status.
#[derive(Debug)]
pub struct Answers {
    pub bad_request: Counter,
    pub too_large: Counter,
    pub bad_gateway: Counter,
    pub unavailable: Counter,
    pub timeout: Counter,
}

/// Questions to pickers, by what came of them.
#[derive(Debug)]
pub struct Picks {
    pub endpoints: Counter,
    pub answer: Counter,
    pub failure: Counter,
}

/// Counters that share a name.
struct Counters(Family<[(&'static str, &'static str); 1], Counter>, &'static str);

impl Counters {
    fn new(registry: &mut Registry, name: &str, help: &str, label: &'static str) -> Self {
        let family = Family::default();
        registry.register(name, help, family.clone());
        Self(family, label)
    }

    fn of(&self, value: &'static str) -> Counter {
        self.0.get_or_create(&[(self.1, value)]).clone()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut all = Registry::default();
        let models = Models::new(&mut all);
        let registry = all.sub_registry_with_prefix("flotilla_proxy");
        let in_flight = Gauge::default();
        registry.register(
            "requests_in_flight",
            "Requests that have not ended",
            in_flight.clone(),
        );
        let tries = Counters::new(registry, "tries", "Requests sent to endpoints", "outcome");
        let aborts = Counters::new(registry, "aborts", "Exchanges cut before their end", "cause");
        let answers = Counters::new(registry, "answers", "Responses of the proxy's own", "status");
        let picks = Counters::new(registry, "picks", "Questions to endpoint pickers", "outcome");
        // From a quarter of a millisecond to a minute: pickers may queue requests.
        let picker_seconds = Histogram::new(exponential_buckets(0.000_25, 2.0, 18));
        registry.register(
            "picker_seconds",
            "Time that endpoint pickers took for their choice",
            picker_seconds.clone(),
        );
        let fallbacks = Counter::default();
        registry.register(
            "picker_fallbacks",
            "Requests served though their picker failed",
            fallbacks.clone(),
        );
        Self {
            registry: all,
            in_flight,
            tries: Tries {
                response: tries.of("response"),
                connect: tries.of("connect"),
                reset: tries.of("reset"),
                timeout: tries.of("timeout"),
            },
            aborts: Aborts {
                client: aborts.of("client"),
                endpoint: aborts.of("endpoint"),
                picker: aborts.of("picker"),
                timeout: aborts.of("timeout"),
            },
            answers: Answers {
                bad_request: answers.of("400"),
                too_large: answers.of("413"),
                bad_gateway: answers.of("502"),
                unavailable: answers.of("503"),
                timeout: answers.of("504"),
            },
            picks: Picks {
                endpoints: picks.of("endpoints"),
                answer: picks.of("answer"),
                failure: picks.of("failure"),
            },
            picker_seconds,
            fallbacks,
            models,
        }
    }
}

impl Metrics {
    /// All of them in the text format of `OpenMetrics`.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Counts a request for as long as it lives.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Ongoing {
        self.in_flight.inc();
        Ongoing {
            metrics: Arc::clone(self),
            has_ended: false,
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A request that has not ended. When it is dropped before it is told its end, the client has gone.
#[derive(Debug)]
pub struct Ongoing {
    pub metrics: Arc<Metrics>,
    has_ended: bool,
}

impl Ongoing {
    /// Says that the request came to its end, good or bad.
    pub fn end(&mut self) {
        self.has_ended = true;
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        if !self.has_ended {
            self.metrics.aborts.client.inc();
        }
    }
}
