//! What is counted of models' answers, by the names that OpenTelemetry has for it.
//!
//! See <https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/>, and for how the names look to Prometheus
//! <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    metrics::{family::Family, histogram::Histogram},
    registry::Registry,
};

/// How many models have figures of their own: their names come from model servers, which may serve any number.
const MOST_MODELS: usize = 100;
/// What stands for all others, and for those that have no name.
const OTHER: &str = "_OTHER";

const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
const TO_FIRST_TOKEN: [f64; 16] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
const PER_OUTPUT_TOKEN: [f64; 13] = [
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
];

type Labels<const COUNT: usize> = [(&'static str, String); COUNT];
type Histograms<const COUNT: usize> = Family<Labels<COUNT>, Histogram, fn() -> Histogram>;

/// The figures of all models.
#[derive(Debug)]
pub struct Models {
    token_usage: Histograms<2>,
    time_to_first_token: Histograms<1>,
    time_per_output_token: Histograms<1>,
    known: Mutex<HashMap<String, Arc<Model>>>,
}

/// The figures of one model.
#[derive(Debug)]
pub struct Model {
    /// Tokens that one request brought.
    pub input_tokens: Histogram,
    /// Tokens that one answer has.
    pub output_tokens: Histogram,
    /// From the request to the first event of its answer, in seconds.
    pub time_to_first_token: Histogram,
    /// From each token of an answer to the next, in seconds.
    pub time_per_output_token: Histogram,
}

impl Models {
    /// None yet.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let models = Self {
            token_usage: Family::new_with_constructor(|| Histogram::new(TOKENS)),
            time_to_first_token: Family::new_with_constructor(|| Histogram::new(TO_FIRST_TOKEN)),
            time_per_output_token: Family::new_with_constructor(|| Histogram::new(PER_OUTPUT_TOKEN)),
            known: Mutex::default(),
        };
        registry.register(
            "gen_ai_client_token_usage",
            "Tokens of requests to models (input) and of their answers (output)",
            models.token_usage.clone(),
        );
        registry.register(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from a request to the first event of its answer",
            models.time_to_first_token.clone(),
        );
        registry.register(
            "gen_ai_server_time_per_output_token_seconds",
            "Time from one token of an answer to the next, where the answer says how many it has",
            models.time_per_output_token.clone(),
        );
        models
    }

    /// A model by its name, if it has one.
    #[must_use]
    pub fn model(&self, name: Option<&str>) -> Arc<Model> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let name = name.unwrap_or(OTHER);
        if let Some(model) = known.get(name) {
            return Arc::clone(model);
        }
        let name = if known.len() < MOST_MODELS { name } else { OTHER };
        let model = known
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(self.make(name)));
        Arc::clone(model)
    }

    fn make(&self, name: &str) -> Model {
        let by_model = [("gen_ai_response_model", name.to_owned())];
        let tokens = |kind: &str| {
            let [model] = by_model.clone();
            [model, ("gen_ai_token_type", kind.to_owned())]
        };
        Model {
            input_tokens: self.token_usage.get_or_create_owned(&tokens("input")),
            output_tokens: self.token_usage.get_or_create_owned(&tokens("output")),
            time_to_first_token: self.time_to_first_token.get_or_create_owned(&by_model),
            time_per_output_token: self.time_per_output_token.get_or_create_owned(&by_model),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn names_are_opentelemetrys_and_their_number_has_a_limit() {
        let mut registry = Registry::default();
        let models = Models::new(&mut registry);
        for number in 0..2 * MOST_MODELS {
            models
                .model(Some(&format!("model-{number}")))
                .input_tokens
                .observe(3.0);
        }
        models.model(None).time_to_first_token.observe(0.5);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let other = MOST_MODELS;
        for line in [
            "gen_ai_client_token_usage_sum{gen_ai_response_model=\"model-0\",gen_ai_token_type=\"input\"} 3.0".to_owned(),
            format!("gen_ai_client_token_usage_count{{gen_ai_response_model=\"_OTHER\",gen_ai_token_type=\"input\"}} {other}"),
            "gen_ai_server_time_to_first_token_seconds_count{gen_ai_response_model=\"_OTHER\"} 1".to_owned(),
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in:\n{text}");
        }
        let counts = text
            .matches("gen_ai_server_time_to_first_token_seconds_count")
            .count();
        assert_eq!(counts, MOST_MODELS + 1);
    }
}
