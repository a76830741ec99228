//! An HTTP server that answers with its name.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

/// Answers `/slow` with half of its name, and with the rest when it is let; everything else at once.
pub struct Backend {
    pub address: SocketAddr,
    rest: Arc<Notify>,
    serving: JoinHandle<()>,
}

impl Backend {
    pub async fn start(name: &'static str) -> Self {
        Self::start_on(name, (Ipv4Addr::LOCALHOST, 0).into()).await
    }

    pub async fn start_on(name: &'static str, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let rest = Arc::new(Notify::new());
        let let_go = Arc::clone(&rest);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, name, Arc::clone(&let_go)));
            }
        });
        Self {
            address,
            rest,
            serving,
        }
    }

    /// Lets slow answers end.
    pub fn finish(&self) {
        self.rest.notify_one();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(stream: TcpStream, name: &str, rest: Arc<Notify>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            if stream.read_line(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let (first, second) = name.split_at(name.len() / 2);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", name.len());
        stream.write_all(format!("{head}{first}").as_bytes()).await?;
        if request.starts_with("GET /slow ") {
            stream.flush().await?;
            // Whoever waits for longer has a test that fails.
            let _ = tokio::time::timeout(Duration::from_mins(1), rest.notified()).await;
        }
        stream.write_all(second.as_bytes()).await?;
    }
}
