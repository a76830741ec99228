//! A connection to the proxy's control socket.

use std::{io, time::Duration};

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use proto::fleet;
use rustix::process::Pid;
use tokio::{net::UnixStream, task::JoinHandle, time::timeout};

use crate::prefix::Prefix;

/// How long the proxy may take to answer; it gives each of its threads a second.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long it may take to put data into effect: certificates and thousands of endpoints are read first.
const DATA_PATIENCE: Duration = Duration::from_secs(10);

/// Why the proxy has not done what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to the proxy")]
    Connect(#[source] io::Error),
    #[error("cannot talk to the proxy")]
    Http(#[from] hyper::Error),
    #[error("the proxy does not answer within {} seconds", .0.as_secs())]
    Timeout(Duration),
    #[error("the proxy answers with something else")]
    Answer(#[from] prost::DecodeError),
    #[error("the proxy answers with {status}: {text}")]
    Status { status: StatusCode, text: String },
}

/// A connection, which lives no longer than the proxy at its other end.
#[derive(Debug)]
pub struct Control {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
    pid: Option<Pid>,
}

impl Control {
    /// Connects to the proxy that runs from a folder; fine for one that hangs, as the kernel does it.
    pub async fn connect(prefix: &Prefix) -> Result<Self, Error> {
        let stream = UnixStream::connect(prefix.proxy_control())
            .await
            .map_err(Error::Connect)?;
        let pid = stream
            .peer_cred()
            .map_err(Error::Connect)?
            .pid()
            .and_then(Pid::from_raw);
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(async move {
            // Whoever waits for an answer hears of it.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            connection,
            pid,
        })
    }

    /// The proxy that listens: it cannot have become another process while the connection is open.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        self.pid
    }

    /// Has all threads go by some data from now on.
    pub async fn put_data(&mut self, data: &fleet::Data) -> Result<(), Error> {
        let body = Bytes::from(data.encode_to_vec());
        self.ask(Method::PUT, "/data", body, DATA_PATIENCE).await?;
        Ok(())
    }

    /// Fine when all threads answer.
    pub async fn healthz(&mut self) -> Result<(), Error> {
        self.ask(Method::GET, "/healthz", Bytes::new(), PATIENCE).await?;
        Ok(())
    }

    /// The pickers that the proxy does not speak with because of their TLS, in order.
    pub async fn picker_refusals(&mut self) -> Result<Vec<fleet::PickerRefusal>, Error> {
        let body = self
            .ask(Method::GET, "/picker-refusals", Bytes::new(), PATIENCE)
            .await?;
        Ok(fleet::PickerRefusals::decode(body)?.refusals)
    }

    /// What the proxy counts, in the text format of `OpenMetrics`.
    pub async fn metrics(&mut self) -> Result<String, Error> {
        let text = self.ask(Method::GET, "/metrics", Bytes::new(), PATIENCE).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Resolves when the proxy has closed the connection or died.
    pub async fn ended(&mut self) {
        // An error could only come from a runtime that is shutting down.
        let _ = (&mut self.connection).await;
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &'static str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Bytes, Error> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("a path of ours is a URI");
        request
            .headers_mut()
            .insert(http::header::HOST, http::HeaderValue::from_static("proxy"));
        let answer = async {
            let response = self.sender.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            if status.is_success() {
                Ok(body)
            } else {
                let text = String::from_utf8_lossy(&body).into_owned();
                Err(Error::Status { status, text })
            }
        };
        timeout(patience, answer)
            .await
            .map_err(|_| Error::Timeout(patience))?
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
