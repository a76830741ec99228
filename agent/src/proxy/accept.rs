//! Connections from NGINX, HTTP/1.1 and HTTP/2 on the same socket.

use std::{convert::Infallible, rc::Rc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{net::UnixListener, task::spawn_local, time::sleep};
use tracing::{debug, error};

use super::{headers, leg, server::Server};

/// Bytes that a connection of HTTP/1.1 reads ahead at most; also the limit of a request's head, beyond which the answer
/// is 431.
const READ_BUFFER: usize = 64 << 10;
/// Bytes of one request in HTTP/2 that are in memory while its endpoint does not read, and of one response while NGINX
/// does not.
const STREAM_BUFFER: u32 = 64 << 10;
/// The same for a connection. NGINX has one request at a time on a connection, so that a stream's limit is what counts.
/// But h2 also breaks connections off when small frames wait in them: each counts as the bytes that it lacks to 256, up
/// to half of this window.
const CONNECTION_WINDOW: u32 = STREAM_BUFFER * 256 * 2;

/// Serves the connections that come, until it is dropped.
pub async fn accept(server: Rc<Server>, listener: UnixListener) {
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
        let shared = Rc::clone(&server);
        let service = service_fn(move |request| {
            let server = Rc::clone(&shared);
            // In a box of its own, which ends with the response's head: a connection would hold its room as long as
            // a stream lasts.
            Box::pin(async { Ok::<_, Infallible>(leg::serve(server, request).await) })
        });
        let connection = http
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .into_owned();
        let connection = server.watch(connection);
        spawn_local(async move {
            if let Err(error) = connection.await {
                debug!(error, "connection ended");
            }
        });
    }
}

/// How NGINX is spoken to.
fn http() -> auto::Builder<LocalExecutor> {
    let mut builder = auto::Builder::new(LocalExecutor);
    // NGINX dates responses by itself.
    builder
        .http1()
        .max_buf_size(READ_BUFFER)
        .max_headers(headers::MOST)
        .auto_date_header(false);
    builder
        .http2()
        .auto_date_header(false)
        .initial_stream_window_size(STREAM_BUFFER)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(STREAM_BUFFER)
        .max_send_buf_size(STREAM_BUFFER as usize);
    builder
}

/// Runs tasks on the thread that made them.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

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
