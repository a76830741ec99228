//! An endpoint picker that says what a test has it say.
//!
//! A script is an async function of one [`Exchange`]. Its `Ok` ends the exchange, its `Err` is the gRPC status with
//! which it breaks off:
//!
//! ```no_run
//! # use e2e::inference::picker::{Exchange, Picker};
//! # async fn test(address: std::net::SocketAddr) -> anyhow::Result<()> {
//! let picker = Picker::start(address, async |mut exchange: Exchange| {
//!     let asked = exchange.request().await?;
//!     exchange.choose("127.0.0.2:8000").await?;
//!     exchange.return_body(asked.body).await?;
//!     exchange.pass_response().await
//! })
//! .await?;
//! # Ok(()) }
//! ```

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll},
};

use anyhow::{Context, Result};
use futures::Stream;
use hyper::body::Bytes;
use parking_lot::Mutex;
use prost_types::{Struct, Value, value::Kind};
use proto::envoy::{
    config::core::v3::{HeaderValue, HeaderValueOption},
    service::ext_proc::v3::{
        BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, HttpBody, HttpHeaders,
        ImmediateResponse, ProcessingRequest, ProcessingResponse, StreamedBodyResponse, TrailersResponse,
        body_mutation::Mutation,
        external_processor_server::{ExternalProcessor, ExternalProcessorServer},
        processing_request::Request as Part,
        processing_response::Response as Verdict,
    },
    r#type::v3::HttpStatus,
};
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
    sync::mpsc,
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

/// Where a picker names its choice, in the metadata's namespace `envoy.lb` and in a header.
pub const DESTINATION: &str = "x-gateway-destination-endpoint";

/// Where a gateway says who served a request, in the metadata's namespace `envoy.lb`.
pub const SERVED: &str = "x-gateway-destination-endpoint-served";

/// The namespace of both.
pub const NAMESPACE: &str = "envoy.lb";

/// Bytes that may wait on a connection: as many as can be. Small messages wait in half of it, each counted with 256
/// bytes, before h2 breaks the connection off, and a picker that shares two processors with all of a test gets behind.
const WINDOW: u32 = (1 << 31) - 1;

/// Bytes of a body that real pickers put in one message.
const CHUNK: usize = 62_000;

/// A running picker; it stops when this value is dropped, and breaks off every exchange.
pub struct Picker {
    address: SocketAddr,
    script: Arc<Mutex<Arc<Script>>>,
    counts: Arc<Counts>,
    /// Of its own, so that every connection ends with the picker. There until the end.
    runtime: Option<Runtime>,
}

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

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    begun: AtomicUsize,
}

type Ending = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;
type Script = dyn Fn(Exchange) -> Ending + Send + Sync;

#[derive(Clone)]
struct Scripted {
    script: Arc<Mutex<Arc<Script>>>,
    counts: Arc<Counts>,
}

/// The verdicts of an exchange on their way; the exchange ends with it.
pub struct Verdicts {
    said: ReceiverStream<Result<ProcessingResponse, Status>>,
    counts: Arc<Counts>,
    _script: JoinSet<()>,
}

impl Picker {
    /// Starts a picker that does this in every exchange, in plain text.
    pub async fn start<Script, Ends>(address: SocketAddr, script: Script) -> Result<Self>
    where
        Script: Fn(Exchange) -> Ends + Send + Sync + 'static,
        Ends: Future<Output = Result<(), Status>> + Send + 'static,
    {
        // Before there is a runtime, which an error could not drop in here.
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("a picker cannot listen at {address}"))?;
        let listener = listener
            .into_std()
            .context("a listening socket can change its runtime")?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("there is no runtime for a picker")?;
        let listener = {
            let _in_runtime = runtime.enter();
            TcpListener::from_std(listener).expect("a listening socket can be polled")
        };
        let address = listener
            .local_addr()
            .context("a listening socket has an address")?;
        let counts = Arc::<Counts>::default();
        let script = Arc::new(Mutex::new(boxed(script)));
        let scripted = Scripted {
            script: Arc::clone(&script),
            counts: Arc::clone(&counts),
        };
        let mut server = Server::builder().initial_connection_window_size(WINDOW);
        let server = server.add_service(ExternalProcessorServer::new(scripted));
        // The builder's own setting is for sockets that it opens itself.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let serving = server.serve_with_incoming(incoming);
        runtime.spawn(async { drop(serving.await) });
        Ok(Self {
            address,
            script,
            counts,
            runtime: Some(runtime),
        })
    }

    /// Starts a picker that names these endpoints, as `address:port` separated by commas, and changes nothing.
    pub async fn choosing(address: SocketAddr, endpoints: &str) -> Result<Self> {
        Self::start(address, obedient(endpoints)).await
    }

    /// Does this in every exchange that begins from now on.
    pub fn follow<Script, Ends>(&self, script: Script)
    where
        Script: Fn(Exchange) -> Ends + Send + Sync + 'static,
        Ends: Future<Output = Result<(), Status>> + Send + 'static,
    {
        *self.script.lock() = boxed(script);
    }

    /// Names these endpoints in every exchange that begins from now on; see [`Self::choosing`].
    pub fn choose(&self, endpoints: &str) {
        self.follow(obedient(endpoints));
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Exchanges that have not ended.
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::Relaxed)
    }

    /// Exchanges there ever were.
    pub fn begun(&self) -> usize {
        self.counts.begun.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Picker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut picker = formatter.debug_struct("Picker");
        picker
            .field("address", &self.address)
            .field("counts", &self.counts);
        picker.finish_non_exhaustive()
    }
}

impl Drop for Picker {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Exchange {
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

fn boxed<Script, Ends>(script: Script) -> Arc<self::Script>
where
    Script: Fn(Exchange) -> Ends + Send + Sync + 'static,
    Ends: Future<Output = Result<(), Status>> + Send + 'static,
{
    Arc::new(move |exchange| Box::pin(script(exchange)))
}

/// Names endpoints and changes nothing.
fn obedient(endpoints: &str) -> impl Fn(Exchange) -> Ending + Send + Sync + 'static {
    let endpoints = endpoints.to_owned();
    move |mut exchange| {
        let endpoints = endpoints.clone();
        Box::pin(async move {
            let asked = exchange.request().await?;
            exchange.choose(&endpoints).await?;
            exchange.return_body(asked.body).await?;
            exchange.pass_response().await
        })
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

/// Headers to set, for a request or a response.
pub fn headers_response(headers: &[(&str, &str)]) -> HeadersResponse {
    HeadersResponse {
        response: Some(CommonResponse {
            header_mutation: Some(mutation(headers)),
            ..CommonResponse::default()
        }),
    }
}

/// The next of a body, for a request or a response.
pub fn streamed(body: Bytes, end_of_stream: bool) -> BodyResponse {
    BodyResponse {
        response: Some(CommonResponse {
            body_mutation: Some(BodyMutation {
                mutation: Some(Mutation::StreamedResponse(StreamedBodyResponse {
                    body,
                    end_of_stream,
                })),
            }),
            ..CommonResponse::default()
        }),
    }
}

/// Dynamic metadata that names endpoints.
pub fn destination(endpoints: &str) -> Struct {
    let value = |kind| Value { kind: Some(kind) };
    let destination = value(Kind::StringValue(endpoints.to_owned()));
    let inner = Struct {
        fields: BTreeMap::from([(DESTINATION.to_owned(), destination)]),
    };
    Struct {
        fields: BTreeMap::from([(NAMESPACE.to_owned(), value(Kind::StructValue(inner)))]),
    }
}

/// Who served the request, as a message says.
pub fn served(message: &ProcessingRequest) -> Option<String> {
    match metadata(message, NAMESPACE, SERVED)? {
        Kind::StringValue(served) => Some(served.clone()),
        _ => None,
    }
}

/// Headers with their values, from whichever field they are in.
pub fn pairs(headers: &HttpHeaders) -> Vec<(String, String)> {
    let headers = headers.headers.iter().flat_map(|map| &map.headers);
    let value = |header: &HeaderValue| {
        if header.raw_value.is_empty() {
            header.value.clone()
        } else {
            String::from_utf8_lossy(&header.raw_value).into_owned()
        }
    };
    headers
        .map(|header| (header.key.clone(), value(header)))
        .collect()
}

fn mutation(headers: &[(&str, &str)]) -> HeaderMutation {
    let set = headers.iter().map(|(name, value)| HeaderValueOption {
        header: Some(HeaderValue {
            key: (*name).to_owned(),
            value: String::new(),
            raw_value: Bytes::copy_from_slice(value.as_bytes()),
        }),
        ..HeaderValueOption::default()
    });
    HeaderMutation {
        set_headers: set.collect(),
        remove_headers: Vec::new(),
    }
}

fn subset(message: &ProcessingRequest) -> Option<Vec<String>> {
    let name = "x-gateway-destination-endpoint-subset";
    match metadata(message, "envoy.lb.subset_hint", name)? {
        Kind::ListValue(list) => list
            .values
            .iter()
            .map(|value| match &value.kind {
                Some(Kind::StringValue(address)) => Some(address.clone()),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn metadata<'a>(message: &'a ProcessingRequest, namespace: &str, name: &str) -> Option<&'a Kind> {
    let spaces = &message.metadata_context.as_ref()?.filter_metadata;
    spaces.get(namespace)?.fields.get(name)?.kind.as_ref()
}

fn unexpected(part: Option<&Part>) -> Status {
    Status::invalid_argument(format!("nothing was to come but {part:?}"))
}

#[tonic::async_trait]
impl ExternalProcessor for Scripted {
    type ProcessStream = Verdicts;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Verdicts>, Status> {
        let (verdicts, said) = mpsc::channel(16);
        let script = Arc::clone(&self.script.lock());
        let script = script(Exchange {
            parts: request.into_inner(),
            verdicts: verdicts.clone(),
        });
        self.counts.begun.fetch_add(1, Ordering::Relaxed);
        self.counts.open.fetch_add(1, Ordering::Relaxed);
        let mut task = JoinSet::new();
        task.spawn(async move {
            if let Err(status) = script.await {
                // Whoever is gone misses nothing.
                drop(verdicts.send(Err(status)).await);
            }
        });
        Ok(Response::new(Verdicts {
            said: ReceiverStream::new(said),
            counts: Arc::clone(&self.counts),
            _script: task,
        }))
    }
}

impl Stream for Verdicts {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.said).poll_next(context)
    }
}

impl Drop for Verdicts {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
    }
}
