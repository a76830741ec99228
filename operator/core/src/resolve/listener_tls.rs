//! How a listener ends TLS: its certificates, and what it asks of clients.

use crate::{
    api::{self, ListenerTlsConfig, TlsModeType},
    config::ClientValidation,
    resolve::{
        certificate::Certificate,
        client_validation,
        finding::Finding,
        listener_context::ListenerContext,
        listener_findings::{ListenerFindings, UnresolvedReference},
        lookup::{Dangling, Lookup},
    },
};

/// How a listener ends TLS.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    /// The certificates to choose from, never empty where the listener serves; the first is for clients that none
    /// of the others fits.
    pub certificates: Vec<Certificate>,
    /// How clients' certificates are verified.
    pub client: Option<ClientValidation>,
}

/// How a listener of protocol HTTPS ends TLS.
pub(super) fn resolve(
    lookup: &mut Lookup<'_>,
    context: &ListenerContext<'_>,
    listener: &api::Listener,
    findings: &mut ListenerFindings,
) -> ListenerTls {
    let default = ListenerTlsConfig::default();
    let config = listener.tls.as_ref().unwrap_or(&default);
    if *config.mode() != TlsModeType::Terminate {
        findings.refuse_value(format!(
            "tls.mode is {}; with protocol HTTPS it can be Terminate",
            config.mode()
        ));
    }
    for option in config.options.keys() {
        findings
            .notes
            .push(format!("tls.options has {option:?}, which means nothing here"));
    }
    if config.certificate_refs.is_empty() {
        findings.unresolved.push(Finding::new(
            UnresolvedReference::InvalidCertificateRef,
            "tls.certificateRefs is empty; a listener of protocol HTTPS needs a certificate",
        ));
    }
    let mut certificates = Vec::new();
    for reference in &config.certificate_refs {
        match Certificate::resolve(lookup, context.from, reference) {
            Ok(certificate) => certificates.push(certificate),
            Err(dangling) => findings.unresolved.push(unresolved(dangling)),
        }
    }
    let frontend = context
        .frontend
        .map(|frontend| client_validation::resolve(lookup, context.gateway, frontend, listener.port))
        .unwrap_or_default();
    findings.refusals.extend(frontend.refusals);
    findings.unresolved.extend(frontend.unresolved);
    ListenerTls {
        certificates,
        client: frontend.client,
    }
}

fn unresolved(dangling: Dangling) -> Finding<UnresolvedReference> {
    let (reason, message) = match dangling {
        Dangling::NotPermitted(message) => (UnresolvedReference::RefNotPermitted, message),
        Dangling::WrongKind(message) | Dangling::Invalid(message) => {
            (UnresolvedReference::InvalidCertificateRef, message)
        }
    };
    Finding::new(reason, format!("tls.certificateRefs: {message}"))
}
