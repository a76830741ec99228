//! HTTP/1.1 with an endpoint: one request at a time on a connection.

use std::{rc::Rc, time::Duration};

use http::{Request, Response, request};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_local,
    time::Instant,
};
use tracing::debug;

use super::{Attempt, Download, Failure, Pool};
use crate::proxy::{headers, replay::Reading, source::Source, table::Destination};

/// Bytes that a connection reads ahead at most; also the limit of a response's head.
const READ_BUFFER: usize = 64 << 10;

/// How long a connection is kept without a request.
///
/// Servers that close idle connections do so after 5 seconds at the earliest (uvicorn, which serves most models, and
/// Node.js), and a request that crosses the end of its connection can only be sent again if it is safe to repeat.
const IDLE: Duration = Duration::from_secs(4);

type Sender = SendRequest<Reading<Source>>;

/// A connection without a request.
#[derive(Debug)]
pub(super) struct Idle {
    sender: Sender,
    since: Instant,
}

impl Idle {
    /// Whether it is likely to be open.
    pub(super) fn is_fresh(&self) -> bool {
        !self.sender.is_closed() && self.since.elapsed() < IDLE
    }

    /// The connection, if it is likely to be open.
    pub(super) fn sender(self) -> Option<Sender> {
        self.is_fresh().then_some(self.sender)
    }
}

/// A connection that is for one request, and goes back to the pool after its response.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Rc<Pool>,
    destination: Destination,
    sender: Sender,
    was_kept: bool,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Sent {
    Response(Response<Download>),
    /// The connection was closed before anything was sent.
    Nothing(Attempt),
}

/// Starts HTTP/1.1 on a connection.
pub(super) async fn handshake<S>(stream: TokioIo<S>) -> Result<Sender, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = Builder::new()
        .max_buf_size(READ_BUFFER)
        .max_headers(headers::MOST)
        .handshake(stream)
        .await
        .map_err(|source| Failure::Reset {
            source: source.into(),
            was_kept: false,
        })?;
    spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            debug!(%error, "connection to an endpoint ended");
        }
    });
    Ok(sender)
}

impl Failure {
    /// Of a request that was sent.
    fn of_http1(error: hyper::Error, was_kept: bool) -> Self {
        if error.is_parse() {
            Self::Unreadable { source: error }
        } else {
            Self::Reset {
                source: error.into(),
                was_kept,
            }
        }
    }
}

impl Lease {
    /// Of a new connection.
    pub(super) fn new(pool: &Rc<Pool>, destination: Destination, sender: Sender) -> Self {
        Self {
            pool: Rc::clone(pool),
            destination,
            sender,
            was_kept: false,
        }
    }

    /// Of one that served requests before.
    pub(super) fn kept(pool: &Rc<Pool>, destination: Destination, sender: Sender) -> Self {
        Self {
            was_kept: true,
            ..Self::new(pool, destination, sender)
        }
    }

    /// Sends a request and resolves with the head of its response.
    pub(super) async fn send(
        mut self,
        mut head: request::Parts,
        body: Reading<Source>,
    ) -> Result<Sent, Failure> {
        headers::for_http1(&mut head);
        let sent = self
            .sender
            .try_send_request(Request::from_parts(head, body))
            .await;
        match sent {
            Ok(response) => {
                let (head, body) = response.into_parts();
                Ok(Sent::Response(Response::from_parts(
                    head,
                    Download::http1(body, self),
                )))
            }
            Err(mut error) => match error.take_message() {
                Some(request) if self.was_kept => Ok(Sent::Nothing(request.into_parts())),
                _ => Err(Failure::of_http1(error.into_error(), self.was_kept)),
            },
        }
    }

    /// Gives the connection back to the pool, now that the response has ended.
    pub(super) fn end(mut self) {
        if self.sender.is_ready() {
            self.keep();
        } else if !self.sender.is_closed() {
            // The request has not ended yet.
            spawn_local(async move {
                if self.sender.ready().await.is_ok() {
                    self.keep();
                }
            });
        }
    }

    fn keep(self) {
        let idle = Idle {
            sender: self.sender,
            since: Instant::now(),
        };
        self.pool
            .http1
            .borrow_mut()
            .entry(self.destination)
            .or_default()
            .push(idle);
    }
}
