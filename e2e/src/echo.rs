//! A backend that tells what it was asked.
//!
//! It answers every request with a JSON object ([`Seen`]), unless the request wants something else:
//!
//! | request                              | answer                                             |
//! | ------------------------------------ | -------------------------------------------------- |
//! | `/status/NNN`                        | that status                                        |
//! | `?delay=100ms`                       | as otherwise, that much later                      |
//! | `?stream=N`                          | N server-sent events, one each 100 ms              |
//! | `?stream=N&each=2000ms`              | N server-sent events, one each 2 seconds           |
//! | `?back=yes`                          | the request's body, as it came                     |
//! | header `X-Echo-Set-Header: name:value` | as otherwise, with this response header          |
//! | WebSocket upgrade                    | every message comes back                           |
//!
//! HTTP/1.1 and HTTP/2 with prior knowledge; over TLS, both by ALPN.

mod answer;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use hyper::{
    HeaderMap, Request, Version,
    body::Incoming,
    header::{HOST, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use self::answer::answer;
use crate::certificates::{Authority, Certificate};

/// A request as the backend saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The name of the backend that answered.
    pub backend: String,
    /// The method.
    pub method: String,
    /// The request target, as it came: path and query.
    pub path: String,
    /// The host it was asked for.
    pub host: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub proto: String,
    /// All headers in order, names in lower case; one pair per line.
    pub headers: Vec<(String, String)>,
    /// The length of the body in bytes.
    pub body: usize,
}

/// A running backend; it stops when this value is dropped.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    listener: AbortHandle,
}

impl Echo {
    /// Starts a backend of this name at an address; port 0 takes any free one.
    pub async fn start(name: &str, address: SocketAddr) -> Result<Self> {
        Self::serve(name, address, None).await
    }

    /// Starts a backend that speaks TLS.
    pub async fn start_tls(name: &str, address: SocketAddr, certificate: &Certificate) -> Result<Self> {
        Self::start_tls_with(name, address, certificate, Arc::new(NoClientAuth)).await
    }

    /// Starts a backend that speaks TLS with clients that show a certificate of this authority only.
    pub async fn start_mutual_tls(
        name: &str,
        address: SocketAddr,
        certificate: &Certificate,
        clients: &Authority,
    ) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(clients.certificate.as_bytes())?)?;
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Self::start_tls_with(name, address, certificate, verifier).await
    }

    async fn start_tls_with(
        name: &str,
        address: SocketAddr,
        certificate: &Certificate,
        clients: Arc<dyn ClientCertVerifier>,
    ) -> Result<Self> {
        let Certificate { certificate, key } = certificate;
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>()?;
        let mut configuration = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?;
        configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self::serve(name, address, Some(TlsAcceptor::from(Arc::new(configuration)))).await
    }

    async fn serve(name: &str, address: SocketAddr, tls: Option<TlsAcceptor>) -> Result<Self> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("backend {name} cannot listen at {address}"))?;
        let address = listener
            .local_addr()
            .context("a listening socket has an address")?;
        let seen = Arc::default();
        let backend = Backend {
            name: name.into(),
            seen: Arc::clone(&seen),
        };
        let listener = tokio::spawn(accept(listener, tls, backend)).abort_handle();
        Ok(Self {
            address,
            seen,
            listener,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far, mirrored ones included, in order of arrival.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests came for this path, whatever their query.
    pub fn count(&self, path: &str) -> usize {
        self.seen()
            .iter()
            .filter(|seen| seen.path.split('?').next() == Some(path))
            .count()
    }
}

/// Closes the listener and every connection.
impl Drop for Echo {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// What all connections of a backend share.
#[derive(Clone)]
struct Backend {
    name: Arc<str>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// Serves until aborted; the connections live in its [`JoinSet`] and end with it.
async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, backend: Backend) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // Out of file descriptors, say: the next connection may work.
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        connections.spawn(connection(stream, tls.clone(), backend.clone()));
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, backend: Backend) {
    // A connection that fails is the client's to notice.
    drop(stream.set_nodelay(true));
    match tls {
        None => serve_connection(stream, backend).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                serve_connection(stream, backend).await;
            }
        }
    }
}

async fn serve_connection(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, backend: Backend) {
    let service = service_fn(move |request| answer(request, backend.clone()));
    let server = auto::Builder::new(TokioExecutor::new());
    drop(
        server
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .await,
    );
}

impl Backend {
    fn remember(&self, request: &Request<Incoming>, body: usize) -> Seen {
        let host = request.uri().authority().map(ToString::to_string);
        let host = host
            .or_else(|| request.headers().get(HOST).map(text))
            .unwrap_or_default();
        let seen = Seen {
            backend: self.name.to_string(),
            method: request.method().to_string(),
            path: request
                .uri()
                .path_and_query()
                .map(ToString::to_string)
                .unwrap_or_default(),
            host,
            proto: match request.version() {
                Version::HTTP_2 => "HTTP/2.0".into(),
                version => format!("{version:?}"),
            },
            headers: pairs(request.headers()),
            body,
        };
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(seen.clone());
        seen
    }
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect()
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use futures::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::{client_async, tungstenite::Message};

    use super::*;
    use crate::client::{Protocol, Request, Target};

    const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[tokio::test]
    async fn tells_what_it_was_asked_in_every_protocol() {
        let certificate = Certificate::self_signed(&["shop.example"]);
        let plain = Echo::start("plain", ANYWHERE).await.unwrap();
        let tls = Echo::start_tls("tls", ANYWHERE, &certificate).await.unwrap();
        for target in [
            Target::http(plain.address()),
            Target::https(tls.address(), "shop.example"),
        ] {
            for (protocol, proto) in [(Protocol::Http1, "HTTP/1.1"), (Protocol::Http2, "HTTP/2.0")] {
                let request = Request::get("/a%20b?c=d")
                    .host("shop.example:81")
                    .header("x-one", "1")
                    .body("four");
                let answer = target.clone().protocol(protocol).send(request).await.unwrap();
                let seen = answer.seen().unwrap();
                assert_eq!(
                    (
                        seen.path.as_str(),
                        seen.host.as_str(),
                        seen.proto.as_str(),
                        seen.body
                    ),
                    ("/a%20b?c=d", "shop.example:81", proto, 4),
                );
                assert!(seen.headers.contains(&("x-one".to_owned(), "1".to_owned())));
            }
        }
        assert_eq!(plain.count("/a%20b"), 2);
    }

    #[tokio::test]
    async fn answers_as_the_request_wants() {
        let echo = Echo::start("a", ANYWHERE).await.unwrap();
        let target = Target::http(echo.address());
        assert_eq!(target.get("a", "/status/418").await.unwrap().status, 418);
        let request = Request::get("/").header("x-echo-set-header", "x-set: yes");
        assert_eq!(target.send(request).await.unwrap().header("x-set"), "yes");
        let events = target.get("a", "/?stream=3").await.unwrap();
        assert_eq!(
            events
                .body
                .split(|byte| *byte == b'\n')
                .filter(|line| line.starts_with(b"data"))
                .count(),
            3
        );
    }

    #[tokio::test]
    async fn web_socket_messages_come_back() {
        let echo = Echo::start("a", ANYWHERE).await.unwrap();
        let stream = TcpStream::connect(echo.address()).await.unwrap();
        let (mut socket, _) = client_async("ws://a/chat", stream).await.unwrap();
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    }
}
