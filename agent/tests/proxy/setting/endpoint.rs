//! Endpoints whose connections a test serves byte by byte.

use std::net::SocketAddr;

use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{
    LONG,
    client::{Head, Wire},
};

/// A connection from the proxy.
pub type Connection = Wire<TcpStream>;

/// An endpoint that does what a test does.
pub struct Endpoint {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Endpoint {
    pub async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// The next connection.
    pub async fn accept(&self) -> Connection {
        Wire::new(self.stream().await)
    }

    /// The next connection and the head of its first request.
    pub async fn request(&self) -> (Connection, Head) {
        let mut connection = self.accept().await;
        let head = connection.head().await;
        (connection, head)
    }

    /// The next connection, before anything is said.
    pub async fn stream(&self) -> TcpStream {
        timeout(LONG, self.listener.accept())
            .await
            .expect("nobody connects")
            .unwrap()
            .0
    }
}
