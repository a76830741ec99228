//! How certificates of clients are validated: `spec.tls.frontend` of a Gateway, for one listener.

use crate::{
    api::{FrontendTlsConfig, FrontendTlsValidation, FrontendValidationModeType},
    config::ClientValidation,
    resolve::{
        certificate,
        finding::Finding,
        grant::Referrer,
        listener::{ListenerRefusal, UnresolvedReference},
        lookup::{Dangling, Lookup},
    },
};

/// What a Gateway's settings come to for a listener.
#[derive(Debug, Default)]
pub(super) struct Frontend {
    /// How clients are verified; `None` if they are not, or cannot be.
    pub client: Option<ClientValidation>,
    /// Why the listener must not serve.
    pub refusals: Vec<Finding<ListenerRefusal>>,
    /// References that lead nowhere.
    pub unresolved: Vec<Finding<UnresolvedReference>>,
}

/// The validation of clients on a port of a Gateway.
///
/// A listener whose authorities are all unusable serves nobody: it must not become one that asks nobody for a
/// certificate. See <https://gateway-api.sigs.k8s.io/reference/spec/#frontendtlsvalidation>.
#[must_use]
pub(super) fn resolve(
    lookup: &mut Lookup<'_>,
    gateway: Referrer<'_>,
    frontend: &FrontendTlsConfig,
    port: i32,
) -> Frontend {
    let Some(validation) = &frontend.for_port(port).validation else {
        return Frontend::default();
    };
    let FrontendTlsValidation {
        ca_certificate_refs, ..
    } = validation;
    let mut result = Frontend::default();
    let mut authorities = Vec::new();
    for reference in ca_certificate_refs {
        let entry = lookup.authorities(gateway, reference);
        match entry.and_then(|entry| certificate::authorities(&entry)) {
            Ok(pem) => authorities.push(pem),
            Err(dangling) => result.unresolved.push(unresolved(dangling)),
        }
    }
    let optional = match validation.mode() {
        FrontendValidationModeType::AllowValidOnly => false,
        FrontendValidationModeType::AllowInsecureFallback => true,
        FrontendValidationModeType::Unknown(mode) => {
            let message = format!(
                "the Gateway validates clients in the mode {mode}; it can be {}",
                FrontendValidationModeType::KNOWN.join(" or ")
            );
            result
                .refusals
                .push(Finding::new(ListenerRefusal::UnsupportedValue, message));
            return result;
        }
    };
    if authorities.is_empty() {
        let message = format!(
            "none of the Gateway's caCertificateRefs for port {port} can be used, so no client could be verified"
        );
        result
            .refusals
            .push(Finding::new(ListenerRefusal::NoValidCaCertificate, message));
    } else {
        result.client = Some(ClientValidation {
            authorities: authorities.join("\n"),
            optional,
        });
    }
    result
}

/// Whether clients without a valid certificate are let in somewhere.
#[must_use]
pub(super) fn is_insecure(frontend: &FrontendTlsConfig) -> bool {
    let ports = frontend.per_port.iter().map(|port| &port.tls);
    let mut validations = ports
        .chain([&frontend.default])
        .filter_map(|tls| tls.validation.as_ref());
    validations.any(|validation| *validation.mode() == FrontendValidationModeType::AllowInsecureFallback)
}

fn unresolved(dangling: Dangling) -> Finding<UnresolvedReference> {
    let (reason, message) = match dangling {
        Dangling::NotPermitted(message) => (UnresolvedReference::RefNotPermitted, message),
        Dangling::WrongKind(message) => (UnresolvedReference::InvalidCaCertificateKind, message),
        Dangling::Invalid(message) => (UnresolvedReference::InvalidCaCertificateRef, message),
    };
    Finding::new(reason, format!("caCertificateRefs of the Gateway: {message}"))
}
