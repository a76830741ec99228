//! A request's body, of which we hold what was read.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::{joined::Joined, message::LONGEST_CHUNK};
use crate::proxy::{BoxError, chunk::Room};

/// Why a body cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("the request's body is too long")]
    TooLong,
    #[error("cannot read the request's body")]
    Source { source: BoxError },
}

/// The beginning of a body, or all of it, and what comes then.
#[derive(Debug)]
pub struct Held<B> {
    /// Not empty and at most [`LONGEST_CHUNK`] long while they are read; taken from the front by the next reader.
    chunks: Vec<Bytes>,
    /// Chunks that the next reader has taken.
    taken: usize,
    /// Bytes of the chunks that it has not.
    length: usize,
    trailers: Option<HeaderMap>,
    /// For more chunks.
    room: Room,
    /// What was not read yet; none when all was.
    rest: Option<Joined<B>>,
}

impl<B> Held<B> {
    /// A body that has been read.
    #[must_use]
    pub fn whole(chunks: Vec<Bytes>, trailers: Option<HeaderMap>) -> Self {
        Self {
            length: chunks.iter().map(Bytes::len).sum(),
            chunks,
            taken: 0,
            trailers,
            room: Room::new(0),
            rest: None,
        }
    }

    /// What was read.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// Bytes of what was read.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Whether all was read.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        self.rest.is_none()
    }

    /// Whether trailers were read.
    #[must_use]
    pub const fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    /// The trailers, if they were read.
    pub const fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }
}

impl<B: Body<Data = Bytes> + Unpin> Held<B>
where
    B::Error: Into<BoxError>,
{
    /// A body of which nothing was read yet, and of which some bytes may be held.
    #[must_use]
    pub fn new(body: B, most: usize) -> Self {
        Self {
            chunks: Vec::new(),
            taken: 0,
            length: 0,
            trailers: None,
            room: Room::new(most),
            rest: Some(Joined::new(body))
                .filter(|body| !body.is_end_stream() && body.size_hint().exact() != Some(0)),
        }
    }

    /// Whether it is known if anything comes, before it was read.
    #[must_use]
    pub fn is_length_known(&self) -> bool {
        self.rest
            .as_ref()
            .is_none_or(|rest| rest.size_hint().exact().is_some())
    }

    /// Reads what comes next, unless more would be held than may be.
    pub fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Unreadable>> {
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(Ok(()));
        };
        let frame = ready!(Pin::new(&mut *rest).poll_frame(context)).transpose();
        let frame = frame.map_err(|source| Unreadable::Source { source })?;
        let is_last = frame.as_ref().is_none_or(Frame::is_trailers) || rest.is_end_stream();
        match frame.map(Frame::into_data) {
            Some(Ok(mut data)) => {
                self.length += data.len();
                while !data.is_empty() {
                    let chunk = data.split_to(data.len().min(LONGEST_CHUNK));
                    self.room = self.room.beside(chunk.len()).ok_or(Unreadable::TooLong)?;
                    self.chunks.push(chunk);
                }
            }
            Some(Err(frame)) => self.trailers = frame.into_trailers().ok(),
            None => {}
        }
        if is_last {
            self.rest = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Held<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(chunk) = this.chunks.get_mut(this.taken) {
            let chunk = mem::take(chunk);
            this.taken += 1;
            this.length -= chunk.len();
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match &mut this.rest {
            Some(rest) => Pin::new(rest).poll_frame(context),
            None => Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_taken = self.taken == self.chunks.len() && self.trailers.is_none();
        is_taken && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.length as u64;
        let rest = self
            .rest
            .as_ref()
            .map_or(SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(held));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::poll_fn};

    use futures::stream::{self, StreamExt as _};
    use http_body_util::StreamBody;
    use tokio::task::yield_now;

    use super::*;

    /// What comes of reading a body of that many bytes that come one by one, of which so many may be held.
    async fn read(bytes: usize, most: usize) -> Result<usize, Unreadable> {
        let frames = stream::iter(0..bytes).then(|_| async {
            // Later than what waits for it does.
            for _ in 0..4 {
                yield_now().await;
            }
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"a")))
        });
        let mut held = Held::new(StreamBody::new(Box::pin(frames)), most);
        while !held.is_read() {
            poll_fn(|context| held.poll_read(context)).await?;
        }
        Ok(held.length())
    }

    #[tokio::test]
    async fn what_is_held_of_a_body_that_comes_byte_by_byte_is_bounded() {
        assert!(matches!(read(1000, 64_000).await, Ok(1000)));
        assert!(matches!(read(1002, 64_000).await, Err(Unreadable::TooLong)));
    }
}
