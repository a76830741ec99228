//! One call of a picker: messages over an HTTP/2 stream.

use std::{
    cell::Cell,
    future::{Future as _, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::ResponseFuture};
use http::{HeaderMap, StatusCode};
use tokio::{task::spawn_local, time::timeout};

use super::{
    frame::{self, Decoder},
    message::{ProcessingRequest, ProcessingResponse},
};

/// How long a picker may take to end a call that is over.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a call ended before it was over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the call was broken off")]
    Stream { source: h2::Error },
    #[error("the picker answers with HTTP status {0}")]
    Http(StatusCode),
    #[error("the picker ended the call with gRPC status {code}: {message}")]
    Grpc { code: String, message: String },
    #[error("the picker ended the call without a status")]
    NoStatus,
    #[error("the picker sent what is no message")]
    Frame { source: frame::Error },
}

impl Error {
    /// Whether the call broke on its way, rather than that the picker refused it.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        const UNAVAILABLE: &str = "14";
        match self {
            Self::Stream { .. } | Self::NoStatus => true,
            Self::Grpc { code, .. } => code == UNAVAILABLE,
            Self::Http(_) | Self::Frame { .. } => false,
        }
    }
}

/// A call in progress. Dropping it cancels it.
#[derive(Debug)]
pub struct Call {
    sending: SendStream<Bytes>,
    is_sent: bool,
    receiving: Receiving,
    decoder: Decoder,
    _in_flight: InFlight,
}

#[derive(Debug)]
enum Receiving {
    Headers(ResponseFuture),
    Body(RecvStream),
    Ended,
}

impl Call {
    /// A call whose request was sent.
    #[must_use]
    pub fn new(response: ResponseFuture, sending: SendStream<Bytes>, in_flight: InFlight) -> Self {
        Self {
            sending,
            is_sent: false,
            receiving: Receiving::Headers(response),
            decoder: Decoder::default(),
            _in_flight: in_flight,
        }
    }

    /// Sends a message, and says whether it is the last. A picker that no longer listens says so by itself.
    pub fn send(&mut self, message: &ProcessingRequest, is_last: bool) {
        self.is_sent |= is_last;
        let _ = self.sending.send_data(frame::encode(message), is_last);
    }

    /// Says that nothing more will come.
    pub fn end(&mut self) {
        if !self.is_sent {
            self.is_sent = true;
            let _ = self.sending.send_data(Bytes::new(), true);
        }
    }

    /// Ready when the picker takes what was sent so far, and ready for ever when it takes nothing more.
    pub fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_sent {
            return Poll::Ready(());
        }
        self.sending.reserve_capacity(1);
        while self.sending.capacity() == 0 {
            match ready!(self.sending.poll_capacity(context)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
        Poll::Ready(())
    }

    /// The picker's next message; none when it has ended the call in good order.
    pub fn poll_message(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<ProcessingResponse>, Error>> {
        loop {
            let message = self
                .decoder
                .take_message()
                .map_err(|source| Error::Frame { source })?;
            if message.is_some() {
                return Poll::Ready(Ok(message));
            }
            match &mut self.receiving {
                Receiving::Headers(response) => {
                    let response = ready!(Pin::new(response).poll(context));
                    let (head, body) = response.map_err(|source| Error::Stream { source })?.into_parts();
                    if head.status != StatusCode::OK {
                        return Poll::Ready(Err(Error::Http(head.status)));
                    }
                    if head.headers.contains_key("grpc-status") {
                        self.receiving = Receiving::Ended;
                        verify(&head.headers)?;
                    } else {
                        self.receiving = Receiving::Body(body);
                    }
                }
                Receiving::Body(body) => {
                    if let Some(bytes) = ready!(body.poll_data(context)) {
                        let bytes = bytes.map_err(|source| Error::Stream { source })?;
                        // The stream is over if this fails, which the next poll says.
                        let _ = body.flow_control().release_capacity(bytes.len());
                        self.decoder.push(bytes);
                    } else {
                        let trailers = ready!(body.poll_trailers(context));
                        let trailers = trailers.map_err(|source| Error::Stream { source })?;
                        self.receiving = Receiving::Ended;
                        verify(&trailers.ok_or(Error::NoStatus)?)?;
                    }
                }
                Receiving::Ended => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// Lets the picker end a call that is over, in the background.
    ///
    /// A stream that is dropped earlier is reset, and what the picker still sends counts as a fault of the connection:
    /// after some thousand of them it is closed with all its calls.
    pub fn finish(mut self) {
        self.end();
        if matches!(self.receiving, Receiving::Ended) {
            return;
        }
        spawn_local(timeout(DRAIN_TIMEOUT, async move {
            while let Ok(Some(_)) = poll_fn(|context| self.poll_message(context)).await {}
        }));
    }
}

/// Takes the end of a call for a good one if its status is.
fn verify(trailers: &HeaderMap) -> Result<(), Error> {
    let text = |name| {
        let value = trailers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        value.unwrap_or_default().into_owned()
    };
    match text("grpc-status").as_str() {
        "0" => Ok(()),
        "" => Err(Error::NoStatus),
        code => Err(Error::Grpc {
            code: code.to_owned(),
            message: text("grpc-message"),
        }),
    }
}

/// Counts a call of a connection until it is dropped.
#[derive(Debug)]
pub struct InFlight(Rc<Cell<usize>>);

impl InFlight {
    /// One more.
    #[must_use]
    pub fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
