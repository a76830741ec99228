//! Writes of an HTTP/2 connection, gathered: h2 writes every frame by itself, and each write of a few bytes costs as
//! much as one of many. What is written while the connection is polled is sent when that has come to its end.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are gathered at most: some more than a message of a picker has.
const MOST: usize = 128 << 10;

/// A stream whose writes wait until they are sent, by [`Gathered::drive`].
#[derive(Debug)]
pub(super) struct Gathered<S>(Rc<RefCell<Shared<S>>>);

#[derive(Debug)]
struct Shared<S> {
    stream: S,
    written: BytesMut,
    /// Why the last attempt to send failed, until the connection is told.
    failure: Option<io::Error>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gathered<S> {
    /// A stream on which nothing was written yet.
    pub(super) fn new(stream: S) -> Self {
        Self(Rc::new(RefCell::new(Shared {
            stream,
            written: BytesMut::new(),
            failure: None,
        })))
    }

    /// The same stream, to send what is written on this one.
    pub(super) fn sender(&self) -> Self {
        Self(Rc::clone(&self.0))
    }

    /// Runs the connection that has the stream, and sends what it writes.
    pub(super) async fn drive<C: Future>(self, connection: C) -> C::Output {
        let mut connection = pin!(connection);
        poll_fn(|context| {
            let ended = connection.as_mut().poll(context);
            let shared = &mut *self.0.borrow_mut();
            if let Poll::Ready(Err(error)) = shared.poll_send(context) {
                shared.failure = Some(error);
                context.waker().wake_by_ref();
            }
            ended
        })
        .await
    }
}

impl<S: AsyncWrite + Unpin> Shared<S> {
    /// Sends all that was written.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.written.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, &self.written))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written.advance(sent);
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Ready when more may be written.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Err(error));
        }
        if self.written.len() < MOST {
            return Poll::Ready(Ok(()));
        }
        self.poll_send(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let shared = &mut *self.0.borrow_mut();
        if let Some(error) = shared.failure.take() {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut shared.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let shared = &mut *self.0.borrow_mut();
        ready!(shared.poll_room(context))?;
        let before = shared.written.len();
        for slice in slices {
            shared.written.extend_from_slice(slice);
        }
        Poll::Ready(Ok(shared.written.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Done by [`Gathered::drive`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shared = &mut *self.0.borrow_mut();
        ready!(shared.poll_send(context))?;
        Pin::new(&mut shared.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    /// Writes chunks as h2 does frames, and then waits for ever.
    async fn write(mut stream: Gathered<DuplexStream>, chunks: usize) -> io::Result<()> {
        for _ in 0..chunks {
            stream.write_all(&[b'x'; 1000]).await?;
            stream.flush().await?;
        }
        std::future::pending().await
    }

    #[tokio::test]
    async fn what_is_written_in_one_turn_is_sent_at_once() {
        let (ours, mut theirs) = duplex(1 << 20);
        let stream = Gathered::new(ours);
        let driven = stream.sender().drive(write(stream, 50));
        let read = async {
            let mut buffer = vec![0; 1 << 20];
            theirs.read(&mut buffer).await
        };
        tokio::select! {
            biased;
            ended = driven => panic!("{ended:?}"),
            read = read => assert_eq!(read.unwrap(), 50_000),
        }
    }

    #[tokio::test]
    async fn all_is_sent_though_the_peer_takes_little_at_a_time() {
        let (ours, mut theirs) = duplex(100);
        let stream = Gathered::new(ours);
        let driven = stream.sender().drive(write(stream, 500));
        let mut all = vec![0; 500_000];
        tokio::select! {
            ended = driven => panic!("{ended:?}"),
            read = theirs.read_exact(&mut all) => assert_eq!(read.unwrap(), all.len()),
        }
    }

    #[tokio::test]
    async fn connection_is_told_that_the_peer_takes_nothing_more() {
        let (ours, theirs) = duplex(100);
        let stream = Gathered::new(ours);
        drop(theirs);
        let driven = stream.sender().drive(async {
            let mut stream = stream;
            stream.write_all(b"x").await?;
            stream.read_u8().await
        });
        driven.await.unwrap_err();
    }
}
