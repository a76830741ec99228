//! What models' answers say of the tokens that they took, counted while they pass.
//!
//! ```text
//! endpoint ──bytes──> body ──the same bytes──> NGINX
//!                      └─> Meter ── Reader    model and tokens, of JSON and of events
//!                            └───── Models    figures by model
//! ```
//!
//! Bytes are looked at where they are, and none is kept or held up. Only answers of legs that say so are looked at.

pub mod metrics;
pub mod reader;

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use tokio::time::Instant;

use self::reader::{Reader, Usage};
use super::metrics::Metrics;

/// Counts one answer, of what it has said when it is dropped.
#[derive(Debug)]
pub struct Meter {
    metrics: Arc<Metrics>,
    reader: Reader,
    /// When the request came, and whether the answer comes token by token since.
    begun: Instant,
    is_event_stream: bool,
    /// When the first and the last of its events came.
    events: Option<(Instant, Instant)>,
}

impl Meter {
    /// Of a response to a request that came at some time; none where it says nothing that can be read.
    #[must_use]
    pub fn of<B>(response: &Response<B>, begun: Instant, metrics: &Arc<Metrics>) -> Option<Box<Self>> {
        let headers = response.headers();
        if response.status() != StatusCode::OK || headers.contains_key(CONTENT_ENCODING) {
            return None;
        }
        let is_event_stream = is_of_type(headers, "text/event-stream");
        if !is_event_stream && !is_of_type(headers, "application/json") {
            return None;
        }
        Some(Box::new(Self {
            metrics: Arc::clone(metrics),
            reader: Reader::new(is_event_stream),
            begun,
            is_event_stream,
            events: None,
        }))
    }

    /// Looks at the next bytes of the answer.
    pub fn see(&mut self, bytes: &[u8], now: Instant) {
        self.reader.read(bytes);
        if !self.is_event_stream || !self.reader.has_begun() {
            return;
        }
        if let Some((_, last)) = &mut self.events {
            *last = now;
        } else {
            self.events = Some((now, now));
            let model = self.metrics.models.model(self.reader.model());
            model
                .time_to_first_token
                .observe((now - self.begun).as_secs_f64());
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let Usage { input, output } = self.reader.usage();
        if input.is_none() && output.is_none() {
            return;
        }
        let model = self.metrics.models.model(self.reader.model());
        if let Some(input) = input {
            model.input_tokens.observe(count(input));
        }
        if let Some(output) = output {
            model.output_tokens.observe(count(output));
            if let Some((first, last)) = self.events
                && output > 1
            {
                let each = (last - first).as_secs_f64() / count(output - 1);
                model.time_per_output_token.observe(each);
            }
        }
    }
}

/// A number as histograms have it.
#[expect(clippy::cast_precision_loss, reason = "no answer has more than 2^52 tokens")]
fn count(tokens: u64) -> f64 {
    tokens as f64
}

/// Whether headers say that the body is of a type, whatever its parameters.
#[must_use]
pub fn is_of_type(headers: &HeaderMap, name: &str) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let content_type = content_type.and_then(|content_type| content_type.get(..name.len()));
    content_type.is_some_and(|content_type| content_type.eq_ignore_ascii_case(name.as_bytes()))
}
