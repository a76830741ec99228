//! Connections from NGINX in HTTP/1.1, by unix sockets.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd as _, OwnedFd},
    pin::Pin,
    task::{Context, Poll},
};

use rustix::{
    io::{Errno, writev},
    net::{Shutdown, shutdown},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        UnixStream,
        unix::pipe::{Receiver, Sender},
    },
};

/// A connection that is woken for what comes, and for room only while there is none.
///
/// A unix socket tells of room each time that its peer has read something, however much there was before. Tokio's
/// streams of sockets want to hear of it always, and would be woken after every response in vain; its ends of pipes are
/// for one direction each, and read and write whatever descriptor they have.
#[derive(Debug)]
pub(super) struct NginxStream {
    reading: Receiver,
    /// Another descriptor of the same connection, while a write waits for room.
    writing: Option<Sender>,
}

impl NginxStream {
    /// A connection of which nothing was read yet.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        let descriptor = OwnedFd::from(stream.into_std()?);
        Ok(Self {
            reading: Receiver::from_owned_fd_unchecked(descriptor)?,
            writing: None,
        })
    }
}

impl AsyncRead for NginxStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reading).poll_read(context, buffer)
    }
}

impl AsyncWrite for NginxStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match writev(&self.reading, slices) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            written => {
                self.writing = None;
                return Poll::Ready(Ok(written?));
            }
        }
        let this = &mut *self;
        let writing = match &mut this.writing {
            Some(writing) => writing,
            none => {
                let descriptor = this.reading.as_fd().try_clone_to_owned()?;
                none.insert(Sender::from_owned_fd_unchecked(descriptor)?)
            }
        };
        Pin::new(writing).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(shutdown(&self.reading, Shutdown::Write)?))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn more_than_there_is_room_for_arrives() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut stream = NginxStream::new(ours).unwrap();
        let sent: Vec<u8> = (0..2_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
        let mut received = Vec::new();
        let write = async {
            stream.write_all(&sent).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let ((), read) = tokio::join!(write, theirs.read_to_end(&mut received));
        read.unwrap();
        assert_eq!(received, sent);
    }

    #[tokio::test]
    async fn room_is_not_asked_for_where_there_is_some() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut stream = NginxStream::new(ours).unwrap();
        theirs.write_all(b"question").await.unwrap();
        let mut question = [0; 8];
        stream.read_exact(&mut question).await.unwrap();
        assert_eq!(question, *b"question");
        stream.write_all(b"answer").await.unwrap();
        assert!(stream.writing.is_none());
        let mut answer = [0; 6];
        theirs.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, *b"answer");
    }
}
