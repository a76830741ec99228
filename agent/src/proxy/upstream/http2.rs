//! HTTP/2 with an endpoint: many requests at a time on a connection.
//!
//! Spoken by the `h2` crate itself: over hyper's client the sending of a body outlives the request when the client is
//! gone while the endpoint does not take more of it.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
};

use futures::future::{Either, select};
use h2::{
    SendStream,
    client::{Builder, SendRequest},
};
use http::{HeaderMap, Response, request, uri::Scheme};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_local,
};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::{Download, Failure};
use crate::proxy::{headers, replay::Reading, source::Source};

/// Requests at a time on a connection, if the endpoint does not say fewer. More go over another connection.
const STREAMS: usize = 128;
/// Bytes of one response that are in memory while its client does not read.
const STREAM_WINDOW: u32 = 64 << 10;
/// Large enough that clients that do not read leave the others of the connection theirs.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 128;
/// Bytes of one request that are in memory while the endpoint does not read.
const SEND_BUFFER: usize = 64 << 10;

/// A connection to an endpoint.
#[derive(Debug)]
pub(super) struct Connection {
    sender: RefCell<SendRequest<Bytes>>,
    streams: Cell<usize>,
    is_closed: Rc<Cell<bool>>,
}

/// A place for one request on a connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot(Rc<Connection>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
    }
}

impl Connection {
    /// Starts HTTP/2 on a connection.
    pub(super) async fn handshake<S>(stream: S) -> Result<Self, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (sender, connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            // Clients that go away are ordinary, and each of them resets a stream.
            .max_local_error_reset_streams(None)
            // Small frames that wait for one client must not cost the others their connection.
            .data_frame_budget(usize::MAX)
            .handshake(stream)
            .await
            .map_err(Failure::before_the_request)?;
        let is_closed = Rc::new(Cell::new(false));
        let closed = Rc::clone(&is_closed);
        spawn_local(async move {
            if let Err(error) = connection.await {
                debug!(%error, "connection to an endpoint ended");
            }
            closed.set(true);
        });
        Ok(Self {
            sender: RefCell::new(sender),
            streams: Cell::new(0),
            is_closed,
        })
    }

    /// Whether it takes no request any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// A place for a request; none where it has as many as it takes.
    pub(super) fn slot(self: &Rc<Self>) -> Option<Slot> {
        let most = self.sender.borrow().current_max_send_streams().min(STREAMS);
        (self.streams.get() < most).then(|| {
            self.streams.set(self.streams.get() + 1);
            Slot(Rc::clone(self))
        })
    }
}

impl Failure {
    fn before_the_request(source: h2::Error) -> Self {
        Self::Refused { source }
    }

    /// Of a stream that has begun.
    fn of_stream(source: h2::Error) -> Self {
        // Only streams that the endpoint did not begin with end by GOAWAY, see
        // <https://www.rfc-editor.org/rfc/rfc9113#section-8.7>.
        let is_refused = source.reason() == Some(h2::Reason::REFUSED_STREAM) || source.is_go_away();
        if is_refused && source.is_remote() {
            Self::Refused { source }
        } else {
            Self::Reset {
                source: source.into(),
                was_kept: true,
            }
        }
    }
}

impl Slot {
    /// Sends a request and resolves with the head of its response.
    pub(super) async fn send(
        self,
        head: request::Parts,
        body: Reading<Source>,
        is_secure: bool,
    ) -> Result<Response<Download>, Failure> {
        let scheme = if is_secure { Scheme::HTTPS } else { Scheme::HTTP };
        let request = headers::for_http2(head, scheme).map_err(|source| Failure::Request { source })?;
        let is_empty = body.is_end_stream();
        let sender = self.0.sender.borrow().clone();
        let (response, stream) = sender
            .ready()
            .await
            .and_then(|mut sender| sender.send_request(request, is_empty))
            .map_err(|error| {
                // It takes no further stream.
                self.0.is_closed.set(true);
                Failure::before_the_request(error)
            })?;
        if is_empty {
            let response = response.await.map_err(Failure::of_stream)?;
            return Ok(self.download(response, None));
        }
        let upload = Box::pin(upload(stream, body));
        match select(response, upload).await {
            Either::Left((response, upload)) => {
                // It goes on beside the response, and ends with it.
                let upload = AbortOnDropHandle::new(spawn_local(upload));
                Ok(self.download(response.map_err(Failure::of_stream)?, Some(upload)))
            }
            Either::Right((uploaded, response)) => {
                let response = match uploaded {
                    // Dropping the response resets the stream.
                    Uploaded::SourceFailed(source) => {
                        return Err(Failure::Reset {
                            source: source.into(),
                            was_kept: false,
                        });
                    }
                    Uploaded::All | Uploaded::Reset => response.await.map_err(Failure::of_stream)?,
                };
                Ok(self.download(response, None))
            }
        }
    }

    fn download(
        self,
        response: Response<h2::RecvStream>,
        upload: Option<AbortOnDropHandle<Uploaded>>,
    ) -> Response<Download> {
        response.map(|stream| Download::http2(stream, self, upload))
    }
}

/// What became of a request's body.
#[derive(Debug)]
pub(super) enum Uploaded {
    All,
    /// The endpoint takes no more of it; the response says why.
    Reset,
    SourceFailed(crate::proxy::replay::Error),
}

/// Sends a body, as fast as the endpoint takes it.
async fn upload(mut stream: SendStream<Bytes>, body: Reading<Source>) -> Uploaded {
    let mut body = pin!(body);
    loop {
        let frame = match body.frame().await {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Uploaded::SourceFailed(error),
            None => break,
        };
        let sent = match frame.into_data() {
            Ok(data) => send_data(&mut stream, data, body.is_end_stream()).await,
            Err(frame) => {
                let trailers: HeaderMap = frame.into_trailers().unwrap_or_default();
                stream.send_trailers(trailers).map(|()| Sending::Ended)
            }
        };
        match sent {
            Ok(Sending::GoesOn) => {}
            Ok(Sending::Ended) => return Uploaded::All,
            Err(_) => return Uploaded::Reset,
        }
    }
    match stream.send_data(Bytes::new(), true) {
        Ok(()) => Uploaded::All,
        Err(_) => Uploaded::Reset,
    }
}

enum Sending {
    GoesOn,
    Ended,
}

async fn send_data(
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    is_last: bool,
) -> Result<Sending, h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len().min(SEND_BUFFER));
        let capacity = poll_fn(|context| stream.poll_capacity(context))
            .await
            .unwrap_or(Err(h2::Reason::STREAM_CLOSED.into()))?;
        let chunk = data.split_to(capacity.min(data.len()));
        stream.send_data(chunk, is_last && data.is_empty())?;
    }
    Ok(if is_last { Sending::Ended } else { Sending::GoesOn })
}
