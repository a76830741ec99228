//! The body of a request, as NGINX sends it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use tokio::task::spawn_local;

use super::chunk::compact;

/// A body that is read to its end whatever becomes of the request.
///
/// What is left when it is dropped is read and thrown away until NGINX, which has the response, sends no more. A
/// connection whose request was not read to its end would have to be closed, and NGINX may have put another request on
/// it by then; nor would a response be read that is followed by a reset.
#[derive(Debug)]
pub struct ClientBody {
    /// None when all was read.
    rest: Option<Incoming>,
}

impl ClientBody {
    /// A body of which nothing was read yet.
    #[must_use]
    pub fn new(body: Incoming) -> Self {
        Self { rest: Some(body) }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(rest).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.rest = None;
        }
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(compact))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref();
        rest.map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take().filter(|rest| !rest.is_end_stream()) {
            spawn_local(drain(rest));
        }
    }
}

async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}
