//! A scripted picker, and the proxy's side of exchanges with it.

use std::{
    io,
    net::{self, Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    thread,
    time::Duration,
};

use agent::proxy::{
    picker::{
        Pickers,
        ask::{Asked, Chosen, Question, Refused, ask},
        connections::Connections,
        held::Held,
        message::{
            BodyMutation, BodyResponse, CommonResponse, DESTINATION, HeaderMutation, HeaderValue,
            HeaderValueOption, HeadersResponse, HttpBody, HttpHeaders, ImmediateResponse, ProcessingRequest,
            ProcessingResponse, StreamedBodyResponse, body_mutation::Mutation, external_processor_server,
            processing_request::Request, processing_response::Response,
        },
        respond::{Passing, Responded},
    },
    settings::Settings,
    table,
};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody, combinators::BoxBody};
use proto::{envoy::r#type::v3::HttpStatus, fleet};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::LocalSet,
    time::timeout,
};
use tokio_stream::{StreamExt as _, wrappers::UnboundedReceiverStream};
use tonic::{
    Status, Streaming, async_trait,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

/// Far longer than anything takes that is to happen.
const LONG: Duration = Duration::from_secs(20);

/// Long enough for what may not happen.
const SHORT: Duration = Duration::from_millis(200);

/// The endpoint that pickers choose.
pub const ENDPOINT: &str = "10.0.0.1:8000";

pub type Body = BoxBody<Bytes, io::Error>;
/// Sends the chunks of a body.
pub type Sender = mpsc::UnboundedSender<Frame<Bytes>>;

/// Runs a test as the proxy's threads run.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        timeout(LONG * 2, test).await.expect("the test ends");
    });
}

/// What is to happen.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(LONG, future).await.expect("it happens")
}

/// What two of them come to that need each other.
pub async fn together<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    // In boxes: what tests await is large.
    soon(async { tokio::join!(Box::pin(one), Box::pin(other)) }).await
}

/// A picker; each call of it is handed to the test.
pub struct Picker {
    pub address: SocketAddr,
    calls: mpsc::UnboundedReceiver<Call>,
    /// The thread of the picker, which ends with the sender.
    thread: (oneshot::Sender<()>, thread::JoinHandle<()>),
}

/// How a picker listens.
#[derive(Default)]
pub struct Listening {
    pub address: Option<SocketAddr>,
    pub identity: Option<Identity>,
    pub most_calls: Option<u32>,
}

impl Picker {
    pub fn start() -> Self {
        Self::listening(Listening::default())
    }

    pub fn listening(listening: Listening) -> Self {
        let address = listening
            .address
            .unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
        let listener = net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (calls, received) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve(listening, listener, calls) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            calls: received,
            thread: (stop, thread),
        }
    }

    /// The next call.
    pub async fn call(&mut self) -> Call {
        soon(self.calls.recv()).await.expect("the picker serves")
    }

    /// Breaks all connections.
    pub fn kill(self) {
        let (stop, thread) = self.thread;
        drop(stop);
        thread.join().unwrap();
    }
}

async fn serve(listening: Listening, listener: TcpListener, calls: mpsc::UnboundedSender<Call>) {
    let mut server = Server::builder().max_concurrent_streams(listening.most_calls);
    if let Some(identity) = listening.identity {
        server = server
            .tls_config(ServerTlsConfig::new().identity(identity))
            .unwrap();
    }
    let service = external_processor_server::ExternalProcessorServer::new(Service { calls });
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    server
        .add_service(service)
        .serve_with_incoming(incoming)
        .await
        .unwrap();
}

/// One call, from the picker's side. Dropping it ends it in good order.
pub struct Call {
    messages: Streaming<ProcessingRequest>,
    answers: mpsc::UnboundedSender<Result<ProcessingResponse, Status>>,
}

impl Call {
    /// The next message; none at the half close.
    pub async fn next(&mut self) -> Option<ProcessingRequest> {
        soon(self.messages.message()).await.expect("the call goes on")
    }

    pub async fn headers(&mut self) -> HttpHeaders {
        match self.next().await.unwrap().request {
            Some(Request::RequestHeaders(headers) | Request::ResponseHeaders(headers)) => headers,
            other => panic!("{other:?} in place of headers"),
        }
    }

    pub async fn body(&mut self) -> HttpBody {
        match self.next().await.unwrap().request {
            Some(Request::RequestBody(body) | Request::ResponseBody(body)) => body,
            other => panic!("{other:?} in place of a body"),
        }
    }

    /// Whether the call is broken off, and not ended.
    pub async fn is_broken_off(&mut self) -> bool {
        while let Ok(Some(_)) = soon(self.messages.message()).await {}
        // That is the end of what the proxy says in either case. Nobody waits for answers of a call that is broken off.
        timeout(SHORT, self.answers.closed()).await.is_ok()
    }

    /// Whether someone waits for answers.
    pub fn is_awaited(&self) -> bool {
        !self.answers.is_closed()
    }

    /// The next message, whatever becomes of the call.
    pub async fn message(&mut self) -> Result<Option<ProcessingRequest>, Status> {
        self.messages.message().await
    }

    pub fn answer(&self, response: Response) {
        let message = ProcessingResponse {
            response: Some(response),
            dynamic_metadata: None,
        };
        let _ = self.answers.send(Ok(message));
    }

    pub fn fail(self, status: Status) {
        let _ = self.answers.send(Err(status));
    }

    /// Takes a request and chooses.
    pub async fn choose(&mut self) {
        let mut has_ended = self.headers().await.end_of_stream;
        self.answer(chosen(ENDPOINT));
        while !has_ended {
            let HttpBody { body, end_of_stream } = self.body().await;
            self.answer(Response::RequestBody(streamed(body, end_of_stream)));
            has_ended = end_of_stream;
        }
    }
}

struct Service {
    calls: mpsc::UnboundedSender<Call>,
}

#[async_trait]
impl external_processor_server::ExternalProcessor for Service {
    type ProcessStream = UnboundedReceiverStream<Result<ProcessingResponse, Status>>;

    async fn process(
        &self,
        request: tonic::Request<Streaming<ProcessingRequest>>,
    ) -> Result<tonic::Response<Self::ProcessStream>, Status> {
        let (answers, sent) = mpsc::unbounded_channel();
        let messages = request.into_inner();
        let _ = self.calls.send(Call { messages, answers });
        Ok(tonic::Response::new(UnboundedReceiverStream::new(sent)))
    }
}

/// The proxy's side.
pub struct Proxy {
    pub settings: Settings,
    pub pickers: Pickers,
    pub picker: table::Picker,
}

impl Proxy {
    pub fn new(addresses: &[SocketAddr], tls: Option<fleet::Tls>) -> Self {
        Self::with(Settings::default(), addresses, tls)
    }

    pub fn with(settings: Settings, addresses: &[SocketAddr], tls: Option<fleet::Tls>) -> Self {
        let proxy = Self {
            settings,
            pickers: Pickers::default(),
            picker: picker(addresses, tls),
        };
        proxy.pickers.put([&proxy.picker], &proxy.settings);
        proxy
    }

    pub fn connections(&self) -> Rc<Connections> {
        self.pickers.connections(&self.picker).unwrap()
    }

    pub async fn ask(&self, request: http::Request<Body>) -> Result<Asked<Body>, Refused<Body>> {
        let question = Question {
            settings: &self.settings,
            subset: None,
        };
        let is_member = |address: &SocketAddr| *address == ENDPOINT.parse().unwrap();
        ask(&self.connections(), &question, request, is_member).await
    }

    /// Asks, with what the picker does meanwhile.
    pub async fn chosen(
        &self,
        request: http::Request<Body>,
        picker: impl Future<Output = ()>,
    ) -> Chosen<Body> {
        let (asked, ()) = together(self.ask(request), picker).await;
        match asked.unwrap() {
            Asked::Chosen(chosen) => *chosen,
            Asked::Answer(answer) => panic!("answered with {answer:?}"),
        }
    }

    /// The response to a request without a body, with what the picker does until the head has passed.
    pub async fn responded<P>(
        &self,
        picker: &mut Picker,
        response: http::Response<Body>,
        script: impl AsyncFnOnce(Call) -> P,
    ) -> (Responded<Body>, P) {
        let asked = async {
            let mut call = picker.call().await;
            call.choose().await;
            call
        };
        let (asked, call) = together(self.ask(get()), asked).await;
        let Ok(Asked::Chosen(chosen)) = asked else {
            panic!("not chosen");
        };
        let responding = chosen.consulted.respond(response, ENDPOINT.parse().unwrap());
        together(responding, script(call)).await
    }
}

/// A proxy and the one pod of its picker.
pub fn with_picker(settings: Settings) -> (Proxy, Picker) {
    let picker = Picker::start();
    (Proxy::with(settings, &[picker.address], None), picker)
}

/// A picker of these pods.
pub fn picker(addresses: &[SocketAddr], tls: Option<fleet::Tls>) -> table::Picker {
    table::Picker {
        message: Arc::new(fleet::Picker {
            endpoints: "picker".to_owned(),
            tls,
            fail_open: false,
        }),
        endpoints: addresses
            .iter()
            .map(|address| Arc::new(table::Endpoint::new(*address)))
            .collect(),
    }
}

pub fn get() -> http::Request<Body> {
    http::Request::get("/v1/models").body(empty()).unwrap()
}

pub fn post(body: Body) -> http::Request<Body> {
    http::Request::post("/v1/completions")
        .header("host", "models.example")
        .body(body)
        .unwrap()
}

pub fn empty() -> Body {
    http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed()
}

/// A body whose length is known.
pub fn full(body: impl Into<Bytes>) -> Body {
    http_body_util::Full::new(body.into())
        .map_err(|never| match never {})
        .boxed()
}

/// A body whose length is not known, and where its chunks are sent.
pub fn chunks() -> (Sender, Body) {
    let (sender, chunks) = mpsc::unbounded_channel();
    let chunks = UnboundedReceiverStream::new(chunks).map(Ok);
    (sender, StreamBody::new(chunks).boxed())
}

/// A body that does not come to its end.
pub fn cut(beginning: &'static str) -> Body {
    let frames = [
        Ok(Frame::data(beginning.into())),
        Err(io::ErrorKind::UnexpectedEof.into()),
    ];
    StreamBody::new(tokio_stream::iter(frames)).boxed()
}

pub fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(text.into())
}

pub fn chosen(list: &str) -> Response {
    Response::RequestHeaders(headers(&[(DESTINATION, list)]))
}

pub fn headers(set: &[(&str, &str)]) -> HeadersResponse {
    let option = |(key, value): &(&str, &str)| HeaderValueOption {
        header: Some(HeaderValue {
            key: (*key).to_owned(),
            value: String::new(),
            raw_value: Bytes::copy_from_slice(value.as_bytes()),
        }),
        ..HeaderValueOption::default()
    };
    HeadersResponse {
        response: Some(CommonResponse {
            header_mutation: Some(HeaderMutation {
                set_headers: set.iter().map(option).collect(),
                remove_headers: Vec::new(),
            }),
            ..CommonResponse::default()
        }),
    }
}

pub fn streamed(body: impl Into<Bytes>, end_of_stream: bool) -> BodyResponse {
    let mutation = Some(Mutation::StreamedResponse(StreamedBodyResponse {
        body: body.into(),
        end_of_stream,
    }));
    BodyResponse {
        response: Some(CommonResponse {
            body_mutation: Some(BodyMutation { mutation }),
            ..CommonResponse::default()
        }),
    }
}

pub fn refusal() -> Response {
    Response::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus { code: 429 }),
        body: "busy".into(),
        ..ImmediateResponse::default()
    })
}

pub async fn text(body: Held<Body>) -> String {
    String::from_utf8(soon(body.collect()).await.unwrap().to_bytes().into()).unwrap()
}

pub async fn next(body: &mut Passing<Body>) -> String {
    let frame = soon(body.frame()).await.expect("more comes").unwrap();
    String::from_utf8(frame.into_data().unwrap().into()).unwrap()
}

pub fn value<'a>(headers: &'a HttpHeaders, name: &str) -> Option<&'a [u8]> {
    let headers = &headers.headers.as_ref()?.headers;
    let header = headers.iter().find(|header| header.key == name)?;
    Some(&header.raw_value)
}
