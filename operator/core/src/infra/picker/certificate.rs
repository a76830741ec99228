//! The certificate that an endpoint picker serves with, and how gateways know it by that.

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::{
    config::{BackendTls, Verification},
    object::ObjectKey,
};

/// Files of its Secret, as the picker looks for them.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// A serving certificate with its key, in PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ServingCertificate {
    /// The chain.
    pub certificate: String,
    /// The key; never shown.
    pub key: String,
}

impl ServingCertificate {
    /// The content of the Secret that holds it.
    pub(super) fn secret(&self) -> Value {
        let Self { certificate, key } = self;
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        json!({
            "type": "kubernetes.io/tls",
            "data": {(CERTIFICATE): bytes(certificate), (KEY): bytes(key)},
        })
    }
}

/// The name that gateways verify a picker's certificate by.
#[must_use]
pub fn picker_host(picker: &ObjectKey) -> String {
    format!("{}.{}.svc", picker.name, picker.namespace)
}

/// The names that a picker's certificate holds; the first is [`picker_host`].
#[must_use]
pub fn picker_names(picker: &ObjectKey) -> Vec<String> {
    let host = picker_host(picker);
    let ObjectKey { namespace, name } = picker;
    vec![
        host.clone(),
        format!("{name}.{namespace}"),
        format!("{host}.cluster.local"),
    ]
}

/// The TLS with which gateways know a picker that we run from any other, given the authorities that its certificate may
/// come from, in PEM.
#[must_use]
pub fn picker_tls(picker: &ObjectKey, authorities: &str) -> BackendTls {
    let host = picker_host(picker);
    BackendTls {
        server_name: host.clone(),
        verification: Some(Verification {
            authorities: Some(authorities.to_owned()),
            hostnames: vec![host],
            uris: Vec::new(),
        }),
        client_certificate: None,
    }
}

/// The certificate that a picker's Secret holds, if it holds one.
#[must_use]
pub fn stored_certificate(secret: &Value) -> Option<ServingCertificate> {
    let text = |name: &str| {
        let ByteString(bytes) = serde_json::from_value(secret["data"].get(name)?.clone()).ok()?;
        String::from_utf8(bytes).ok()
    };
    Some(ServingCertificate {
        certificate: text(CERTIFICATE)?,
        key: text(KEY)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_secret_holds_is_read_back() {
        let certificate = ServingCertificate {
            certificate: "CERTIFICATE".to_owned(),
            key: "KEY".to_owned(),
        };
        assert!(stored_certificate(&certificate.secret()) == Some(certificate));
        assert!(stored_certificate(&json!({"data": {"tls.crt": "QQ=="}})).is_none());
    }
}
