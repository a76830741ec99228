//! An HTTP client that does exactly what a test says: any address, any host, any server name, no redirects.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, StatusCode, Uri, Version,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
    header::{HOST, HeaderName, HeaderValue},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{certificates::Certificate, echo::Seen};

/// How long an answer may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where requests go, and how.
#[derive(Clone, Debug)]
pub struct Target {
    address: SocketAddr,
    protocol: Protocol,
    tls: Option<Tls>,
}

/// What is spoken on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: by ALPN on TLS, with prior knowledge (h2c) without.
    Http2,
}

/// A request; the host is the target's address unless said otherwise.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The version of HTTP it came in.
    pub version: Version,
    /// The headers, in the order of arrival per name.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// A connection that takes one request after another.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    target: Target,
    certificate: Option<CertificateDer<'static>>,
}

#[derive(Clone, Debug)]
struct Tls {
    /// The server name; an address sends none.
    name: ServerName<'static>,
    client: Option<Certificate>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Target {
    /// Plain HTTP/1.1 to an address.
    pub fn http(address: SocketAddr) -> Self {
        Self {
            address,
            protocol: Protocol::Http1,
            tls: None,
        }
    }

    /// HTTP/1.1 over TLS to an address, asking for this server name; any certificate is accepted.
    ///
    /// # Panics
    ///
    /// When `name` is no hostname or address.
    pub fn https(address: SocketAddr, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).expect("tests name servers that can exist");
        Self {
            tls: Some(Tls { name, client: None }),
            ..Self::http(address)
        }
    }

    /// Where that is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same in another protocol.
    #[must_use]
    pub fn protocol(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    /// The same, showing a client certificate.
    #[must_use]
    pub fn client_certificate(self, certificate: &Certificate) -> Self {
        let client = Some(certificate.clone());
        Self {
            tls: self.tls.map(|tls| Tls { client, ..tls }),
            ..self
        }
    }

    /// Sends a request on a connection of its own and takes the whole answer.
    pub async fn send(&self, request: Request) -> Result<Answer> {
        self.connect().await?.send(request).await
    }

    /// `GET` of a path with this host.
    pub async fn get(&self, host: &str, path: &str) -> Result<Answer> {
        self.send(Request::get(path).host(host)).await
    }

    /// Opens a connection.
    pub async fn connect(&self) -> Result<Connection> {
        timeout(PATIENCE, self.connect_patiently())
            .await
            .context("no connection in time")?
    }

    /// Opens a connection with TLS on which nothing was said yet, for clients of another kind.
    pub async fn stream(&self) -> Result<TlsStream<TcpStream>> {
        let tls = self.tls.as_ref().context("the target has no TLS")?;
        timeout(PATIENCE, self.shake_hands(tls))
            .await
            .context("no connection in time")?
    }

    async fn connect_patiently(&self) -> Result<Connection> {
        let Some(tls) = &self.tls else {
            return self.handshake(self.reach().await?, None).await;
        };
        let stream = self.shake_hands(tls).await?;
        let (_, session) = stream.get_ref();
        let certificate = session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .cloned();
        let certificate = certificate.map(CertificateDer::into_owned);
        self.handshake(stream, certificate).await
    }

    async fn reach(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.address).await;
        let stream = stream.with_context(|| format!("cannot connect to {}", self.address))?;
        stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
        Ok(stream)
    }

    async fn shake_hands(&self, tls: &Tls) -> Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::new(tls.configuration(self.protocol)?));
        let stream = connector.connect(tls.name.clone(), self.reach().await?).await;
        stream.context("no TLS connection")
    }

    async fn handshake(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        certificate: Option<CertificateDer<'static>>,
    ) -> Result<Connection> {
        let stream = TokioIo::new(stream);
        // Dropping the sender ends the connection; how it ends shows in the request that was on it.
        let sender = match self.protocol {
            Protocol::Http1 => {
                let (sender, connection) =
                    http1::handshake(stream).await.context("no HTTP/1.1 connection")?;
                tokio::spawn(async move { drop(connection.with_upgrades().await) });
                Sender::Http1(sender)
            }
            Protocol::Http2 => {
                let handshake = http2::handshake(TokioExecutor::new(), stream);
                let (sender, connection) = handshake.await.context("no HTTP/2 connection")?;
                tokio::spawn(async move { drop(connection.await) });
                Sender::Http2(sender)
            }
        };
        Ok(Connection {
            sender,
            target: self.clone(),
            certificate,
        })
    }
}

impl Request {
    /// A `GET` of a path, query included, in a form that is legal on the wire.
    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    /// A request without body or headers.
    pub fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// With this host; over TLS it may differ from the server name.
    #[must_use]
    pub fn host(self, host: &str) -> Self {
        self.header("host", host)
    }

    /// With one more header.
    ///
    /// # Panics
    ///
    /// When the name or value is not legal; see [`raw`] for those.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("tests send legal header names");
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("tests send legal header values");
        self.headers.append(name, value);
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    fn into_hyper(self, target: &Target) -> Result<hyper::Request<Full<Bytes>>> {
        let Self {
            method,
            path,
            mut headers,
            body,
        } = self;
        let host = match headers.get(HOST) {
            Some(host) => host.clone(),
            None => target
                .address
                .to_string()
                .parse()
                .context("an address is a header value")?,
        };
        let uri = match target.protocol {
            Protocol::Http1 => {
                headers.insert(HOST, host);
                path.parse().with_context(|| format!("{path} is no path"))?
            }
            Protocol::Http2 => {
                headers.remove(HOST);
                let scheme = if target.tls.is_some() { "https" } else { "http" };
                let parts = Uri::builder()
                    .scheme(scheme)
                    .authority(host.as_bytes())
                    .path_and_query(path);
                parts.build().context("the host and path make no URI")?
            }
        };
        let mut request = hyper::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

impl Connection {
    /// Sends a request and takes the whole answer.
    pub async fn send(&mut self, request: Request) -> Result<Answer> {
        let exchange = async {
            let (parts, body) = self.open(request).await?.into_parts();
            let body = body.collect().await.context("the answer broke off")?.to_bytes();
            Ok(Answer {
                status: parts.status,
                version: parts.version,
                headers: parts.headers,
                body,
            })
        };
        timeout(PATIENCE, exchange).await.context("no answer in time")?
    }

    /// Sends a request and returns as soon as the head of the answer is there; for streams and upgrades.
    pub async fn open(&mut self, request: Request) -> Result<hyper::Response<Incoming>> {
        let request = request.into_hyper(&self.target)?;
        match &mut self.sender {
            Sender::Http1(sender) => sender.send_request(request).await,
            Sender::Http2(sender) => sender.send_request(request).await,
        }
        .context("the request failed")
    }

    /// Waits until another request can be sent; false when the server has closed the connection.
    pub async fn ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// The certificate that the server showed, without its chain; none without TLS.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.certificate.as_ref()
    }
}

impl Answer {
    /// A header's only or first value; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// What the echo backend saw of the request.
    pub fn seen(&self) -> Result<Seen> {
        ensure!(self.status.is_success(), "{self}");
        serde_json::from_slice(&self.body).with_context(|| format!("not from an echo backend: {self}"))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {:?} {}",
            self.status,
            self.headers,
            String::from_utf8_lossy(&self.body)
        )
    }
}

/// Writes bytes to an address and returns everything that comes back until the server closes.
///
/// For request lines that no client would send. `Connection: close` in the request spares the wait for the
/// server's idle timeout.
pub async fn raw(address: SocketAddr, request: &[u8]) -> Result<Vec<u8>> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(PATIENCE, exchange)
        .await
        .context("the server did not close in time")?;
    answer.with_context(|| format!("no exchange with {address}"))
}

impl Tls {
    fn configuration(&self, protocol: Protocol) -> Result<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .context("ring speaks TLS 1.2 and 1.3")?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)));
        let mut configuration = match &self.client {
            None => builder.with_no_client_auth(),
            Some(Certificate { certificate, key }) => {
                let chain =
                    CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>()?;
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?
            }
        };
        configuration.alpn_protocols = vec![match protocol {
            Protocol::Http1 => b"http/1.1".to_vec(),
            Protocol::Http2 => b"h2".to_vec(),
        }];
        Ok(configuration)
    }
}

/// Accepts whatever certificate a server shows: tests look at it themselves.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
