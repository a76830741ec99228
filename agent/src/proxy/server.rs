//! One thread's server: connections from NGINX, HTTP/1.1 and HTTP/2 on the same socket.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::{
    rt::TokioIo,
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{net::UnixListener, task::spawn_local, time::sleep};
use tracing::{debug, error};

use super::{leg, metrics::Metrics, picker::Pickers, table::Table, upstream::Pool};

/// Bytes that a connection of HTTP/1.1 reads ahead at most; also the limit of a request's head, which NGINX's own
/// limits are below.
const READ_BUFFER: usize = 64 << 10;
/// Bytes of one request in HTTP/2 that are in memory while its endpoint does not read, and of one response while NGINX
/// does not.
const STREAM_BUFFER: u32 = 64 << 10;
/// The same for a connection. NGINX has one request at a time on a connection.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// What the connections of a thread share.
pub struct Server {
    table: RefCell<Arc<Table>>,
    connections: RefCell<GracefulShutdown>,
    turn: Cell<usize>,
    pub pool: Rc<Pool>,
    pub pickers: Pickers,
    pub metrics: Arc<Metrics>,
}

impl Server {
    /// A server that knows no leg yet.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            table: RefCell::default(),
            connections: RefCell::default(),
            turn: Cell::default(),
            pool: Rc::default(),
            pickers: Pickers::default(),
            metrics,
        }
    }

    /// What new requests go by.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.borrow())
    }

    /// Has new requests go by a table.
    pub fn put(&self, table: Arc<Table>) {
        self.pool.retain(&table);
        let pickers = table.legs().filter_map(|leg| leg.picker.as_ref());
        self.pickers.put(pickers, &table.settings);
        self.table.replace(table);
    }

    /// Closes connections to endpoints that were not used for a while.
    pub fn sweep(&self) {
        self.pool.sweep();
    }

    /// Whose turn it is among some, from 0; always 0 among none.
    #[must_use]
    pub fn turn(&self, among: usize) -> usize {
        let turn = self.turn.get().wrapping_add(1);
        self.turn.set(turn);
        turn.checked_rem(among).unwrap_or(0)
    }

    /// What draining waits for, beside connections.
    #[must_use]
    pub fn watcher(&self) -> Watcher {
        self.connections.borrow().watcher()
    }

    /// Serves the connections that come, until it is dropped.
    pub async fn accept(self: Rc<Self>, listener: UnixListener) {
        let http = http();
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors: those in use must come free first.
                    error!(%error, "cannot accept");
                    sleep(Duration::from_millis(10)).await;
                    continue;
                }
            };
            let server = Rc::clone(&self);
            let service = service_fn(move |request| {
                let server = Rc::clone(&server);
                // In a box of its own, which ends with the response's head: a connection would hold its room as long as
                // a stream lasts.
                Box::pin(async { Ok::<_, Infallible>(leg::serve(server, request).await) })
            });
            let connection = http
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
                .into_owned();
            let connection = self.connections.borrow().watch(connection);
            spawn_local(async move {
                if let Err(error) = connection.await {
                    debug!(error, "connection ended");
                }
            });
        }
    }

    /// Resolves when all connections have ended their requests.
    pub async fn drain(&self) {
        let connections = self.connections.take();
        connections.shutdown().await;
    }
}

/// How NGINX is spoken to.
fn http() -> auto::Builder<LocalExecutor> {
    let mut builder = auto::Builder::new(LocalExecutor);
    // NGINX dates responses by itself.
    builder.http1().max_buf_size(READ_BUFFER).auto_date_header(false);
    builder
        .http2()
        .auto_date_header(false)
        .initial_stream_window_size(STREAM_BUFFER)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_BUFFER as usize);
    builder
}

/// Runs tasks on the thread that made them.
#[derive(Clone, Copy, Debug)]
pub struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        spawn_local(async move {
            future.await;
        });
    }
}
