//! A response's body, as it comes from an endpoint.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use tokio_util::task::AbortOnDropHandle;

use super::{http1, http2, http2::Uploaded};
use crate::proxy::{BoxError, chunk::compact};

/// A response's body. Dropping it before its end ends the exchange with the endpoint at once.
#[derive(Debug)]
pub struct Download(Inner);

#[derive(Debug)]
enum Inner {
    Http1 {
        body: Incoming,
        /// Until the end.
        lease: Option<http1::Lease>,
    },
    Http2 {
        stream: h2::RecvStream,
        _slot: http2::Slot,
        /// The rest of the request, when the response came before its end.
        _upload: Option<AbortOnDropHandle<Uploaded>>,
    },
}

impl Download {
    pub(super) fn http1(body: Incoming, lease: http1::Lease) -> Self {
        let mut download = Self(Inner::Http1 {
            body,
            lease: Some(lease),
        });
        download.end_if_over();
        download
    }

    pub(super) fn http2(
        stream: h2::RecvStream,
        slot: http2::Slot,
        upload: Option<AbortOnDropHandle<Uploaded>>,
    ) -> Self {
        Self(Inner::Http2 {
            stream,
            _slot: slot,
            _upload: upload,
        })
    }

    fn end_if_over(&mut self) {
        if let Inner::Http1 { body, lease } = &mut self.0
            && body.is_end_stream()
            && let Some(lease) = lease.take()
        {
            lease.end();
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Inner::Http1 { body, lease } => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                match &frame {
                    None => {
                        if let Some(lease) = lease.take() {
                            lease.end();
                        }
                    }
                    Some(Ok(_)) => self.end_if_over(),
                    Some(Err(_)) => {}
                }
                let frame = frame.map(|frame| frame.map(|frame| frame.map_data(compact)));
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Inner::Http2 { stream, .. } => poll_stream(stream, context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Http1 { body, .. } => body.is_end_stream(),
            Inner::Http2 { stream, .. } => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Http1 { body, .. } => body.size_hint(),
            // The header says it, where it is known.
            Inner::Http2 { .. } => SizeHint::default(),
        }
    }
}

fn poll_stream(
    stream: &mut h2::RecvStream,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    match ready!(stream.poll_data(context)) {
        Some(Ok(data)) => {
            // The next bytes may come when these are on their way.
            let _ = stream.flow_control().release_capacity(data.len());
            Poll::Ready(Some(Ok(Frame::data(data))))
        }
        // All of the response came, and the endpoint wants no more of the request, see
        // <https://www.rfc-editor.org/rfc/rfc9113#section-8.1>.
        Some(Err(error)) if error.reason() == Some(h2::Reason::NO_ERROR) => Poll::Ready(None),
        Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
        None => match ready!(stream.poll_trailers(context)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        },
    }
}
