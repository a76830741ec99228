//! Responses of the proxy's own.

use std::sync::Arc;

use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};

use super::{body::Body, metrics::Answers, table::Endpoint, upstream::Failure};

/// Why the proxy answers by itself.
#[derive(Debug)]
pub enum Refusal {
    UnknownLeg,
    NoEndpoint,
    /// The picker has failed, and only it may choose.
    NoPicker,
    /// The body is longer than a picker may look at.
    TooLong,
    /// The client did not send the whole request.
    Incomplete,
    /// The time of the request or of its last try is over.
    Late,
    Failure {
        endpoint: Arc<Endpoint>,
        failure: Failure,
    },
}

impl Refusal {
    /// The response, counted.
    #[must_use]
    pub fn response(&self, answers: &Answers) -> Response<Body> {
        let (status, counter, text) = match self {
            Self::UnknownLeg => (
                StatusCode::SERVICE_UNAVAILABLE,
                &answers.unavailable,
                "no such leg\n",
            ),
            Self::NoEndpoint => (
                StatusCode::SERVICE_UNAVAILABLE,
                &answers.unavailable,
                "no endpoint is ready\n",
            ),
            Self::NoPicker => (
                StatusCode::SERVICE_UNAVAILABLE,
                &answers.unavailable,
                "the endpoint picker has not chosen\n",
            ),
            Self::TooLong => (
                StatusCode::PAYLOAD_TOO_LARGE,
                &answers.too_large,
                "the request is too long\n",
            ),
            Self::Incomplete => (
                StatusCode::BAD_REQUEST,
                &answers.bad_request,
                "the request has no end\n",
            ),
            Self::Late
            | Self::Failure {
                failure: Failure::ConnectTimeout,
                ..
            } => (
                StatusCode::GATEWAY_TIMEOUT,
                &answers.timeout,
                "no response in time\n",
            ),
            Self::Failure { .. } => (StatusCode::BAD_GATEWAY, &answers.bad_gateway, "no response\n"),
        };
        counter.inc();
        let mut response = Response::new(Body::text(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
