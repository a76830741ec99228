//! A picker that is asked as gateways ask it, without a gateway: what of a request's time is the picker's own.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use e2e::client::{Protocol, Target};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use proto::envoy::{
    config::core::v3::{HeaderMap, HeaderValue},
    extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode,
    service::ext_proc::v3::{
        HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse, ProtocolConfiguration,
        external_processor_client::ExternalProcessorClient, processing_request::Request as Part,
    },
};
use tokio::{sync::mpsc, time::sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};
use tower::service_fn;

use crate::harness::{Pod, in_time};

/// Where pickers of the operator listen.
const PORT: u16 = 9002;

/// Requests that it is asked about at once, at most.
const AT_ONCE: usize = 64;

/// A connection to a picker, and what it is asked about.
pub(super) struct Picker {
    client: ExternalProcessorClient<Channel>,
    question: Bytes,
    answer: Bytes,
}

impl Picker {
    /// Connects to a picker, over TLS, to ask about completions with this question and this answer.
    pub(super) async fn connect(pod: &Pod, question: Bytes, answer: Bytes) -> Result<Self> {
        let address = SocketAddr::new(pod.address, PORT);
        let target = Target::https(address, "tide-picker").protocol(Protocol::Http2);
        let connector = service_fn(move |_| {
            let target = target.clone();
            async move { anyhow::Ok(TokioIo::new(target.stream().await?)) }
        });
        let endpoint = Endpoint::from_static("http://tide-picker");
        let channel = endpoint.connect_with_connector(connector).await?;
        Ok(Self {
            client: ExternalProcessorClient::new(channel),
            question,
            answer,
        })
    }

    /// Asks so many times a second for this long, whatever the answers do. What [`Self::ask`] says of each.
    pub(super) async fn ask_steadily(&self, rate: u32, duration: Duration) -> Result<Vec<Duration>> {
        let started = tokio::time::Instant::now();
        let dues = (0..).map(|number| Duration::from_secs(number) / rate);
        let asks = dues.take_while(|due| *due < duration).map(async |due| {
            sleep_until(started + due).await;
            in_time("the picker answers", self.ask()).await
        });
        stream::iter(asks).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Asks about one completion. How long the picker took for its answers, to the request and to the response together.
    async fn ask(&self) -> Result<Duration> {
        let (sender, messages) = mpsc::channel(4);
        let begun = Instant::now();
        sender.send(self.head_of_request()).await?;
        sender
            .send(message(Part::RequestBody(whole(&self.question))))
            .await?;
        let mut client = self.client.clone();
        let mut answers = client.process(ReceiverStream::new(messages)).await?.into_inner();
        hear_both(&mut answers).await?;
        let chosen = begun.elapsed();

        let responded = Instant::now();
        let head = [(":status", "200"), ("content-type", "application/json")];
        sender
            .send(message(Part::ResponseHeaders(headers(&head))))
            .await?;
        sender
            .send(message(Part::ResponseBody(whole(&self.answer))))
            .await?;
        drop(sender);
        hear_both(&mut answers).await?;
        let took = chosen + responded.elapsed();
        while answers.message().await?.is_some() {}
        Ok(took)
    }

    fn head_of_request(&self) -> ProcessingRequest {
        let length = self.question.len().to_string();
        let head = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "tide.example"),
            (":path", "/v1/completions"),
            ("host", "tide.example"),
            ("content-type", "application/json"),
            ("content-length", &length),
            ("x-forwarded-proto", "http"),
            ("x-request-id", "c2b1dcae6e5b4d3c8f0a3f2f6f9f7d11"),
        ];
        ProcessingRequest {
            protocol_config: Some(ProtocolConfiguration {
                request_body_mode: BodySendMode::FullDuplexStreamed as i32,
                response_body_mode: BodySendMode::FullDuplexStreamed as i32,
                send_body_without_waiting_for_header_response: true,
            }),
            ..message(Part::RequestHeaders(headers(&head)))
        }
    }
}

/// Waits for the answers to a head and to a body.
async fn hear_both(answers: &mut Streaming<ProcessingResponse>) -> Result<()> {
    for part in ["head", "body"] {
        let answer = answers.message().await?;
        answer.with_context(|| format!("the picker says nothing of the {part}"))?;
    }
    Ok(())
}

fn message(part: Part) -> ProcessingRequest {
    ProcessingRequest {
        request: Some(part),
        ..ProcessingRequest::default()
    }
}

fn whole(body: &Bytes) -> HttpBody {
    HttpBody {
        body: body.clone(),
        end_of_stream: true,
    }
}

fn headers(headers: &[(&str, &str)]) -> HttpHeaders {
    let header = |(name, value): &(&str, &str)| HeaderValue {
        key: (*name).to_owned(),
        raw_value: Bytes::copy_from_slice(value.as_bytes()),
        ..HeaderValue::default()
    };
    HttpHeaders {
        headers: Some(HeaderMap {
            headers: headers.iter().map(header).collect(),
        }),
        ..HttpHeaders::default()
    }
}
