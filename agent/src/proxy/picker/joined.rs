//! A body whose chunks come together: each that a picker is shown costs a message there and one back.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::yield_now;

use super::message::LONGEST_CHUNK;
use crate::proxy::{BoxError, chunk::weight};

/// A body whose chunks are joined with those that are on their way, until they fill a message.
///
/// NGINX passes on what it has read of a client in pieces of 16 KiB, and hyper hands out one for each turn of the
/// connection. What has come therefore waits until the connection was looked at once more in vain: some microseconds.
pub(super) struct Joined<B> {
    body: B,
    pieces: Vec<Bytes>,
    /// What the pieces take.
    weight: usize,
    /// The wait for one more.
    turn: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// What came after the pieces: trailers, or why there is nothing more.
    after: Option<Result<Frame<Bytes>, BoxError>>,
    is_ended: bool,
}

impl<B> Joined<B> {
    /// A body of which nothing was read yet.
    pub(super) fn new(body: B) -> Self {
        Self {
            body,
            pieces: Vec::new(),
            weight: 0,
            turn: None,
            after: None,
            is_ended: false,
        }
    }

    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.weight += weight(&piece);
            self.pieces.push(piece);
            self.turn = None;
        }
    }

    /// All pieces.
    fn join(&mut self) -> Bytes {
        self.weight = 0;
        match <[Bytes; 1]>::try_from(mem::take(&mut self.pieces)) {
            Ok([piece]) => piece,
            Err(pieces) => pieces.concat().into(),
        }
    }
}

impl<B> Body for Joined<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        while this.weight < LONGEST_CHUNK && this.after.is_none() && !this.is_ended {
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) => this.push(piece),
                    Err(frame) => this.after = Some(Ok(frame)),
                },
                Poll::Ready(Some(Err(error))) => this.after = Some(Err(error.into())),
                Poll::Ready(None) => this.is_ended = true,
                Poll::Pending if this.pieces.is_empty() => return Poll::Pending,
                Poll::Pending => {
                    let turn = this.turn.get_or_insert_with(|| Box::pin(turn()));
                    ready!(turn.as_mut().poll(context));
                    break;
                }
            }
            this.is_ended |= this.body.is_end_stream();
        }
        if this.pieces.is_empty() {
            Poll::Ready(this.after.take())
        } else {
            this.turn = None;
            Poll::Ready(Some(Ok(Frame::data(this.join()))))
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.after.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: fmt::Debug> fmt::Debug for Joined<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Joined")
            .field("body", &self.body)
            .field("weight", &self.weight)
            .finish_non_exhaustive()
    }
}

/// Resolves when the thread has looked for what has come on its connections, and has run those where something has.
pub(super) async fn turn() {
    // The first is over as soon as the connection asks for more, before anything was looked for.
    yield_now().await;
    yield_now().await;
}

#[cfg(test)]
mod tests {
    use futures::stream::{self, StreamExt as _};
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    type Piece = Result<&'static str, &'static str>;

    /// A body of pieces, of which nothing more comes and that does not end either.
    fn unended(pieces: &'static [Piece]) -> Joined<impl Body<Data = Bytes, Error = &'static str> + Unpin> {
        let frames = pieces
            .iter()
            .map(|piece| piece.map(|piece| Frame::data(Bytes::from_static(piece.as_bytes()))));
        Joined::new(StreamBody::new(stream::iter(frames).chain(stream::pending())))
    }

    async fn next<B: Body<Data = Bytes> + Unpin>(body: &mut Joined<B>) -> Result<Bytes, String>
    where
        B::Error: Into<BoxError>,
    {
        let frame = body.frame().await.expect("the body has not ended");
        frame
            .map(|frame| frame.into_data().expect("data"))
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn what_has_come_goes_on_together_though_more_is_to_come() {
        let mut body = unended(&[Ok("one "), Ok(""), Ok("two "), Ok("three")]);
        assert_eq!(next(&mut body).await.unwrap(), "one two three");
    }

    #[tokio::test]
    async fn what_came_before_an_error_is_not_lost() {
        let mut body = unended(&[Ok("one "), Ok("two"), Err("broken")]);
        assert_eq!(next(&mut body).await.unwrap(), "one two");
        assert_eq!(next(&mut body).await.unwrap_err(), "broken");
    }

    #[tokio::test]
    async fn a_message_that_is_full_does_not_wait() {
        let piece = || Ok::<_, BoxError>(Frame::data(Bytes::from(vec![7; LONGEST_CHUNK])));
        let mut body = Joined::new(StreamBody::new(stream::iter([piece(), piece()])));
        assert_eq!(next(&mut body).await.unwrap().len(), LONGEST_CHUNK);
        assert_eq!(next(&mut body).await.unwrap().len(), LONGEST_CHUNK);
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn the_last_piece_is_known_to_be_the_last() {
        let mut body = Joined::new(http_body_util::Full::new(Bytes::from_static(b"one")));
        assert!(!body.is_end_stream());
        assert_eq!(next(&mut body).await.unwrap(), "one");
        assert!(body.is_end_stream());
    }
}
