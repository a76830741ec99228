//! TLS with endpoints and pickers: who they must be, and who we are to them.

use std::sync::{Arc, OnceLock};

use proto::fleet;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem, pem::PemObject as _},
    server::ParsedCertificate,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::{extensions::GeneralName, prelude::FromDer as _};

/// Why a server cannot be spoken to as it was said.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is no name of a server")]
    Name(String),
    #[error("cannot speak any version of TLS")]
    Versions { source: rustls::Error },
    #[error("cannot read the authorities")]
    Authorities { source: pem::Error },
    #[error("cannot trust an authority")]
    Authority { source: rustls::Error },
    #[error("cannot read the client certificate")]
    ClientCertificate { source: pem::Error },
    #[error("cannot use the client certificate")]
    ClientKey { source: rustls::Error },
}

/// The protocols to negotiate, in order of preference.
#[must_use]
pub fn protocols(protocol: fleet::Protocol) -> &'static [&'static [u8]] {
    match protocol {
        fleet::Protocol::Http1 => &[b"http/1.1"],
        fleet::Protocol::Http2 => &[b"h2", b"http/1.1"],
    }
}

/// What was wrong with a server's side of a handshake, if that is what an error comes from.
#[must_use]
pub fn refusal<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut error = Some(error);
    while let Some(cause) = error {
        // An I/O error has for its source that of what it wraps, and never that itself.
        let wrapped = cause
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if let Some(refusal) = wrapped.and_then(|wrapped| wrapped.downcast_ref()) {
            return Some(refusal);
        }
        error = cause.source();
    }
    None
}

/// Our side of handshakes with one kind of server.
#[derive(Clone)]
pub struct Client {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Client {
    /// What a message says, for some protocols in order of preference.
    pub fn new(tls: &fleet::Tls, protocols: &[&[u8]]) -> Result<Self, Error> {
        let name = ServerName::try_from(tls.server_name.clone())
            .map_err(|_| Error::Name(tls.server_name.clone()))?;
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier {
            expected: tls.verification.as_ref().map(Expected::new).transpose()?,
            provider: Arc::clone(&provider),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|source| Error::Versions { source })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = if tls.client_certificate.is_empty() {
            config.with_no_client_auth()
        } else {
            let pem = tls.client_certificate.as_bytes();
            let chain = CertificateDer::pem_slice_iter(pem)
                .collect::<Result<_, _>>()
                .map_err(|source| Error::ClientCertificate { source })?;
            let key =
                PrivateKeyDer::from_pem_slice(pem).map_err(|source| Error::ClientCertificate { source })?;
            config
                .with_client_auth_cert(chain, key)
                .map_err(|source| Error::ClientKey { source })?
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }

    /// Shakes hands over a connection.
    pub async fn connect<S>(&self, stream: S) -> std::io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.connector.connect(self.name.clone(), stream).await
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Client")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Verifies servers as `BackendTLSPolicy` has it, see <https://gateway-api.sigs.k8s.io/api-types/backendtlspolicy/>:
/// the name of the handshake and the names in the certificate may differ.
#[derive(Debug)]
struct Verifier {
    /// None takes every certificate.
    expected: Option<Expected>,
    provider: Arc<CryptoProvider>,
}

/// What a certificate must hold.
#[derive(Debug)]
struct Expected {
    roots: Arc<RootCertStore>,
    /// Of both lists a certificate must hold one; with both empty it must hold the name of the handshake.
    hostnames: Vec<String>,
    uris: Vec<String>,
}

impl Expected {
    fn new(verification: &fleet::Verification) -> Result<Self, Error> {
        let roots = if verification.authorities.is_empty() {
            system_roots()
        } else {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(verification.authorities.as_bytes()) {
                let certificate = certificate.map_err(|source| Error::Authorities { source })?;
                roots
                    .add(certificate)
                    .map_err(|source| Error::Authority { source })?;
            }
            Arc::new(roots)
        };
        Ok(Self {
            roots,
            hostnames: verification.hostnames.clone(),
            uris: verification.uris.clone(),
        })
    }

    fn holds_a_name(&self, certificate: &CertificateDer<'_>, parsed: &ParsedCertificate<'_>) -> bool {
        let is_for = |hostname: &String| {
            ServerName::try_from(hostname.as_str())
                .is_ok_and(|name| verify_server_name(parsed, &name).is_ok())
        };
        self.hostnames.iter().any(is_for) || self.holds_a_literal_name(certificate)
    }

    /// URIs, and hostnames with a wildcard, which stand in a certificate as they are.
    fn holds_a_literal_name(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok((_, certificate)) = x509_parser::certificate::X509Certificate::from_der(certificate) else {
            return false;
        };
        let Ok(Some(names)) = certificate.subject_alternative_name() else {
            return false;
        };
        names.value.general_names.iter().any(|name| match name {
            GeneralName::URI(uri) => self.uris.iter().any(|wanted| wanted == uri),
            GeneralName::DNSName(name) => {
                let wildcards = self
                    .hostnames
                    .iter()
                    .filter(|hostname| hostname.starts_with("*."));
                wildcards
                    .into_iter()
                    .any(|wanted| wanted.eq_ignore_ascii_case(name))
            }
            _ => false,
        })
    }
}

/// The system's authorities, read once; those of Mozilla where the system has none, as in a bare image.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Arc::new(roots)
    });
    Arc::clone(roots)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(expected) = &self.expected else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &expected.roots, intermediates, now, algorithms)?;
        if expected.hostnames.is_empty() && expected.uris.is_empty() {
            verify_server_name(&parsed, server_name)?;
        } else if !expected.holds_a_name(certificate, &parsed) {
            return Err(rustls::CertificateError::NotValidForName.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
