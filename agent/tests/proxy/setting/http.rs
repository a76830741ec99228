//! Endpoints that speak HTTP/2, whose streams a test serves frame by frame.

use std::net::SocketAddr;

use h2::{RecvStream, server};
use hyper::{Request, body::Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::timeout,
};

use super::{Endpoint, LONG};

/// A request, and where its response goes.
pub type Stream = (Request<RecvStream>, server::SendResponse<Bytes>);

/// An endpoint that speaks HTTP/2 by prior knowledge.
pub struct Http2Endpoint {
    endpoint: Endpoint,
    pub address: SocketAddr,
}

/// A connection from the proxy.
pub struct Streams(mpsc::UnboundedReceiver<Stream>);

impl Http2Endpoint {
    pub async fn listen() -> Self {
        let endpoint = Endpoint::listen().await;
        let address = endpoint.address;
        Self { endpoint, address }
    }

    /// The next connection.
    pub async fn accept(&self) -> Streams {
        Streams::over(self.endpoint.stream().await).await
    }
}

impl Streams {
    /// The streams of a connection.
    pub async fn over<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> Self {
        let mut connection = server::Builder::new()
            .data_frame_budget(usize::MAX)
            .handshake(stream)
            .await
            .unwrap();
        let (sender, streams) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(stream)) = connection.accept().await {
                if sender.send(stream).is_err() {
                    return;
                }
            }
        });
        Self(streams)
    }

    /// The next request.
    pub async fn next(&mut self) -> Stream {
        timeout(LONG, self.0.recv())
            .await
            .expect("no request")
            .expect("the connection ended")
    }
}
