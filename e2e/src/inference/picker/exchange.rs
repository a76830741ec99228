//! What a script is told, and what it can say.

use hyper::body::Bytes;
use proto::envoy::{
    service::ext_proc::v3::{
        HttpBody, ImmediateResponse, ProcessingRequest, ProcessingResponse, TrailersResponse,
        processing_request::Request as Part, processing_response::Response as Verdict,
    },
    r#type::v3::HttpStatus,
};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::message::{DESTINATION, destination, headers_response, mutation, pairs, streamed, subset};

/// Bytes of a body that real pickers put in one message.
const CHUNK: usize = 62_000;

/// One exchange, as the picker sees it.
#[derive(Debug)]
pub struct Exchange {
    parts: Streaming<ProcessingRequest>,
    verdicts: mpsc::Sender<Result<ProcessingResponse, Status>>,
}

/// A whole request, as the picker was asked about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The headers in order, pseudo headers included.
    pub headers: Vec<(String, String)>,
    /// The body; empty if there is none.
    pub body: Bytes,
    /// How many messages the body came in.
    pub chunks: usize,
    /// Addresses that the choice is limited to.
    pub subset: Option<Vec<String>>,
}

impl Exchange {
    /// The exchange of these two streams.
    pub(super) fn new(
        parts: Streaming<ProcessingRequest>,
        verdicts: mpsc::Sender<Result<ProcessingResponse, Status>>,
    ) -> Self {
        Self { parts, verdicts }
    }

    /// The next message; none when the gateway has no more to say.
    pub async fn next(&mut self) -> Result<Option<ProcessingRequest>, Status> {
        self.parts.message().await
    }

    /// The request to its end.
    pub async fn request(&mut self) -> Result<Asked, Status> {
        let mut asked = Asked::default();
        let mut body = Vec::new();
        while let Some(message) = self.next().await? {
            let subset = subset(&message);
            if subset.is_some() {
                asked.subset = subset;
            }
            let end = match message.request {
                Some(Part::RequestHeaders(headers)) => {
                    asked.headers = pairs(&headers);
                    headers.end_of_stream
                }
                Some(Part::RequestBody(chunk)) => {
                    asked.chunks += 1;
                    body.extend_from_slice(&chunk.body);
                    chunk.end_of_stream
                }
                Some(Part::RequestTrailers(_)) => true,
                other => return Err(unexpected(other.as_ref())),
            };
            if end {
                asked.body = body.into();
                return Ok(asked);
            }
        }
        Err(Status::aborted("the request has no end"))
    }

    /// Answers the request's headers with endpoints, in metadata and in a header.
    pub async fn choose(&self, endpoints: &str) -> Result<(), Status> {
        self.choose_with(endpoints, &[]).await
    }

    /// The same with headers to set.
    pub async fn choose_with(&self, endpoints: &str, headers: &[(&str, &str)]) -> Result<(), Status> {
        let headers = [&[(DESTINATION, endpoints)], headers].concat();
        let verdict = ProcessingResponse {
            dynamic_metadata: Some(destination(endpoints)),
            ..Verdict::RequestHeaders(headers_response(&headers)).into_message()
        };
        self.say_all(verdict).await
    }

    /// Answers the request's body with another one, in chunks; says nothing for an empty one.
    pub async fn return_body(&self, body: impl Into<Bytes>) -> Result<(), Status> {
        let mut body = body.into();
        while !body.is_empty() {
            let chunk = body.split_to(body.len().min(CHUNK));
            self.say(Verdict::RequestBody(streamed(chunk, body.is_empty())))
                .await?;
        }
        Ok(())
    }

    /// Passes every part of the response as it is, at once, until the gateway has no more to say.
    pub async fn pass_response(&mut self) -> Result<(), Status> {
        while let Some(message) = self.next().await? {
            match message.request {
                Some(Part::ResponseHeaders(_)) => self.pass_headers().await?,
                Some(Part::ResponseBody(chunk)) => self.pass_chunk(chunk).await?,
                Some(Part::ResponseTrailers(_)) => {
                    self.say(Verdict::ResponseTrailers(TrailersResponse::default()))
                        .await?;
                }
                other => return Err(unexpected(other.as_ref())),
            }
        }
        Ok(())
    }

    /// Passes the headers of a response as they are.
    pub async fn pass_headers(&self) -> Result<(), Status> {
        self.say(Verdict::ResponseHeaders(headers_response(&[]))).await
    }

    /// Passes some of the body of a response as it is.
    pub async fn pass_chunk(&self, chunk: HttpBody) -> Result<(), Status> {
        self.say(Verdict::ResponseBody(streamed(chunk.body, chunk.end_of_stream)))
            .await
    }

    /// Answers the request in place of an endpoint.
    pub async fn refuse(&self, status: u16, headers: &[(&str, &str)], body: &str) -> Result<(), Status> {
        self.say(Verdict::ImmediateResponse(ImmediateResponse {
            status: Some(HttpStatus { code: status.into() }),
            headers: Some(mutation(headers)),
            body: Bytes::copy_from_slice(body.as_bytes()),
            grpc_status: None,
        }))
        .await
    }

    /// Says anything, whether it fits or not.
    pub async fn say(&self, verdict: Verdict) -> Result<(), Status> {
        self.say_all(verdict.into_message()).await
    }

    /// The same with all that a message can hold.
    pub async fn say_all(&self, verdict: ProcessingResponse) -> Result<(), Status> {
        let said = self.verdicts.send(Ok(verdict)).await;
        said.map_err(|_| Status::cancelled("the gateway is gone"))
    }
}

impl Asked {
    /// A header's only or first value; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(its, _)| its == name);
        found.map_or("", |(_, value)| value)
    }
}

/// A verdict as a message without metadata.
trait IntoMessage {
    fn into_message(self) -> ProcessingResponse;
}

impl IntoMessage for Verdict {
    fn into_message(self) -> ProcessingResponse {
        ProcessingResponse {
            response: Some(self),
            dynamic_metadata: None,
        }
    }
}

fn unexpected(part: Option<&Part>) -> Status {
    Status::invalid_argument(format!("nothing was to come but {part:?}"))
}
