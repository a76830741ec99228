//! How certificates of clients are validated: `spec.tls.frontend` of a Gateway, for one listener.

use crate::{
    api::{FrontendTlsConfig, FrontendTlsValidation, FrontendValidationModeType},
    config::ClientValidation,
    resolve::{
        certificate,
        finding::Finding,
        grant::Referrer,
        listener_findings::{ListenerRefusal, UnresolvedReference},
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
                "The Gateway validates clients in the mode {mode}; it can be {}",
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
            "None of the Gateway's caCertificateRefs for port {port} can be used, so no client could be verified"
        );
        result
            .refusals
            .push(Finding::new(ListenerRefusal::NoValidCaCertificate, message));
    } else {
        result.client = Some(ClientValidation {
            authorities: authorities.concat(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        object::ObjectKey,
        resolve::{Gateway, Listener, certificate::tests::issue, example},
    };

    /// A Gateway `edge/web` with these `spec.tls.frontend` and an HTTPS listener on 443, which has a good certificate,
    /// beside an HTTP listener on 80 and a `ConfigMap` `edge/authorities`.
    fn gateway(frontend: &str) -> Gateway {
        let (chain, key) = issue(&["shop.example.com"]);
        let secret = serde_json::json!({
            "kind": "Secret",
            "metadata": { "namespace": "edge", "name": "shop" },
            "type": "kubernetes.io/tls",
            "stringData": { "tls.crt": chain, "tls.key": key },
        });
        let authorities = serde_json::json!({
            "kind": "ConfigMap",
            "metadata": { "namespace": "edge", "name": "authorities" },
            "data": { "ca.crt": chain },
        });
        let gateway = format!(
            "kind: Gateway\nmetadata: {{namespace: edge, name: web}}\n\
             spec: {{gatewayClassName: ours, tls: {{frontend: {frontend}}}, listeners: [\
             {{name: http, port: 80, protocol: HTTP}}, \
             {{name: https, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{{name: shop}}]}}}}]}}"
        );
        let mut resolved = example::resolved(&[&gateway, &secret.to_string(), &authorities.to_string()]);
        let gateway = resolved.gateways.remove(&ObjectKey::new("edge", "web"));
        gateway.expect("the Gateway is ours")
    }

    fn https(gateway: &Gateway) -> &Listener {
        &gateway.listeners[1]
    }

    fn validation(reference: &str) -> String {
        format!("{{default: {{validation: {{caCertificateRefs: [{reference}]}}}}}}")
    }

    const GOOD: &str = "{group: '', kind: ConfigMap, name: authorities}";
    const GONE: &str = "{group: '', kind: ConfigMap, name: gone}";

    #[test]
    fn clients_are_verified_against_the_authorities() {
        let gateway = gateway(&validation(GOOD));
        let tls = https(&gateway).tls.as_ref().expect("the listener has TLS");
        let client = tls.client.as_ref().expect("clients are verified");
        assert!(client.authorities.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(!client.optional);
        assert!(https(&gateway).serves);
    }

    #[test]
    fn references_to_authorities_that_lead_nowhere_stop_the_listener_and_no_other() {
        for (reference, reason) in [
            (GONE, UnresolvedReference::InvalidCaCertificateRef),
            (
                "{group: '', kind: Service, name: shop}",
                UnresolvedReference::InvalidCaCertificateKind,
            ),
            (
                "{group: '', kind: ConfigMap, namespace: other, name: authorities}",
                UnresolvedReference::RefNotPermitted,
            ),
        ] {
            let gateway = gateway(&validation(reference));
            let findings = &https(&gateway).findings;
            assert_eq!(findings.unresolved[0].reason, reason, "{reference}");
            assert_eq!(findings.refusals[0].reason, ListenerRefusal::NoValidCaCertificate);
            assert!(!https(&gateway).serves);
            assert!(gateway.listeners[0].serves);
        }
    }

    #[test]
    fn one_good_authority_is_enough_to_serve() {
        let gateway = gateway(&validation(&format!("{GONE}, {GOOD}")));
        assert!(https(&gateway).serves);
        assert_eq!(https(&gateway).findings.unresolved.len(), 1);
    }

    #[test]
    fn settings_of_the_port_replace_the_default_ones() {
        let gateway = gateway(&format!(
            "{{default: {{validation: {{caCertificateRefs: [{GONE}]}}}}, perPort: [{{port: 443, tls: {{}}}}]}}"
        ));
        let tls = https(&gateway).tls.as_ref().expect("the listener has TLS");
        assert_eq!(tls.client, None);
        assert!(https(&gateway).serves);
    }

    #[test]
    fn insecure_fallback_lets_everybody_in_and_says_so() {
        let gateway = gateway(&format!(
            "{{default: {{validation: {{mode: AllowInsecureFallback, caCertificateRefs: [{GOOD}]}}}}}}"
        ));
        let tls = https(&gateway).tls.as_ref().expect("the listener has TLS");
        assert!(tls.client.as_ref().is_some_and(|client| client.optional));
        assert!(gateway.findings.insecure);
    }

    #[test]
    fn unknown_mode_lets_nobody_in() {
        let gateway = gateway(&format!(
            "{{default: {{validation: {{mode: AllowFriends, caCertificateRefs: [{GOOD}]}}}}}}"
        ));
        assert_eq!(
            https(&gateway).findings.refusals[0].reason,
            ListenerRefusal::UnsupportedValue
        );
        assert!(!https(&gateway).serves);
    }
}
