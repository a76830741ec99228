//! A picker that does what a test tells it.

use std::{
    net::{self, Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use agent::proxy::picker::message::{
    HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse, external_processor_server,
    processing_request::Request, processing_response::Response,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{
    Status, Streaming, async_trait,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

use super::{ENDPOINT, chosen, soon, streamed};

/// Long enough for what may not happen.
const SHORT: Duration = Duration::from_millis(200);

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

    /// Resolves when the call is broken off.
    pub async fn broken_off(&mut self) {
        self.last_message().await;
        soon(self.answers.closed()).await;
    }

    /// Whether the call is ended in good order, and not broken off.
    pub async fn is_ended(&mut self) -> bool {
        self.last_message().await;
        timeout(SHORT, self.answers.closed()).await.is_err()
    }

    /// The end of what the proxy says is the same whether it ends a call or breaks it off. What differs is that nobody waits
    /// for answers of one that is broken off.
    async fn last_message(&mut self) {
        while let Ok(Some(_)) = soon(self.messages.message()).await {}
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
