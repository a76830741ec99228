//! One side of a connection in HTTP/1.1, byte by byte.

use std::fmt;

use http_body_util::BodyExt as _;
use hyper::{Response, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

use super::LONG;

/// A connection of which a test reads and writes the bytes.
pub struct Wire<S> {
    stream: S,
    /// What was read and not taken.
    read: Vec<u8>,
}

/// A connection as NGINX has it with the proxy.
pub type Client = Wire<UnixStream>;

/// The head of a message.
#[derive(Clone, PartialEq, Eq)]
pub struct Head(String);

impl Head {
    /// The first line.
    pub fn first(&self) -> &str {
        self.0.lines().next().unwrap()
    }

    /// The status of a response.
    pub fn status(&self) -> u16 {
        self.first().split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let headers = self.0.lines().skip(1).filter_map(|line| line.split_once(": "));
        headers
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The value of a header that is there at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there twice: {self:?}");
        all.first().copied()
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends bytes until the peer reads no more; whether it took all of them.
    pub async fn can_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Sends a request without a body to the leg.
    pub async fn get(&mut self, path: &str) {
        let head = format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\nx-flotilla-leg: leg\r\n\r\n");
        self.send(head).await;
    }

    /// Sends a request with a body to the leg.
    pub async fn post(&mut self, body: &str) {
        let length = body.len();
        let head = "POST / HTTP/1.1\r\nhost: shop.example\r\nx-flotilla-leg: leg\r\n";
        self.send(format!("{head}content-length: {length}\r\n\r\n{body}"))
            .await;
    }

    /// Responds with a text.
    pub async fn respond(&mut self, status: &str, text: &str) {
        let length = text.len();
        self.send(format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{text}"
        ))
        .await;
    }

    /// Whether something comes before the connection ends.
    pub async fn is_open(&mut self) -> bool {
        !self.read.is_empty() || self.more().await
    }

    /// The next head.
    pub async fn head(&mut self) -> Head {
        let bytes = self.until(b"\r\n\r\n").await;
        Head(String::from_utf8(bytes).unwrap())
    }

    /// The next response, whose body has a length.
    pub async fn response(&mut self) -> (Head, Vec<u8>) {
        let head = self.head().await;
        let length = head
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let body = self.exactly(length).await;
        (head, body)
    }

    /// The next chunk of a chunked body; empty at its end, before trailers and the last line break.
    pub async fn chunk(&mut self) -> Vec<u8> {
        let size = self.until(b"\r\n").await;
        let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap().trim(), 16).unwrap();
        let chunk = self.exactly(size).await;
        if size > 0 {
            self.until(b"\r\n").await;
        }
        chunk
    }

    /// The bytes up to some others, with those.
    pub async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end) {
                let rest = self.read.split_off(at + end.len());
                return std::mem::replace(&mut self.read, rest);
            }
            let read = String::from_utf8_lossy(&self.read).into_owned();
            assert!(self.more().await, "the connection ended after {read:?}");
        }
    }

    /// So many bytes.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            assert!(
                self.more().await,
                "the connection ended after {} bytes",
                self.read.len()
            );
        }
        let rest = self.read.split_off(length);
        std::mem::replace(&mut self.read, rest)
    }

    /// What comes before the connection ends.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }

    /// Whether more came before the end.
    async fn more(&mut self) -> bool {
        let read = timeout(LONG, self.stream.read_buf(&mut self.read));
        // A connection that is reset has ended as well.
        read.await.expect("nothing comes").unwrap_or(0) > 0
    }
}

impl Client {
    /// Speaks HTTP/2 from now on, stream by stream.
    pub async fn streams(self) -> h2::client::SendRequest<bytes::Bytes> {
        let (sender, connection) = h2::client::Builder::new()
            .data_frame_budget(usize::MAX)
            .handshake(self.stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Speaks HTTP/2 from now on.
    pub async fn http2<B>(self) -> http2::SendRequest<B>
    where
        B: hyper::body::Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let io = TokioIo::new(self.stream);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

/// The body of a response, with its trailers.
pub async fn collect(response: Response<hyper::body::Incoming>) -> (String, Option<hyper::HeaderMap>) {
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    (
        String::from_utf8(collected.to_bytes().to_vec()).unwrap(),
        trailers,
    )
}
