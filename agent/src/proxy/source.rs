//! Where a request's body comes from.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use hyper::body::Bytes;

use super::{BoxError, client_body::ClientBody, picker::held::Held};

/// The body that endpoints get.
#[derive(Debug)]
pub enum Source {
    /// The client's own.
    Client(ClientBody),
    /// What a picker has seen of it or made of it.
    Held(Box<Held<ClientBody>>),
}

impl Source {
    /// What a picker has seen of a body or made of it.
    #[must_use]
    pub fn held(body: Held<ClientBody>) -> Self {
        Self::Held(Box::new(body))
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Client(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Held(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Client(body) => body.is_end_stream(),
            Self::Held(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Client(body) => body.size_hint(),
            Self::Held(body) => body.size_hint(),
        }
    }
}
