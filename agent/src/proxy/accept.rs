//! Connections from NGINX, HTTP/1.1 and HTTP/2 on the same socket.

use std::{convert::Infallible, io, pin::Pin, rc::Rc, time::Duration};

use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::{Service, service_fn},
};
use hyper_util::rt::TokioIo;
use rustix::net::{RecvFlags, recv};
use tokio::{
    io::Interest,
    net::{UnixListener, UnixStream},
    pin, select,
    task::spawn_local,
    time::sleep,
};
use tracing::{debug, error, info};

use super::{BoxError, body::Body, headers, leg, nginx_stream::NginxStream, outage::Outage, server::Server};

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
    let outage = Outage::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Some(failures) = outage.succeed() {
                    info!(failures, "accepting again");
                }
                let watcher = server.watcher();
                let server = Rc::clone(&server);
                spawn_local(async move {
                    let _watcher = watcher;
                    if let Err(error) = serve(server, stream).await {
                        debug!(error, "connection ended");
                    }
                });
            }
            Err(error) => {
                if let Some(failures) = outage.fail() {
                    error!(%error, failures, "cannot accept");
                }
                // Out of descriptors: those in use must come free first.
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Serves one connection in the version of HTTP that it begins with.
async fn serve(server: Rc<Server>, stream: UnixStream) -> Result<(), BoxError> {
    let is_http2 = select! {
        biased;
        is_http2 = is_http2(&stream) => is_http2?,
        () = server.draining() => return Ok(()),
    };
    if is_http2 {
        // Most connections are not, and what it needs is large.
        return Box::pin(serve_http2(server, stream)).await;
    }
    let connection = http1::Builder::new()
        .max_buf_size(READ_BUFFER)
        .max_headers(headers::MOST)
        // NGINX dates responses by itself.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(NginxStream::new(stream)?), service(&server))
        .with_upgrades();
    let shut_down = http1::UpgradeableConnection::graceful_shutdown;
    Ok(until_drained(&server, connection, shut_down).await?)
}

async fn serve_http2(server: Rc<Server>, stream: UnixStream) -> Result<(), BoxError> {
    let connection = http2::Builder::new(LocalExecutor)
        .auto_date_header(false)
        .initial_stream_window_size(STREAM_BUFFER)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(STREAM_BUFFER)
        .max_send_buf_size(STREAM_BUFFER as usize)
        .serve_connection(TokioIo::new(stream), service(&server));
    Ok(until_drained(&server, connection, http2::Connection::graceful_shutdown).await?)
}

/// Whether a connection begins as those of HTTP/2 do, see
/// <https://www.rfc-editor.org/rfc/rfc9113#section-3.4>. NGINX writes more than this at once.
async fn is_http2(stream: &UnixStream) -> io::Result<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0";
    let mut start = [0; PREFACE.len()];
    let look = || Ok(recv(stream, &mut start, RecvFlags::PEEK)?);
    stream.async_io(Interest::READABLE, look).await?;
    Ok(start == *PREFACE)
}

/// What answers the requests of a connection.
fn service(
    server: &Rc<Server>,
) -> impl Service<hyper::Request<Incoming>, Response = hyper::Response<Body>, Error = Infallible, Future: 'static>
+ use<> {
    let server = Rc::clone(server);
    service_fn(move |request| {
        let server = Rc::clone(&server);
        // In a box of its own, which ends with the response's head: a connection would hold its room as long as a
        // stream lasts.
        Box::pin(async { Ok(leg::serve(server, request).await) })
    })
}

/// Resolves when a connection has ended, which it is told to do when the server drains.
async fn until_drained<C: Future>(
    server: &Server,
    connection: C,
    shut_down: impl FnOnce(Pin<&mut C>),
) -> C::Output {
    pin!(connection);
    select! {
        ended = &mut connection => return ended,
        () = server.draining() => {}
    }
    shut_down(connection.as_mut());
    connection.await
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
