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

mod exchange;
mod message;

use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use futures::Stream;
use parking_lot::Mutex;
use proto::envoy::service::ext_proc::v3::{
    ProcessingRequest, ProcessingResponse,
    external_processor_server::{ExternalProcessor, ExternalProcessorServer},
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

pub use self::{
    exchange::{Asked, Exchange},
    message::{DESTINATION, NAMESPACE, SERVED, destination, headers_response, pairs, served, streamed},
};

/// Bytes that may wait on a connection: as many as can be. Small messages wait in half of it, each counted with 256
/// bytes, before h2 breaks the connection off, and a picker that shares two processors with all of a test gets behind.
const WINDOW: u32 = (1 << 31) - 1;

/// How long scripts may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running picker; when this value is dropped it has stopped, and every exchange is broken off.
pub struct Picker {
    address: SocketAddr,
    script: Arc<Mutex<Arc<Script>>>,
    counts: Arc<Counts>,
    /// Of its own, so that every connection ends with the picker. There until the end.
    runtime: Option<Runtime>,
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
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        // A runtime's end can be waited for everywhere but in another runtime.
        let end = thread::spawn(|| runtime.shutdown_timeout(PATIENCE));
        end.join().expect("a runtime ends without a panic");
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

#[tonic::async_trait]
impl ExternalProcessor for Scripted {
    type ProcessStream = Verdicts;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Verdicts>, Status> {
        let (verdicts, said) = mpsc::channel(16);
        let script = Arc::clone(&self.script.lock());
        let script = script(Exchange::new(request.into_inner(), verdicts.clone()));
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
