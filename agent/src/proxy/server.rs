//! One thread's server: connections from NGINX, HTTP/1.1 and HTTP/2 on the same socket.

use std::{cell::RefCell, convert::Infallible, os::unix::net, rc::Rc, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::TokioIo,
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{net::UnixListener, task::spawn_local, time::sleep};
use tracing::{debug, error};

use super::{metrics::Metrics, table::Table};

/// What the connections of a thread share.
pub struct Server {
    table: RefCell<Arc<Table>>,
    metrics: Arc<Metrics>,
    connections: RefCell<GracefulShutdown>,
}

impl Server {
    /// A server that knows no leg yet.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            table: RefCell::default(),
            metrics,
            connections: RefCell::default(),
        }
    }

    /// Has new requests go by a table.
    pub fn put(&self, table: Arc<Table>) {
        self.table.replace(table);
    }

    /// Serves the connections that come, until it is dropped.
    pub async fn accept(self: Rc<Self>, listener: net::UnixListener) {
        let listener = UnixListener::from_std(listener).expect("the runtime has an epoll descriptor");
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
            let connection = auto::Builder::new(LocalExecutor)
                .serve_connection_with_upgrades(
                    TokioIo::new(stream),
                    service_fn(move |request| serve(Rc::clone(&server), request)),
                )
                .into_owned();
            let connection = self.connections.borrow().watch(connection);
            spawn_local(async move {
                if let Err(error) = connection.await {
                    debug!(%error, "connection ended");
                }
            });
        }
    }

    /// Resolves when all connections have ended their requests.
    pub async fn drain(&self) {
        self.connections.take().shutdown().await;
    }
}

async fn serve(server: Rc<Server>, _request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    server.metrics.in_flight.inc();
    let mut response = Response::new(Full::from("no such leg\n"));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    server.metrics.in_flight.dec();
    Ok(response)
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
