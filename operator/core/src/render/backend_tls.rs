//! How NGINX speaks TLS to endpoints.

use super::{
    backends_file,
    text::{FileName, Value, Variable},
    view::views,
};
use crate::config::{BackendTls, Config};

views! {
    /// TLS to a backend.
    struct TlsView {
        server_name: Value,
        /// `None` where they are the usual ones.
        certificates: Option<CertificatesView>,
    }

    /// Certificates for TLS to a backend.
    struct CertificatesView {
        authorities: Option<FileName>,
        client_certificate: Option<Value>,
    }
}

/// The name in the handshake is the one that is verified; `translate` sees to it that nothing else is asked for.
///
/// What is usual is said for all of NGINX: it has a context of its own for each location that says anything of
/// certificates, which takes 12 KiB and 0.4 ms.
pub(super) fn tls_view(tls: &BackendTls, config: &Config) -> TlsView {
    TlsView {
        server_name: Value::text(&tls.server_name),
        certificates: (certificates(tls) != usual_certificates(config)).then(|| certificates_view(tls)),
    }
}

/// What most TLS to endpoints is done with.
pub(super) fn usual_certificates_view(config: &Config) -> Option<CertificatesView> {
    let usual = config.usual_tls.and_then(|id| config.tls.get(&id));
    usual.map(certificates_view)
}

fn usual_certificates(config: &Config) -> Option<Certificates<'_>> {
    certificates(config.tls.get(&config.usual_tls?)?)
}

/// The authorities that verify a server, and the certificate that it is shown.
type Certificates<'a> = (&'a str, Option<&'a str>);

fn certificates(tls: &BackendTls) -> Option<Certificates<'_>> {
    let authorities = tls.verification.as_ref()?.authorities.as_deref()?;
    Some((authorities, tls.client_certificate.as_deref()))
}

fn certificates_view(tls: &BackendTls) -> CertificatesView {
    let BackendTls {
        server_name: _,
        verification,
        client_certificate,
    } = tls;
    let authorities = verification
        .as_ref()
        .and_then(|verification| verification.authorities.as_deref());
    CertificatesView {
        authorities: authorities.map(backends_file),
        // With a variable in it NGINX reads the file at the handshake, and notices a new one.
        client_certificate: client_certificate
            .as_deref()
            .map(|file| Value::variable(Variable::Nginx("certificates")).then_text(file)),
    }
}
