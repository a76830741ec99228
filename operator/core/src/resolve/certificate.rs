//! Certificates: of servers with their keys, and of authorities.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    Error, InconsistentKeys,
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use crate::{
    api::{Secret, SecretObjectReference},
    generation::Pem,
    object::ObjectKey,
    resolve::{
        grant::Referrer,
        lookup::{Dangling, Entry, Lookup, secret_value},
    },
    syntax::Hostname,
};

/// A server certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The Secret that holds it.
    pub secret: ObjectKey,
    /// Hosts that it is for, from its subject alternative names.
    pub hosts: Vec<Hostname>,
    /// Chain and key.
    pub pem: Pem,
}

impl Certificate {
    /// The certificate in the Secret that an object refers to.
    pub fn resolve(
        lookup: &mut Lookup<'_>,
        from: Referrer<'_>,
        reference: &SecretObjectReference,
    ) -> Result<Self, Dangling> {
        let (key, secret) = lookup.secret(from, reference)?;
        read(key, secret).map_err(Dangling::Invalid)
    }
}

/// The type of Secrets that hold a certificate and its key.
const SECRET_TYPE: &str = "kubernetes.io/tls";

fn read(key: ObjectKey, secret: &Secret) -> Result<Certificate, String> {
    let type_ = secret.type_.as_deref().unwrap_or("Opaque");
    if type_ != SECRET_TYPE {
        return Err(format!(
            "Secret {key} is of type {type_}; it has to be {SECRET_TYPE}"
        ));
    }
    let text = |name: &str| {
        let bytes = secret_value(secret, name).ok_or_else(|| format!("Secret {key} has no key {name}"))?;
        std::str::from_utf8(bytes).map_err(|_| format!("{name} of Secret {key} is no text"))
    };
    let (chain_pem, key_pem) = (text("tls.crt")?, text("tls.key")?);
    let chain =
        certificates(chain_pem.as_bytes()).map_err(|problem| format!("tls.crt of Secret {key} {problem}"))?;
    let private_key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
        .map_err(|error| format!("tls.key of Secret {key} holds no private key in PEM ({error})"))?;
    if !fits(&private_key, &chain) {
        return Err(format!(
            "tls.key of Secret {key} is not the key of the certificate in tls.crt"
        ));
    }
    Ok(Certificate {
        hosts: hosts(&chain),
        pem: Pem(chain_section(&chain) + &key_section(&private_key)),
        secret: key,
    })
}

/// The certificates of authorities in a `ConfigMap` or Secret, as PEM.
pub fn authorities(entry: &Entry<'_>) -> Result<String, Dangling> {
    let Entry { name, value } = entry;
    let invalid = |problem: String| Dangling::Invalid(format!("{name} {problem}"));
    let authorities = certificates(value).map_err(invalid)?;
    Ok(chain_section(&authorities))
}

/// The certificates in a PEM text, at least one; what is wrong with it otherwise.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| format!("is no PEM ({error})"))?;
    if certificates.is_empty() {
        return Err("holds no certificate in PEM".to_owned());
    }
    let broken = |der: &CertificateDer<'_>| X509Certificate::from_der(der).is_err();
    match certificates.iter().position(broken) {
        Some(index) => Err(format!(
            "holds a certificate, number {}, that is no X.509",
            index + 1
        )),
        None => Ok(certificates),
    }
}

/// Certificates as PEM.
fn chain_section(certificates: &[CertificateDer<'_>]) -> String {
    let sections = certificates.iter().map(|der| section("CERTIFICATE", der));
    sections.collect()
}

fn key_section(key: &PrivateKeyDer<'_>) -> String {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    section(label, key.secret_der())
}

/// A section of PEM in the one way that every program reads: OpenSSL takes less than we do, and would refuse the whole
/// configuration for what somebody wrote around a certificate.
fn section(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut rest = text.as_str();
    let mut section = format!("-----BEGIN {label}-----\n");
    while !rest.is_empty() {
        let (line, next) = rest.split_at(rest.len().min(64));
        section.push_str(line);
        section.push('\n');
        rest = next;
    }
    section + &format!("-----END {label}-----\n")
}

/// Whether the key is that of the chain's first certificate; kinds of keys that cannot be compared are left to NGINX.
fn fits(key: &PrivateKeyDer<'_>, chain: &[CertificateDer<'static>]) -> bool {
    let Ok(key) = any_supported_type(key) else {
        return true;
    };
    let mismatch = Error::InconsistentKeys(InconsistentKeys::KeyMismatch);
    CertifiedKey::new(chain.to_vec(), key).keys_match() != Err(mismatch)
}

/// The DNS names that the chain's first certificate is for.
fn hosts(chain: &[CertificateDer<'_>]) -> Vec<Hostname> {
    let certificate = chain.first().and_then(|der| X509Certificate::from_der(der).ok());
    let Some((_, certificate)) = certificate else {
        return Vec::new();
    };
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names
        .into_iter()
        .flat_map(|extension| &extension.value.general_names);
    let hosts = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Hostname::new(name),
        _ => None,
    });
    hosts.collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn secret(type_: &str, entries: &[(&str, &str)]) -> Secret {
        let entries = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Secret {
            type_: Some(type_.to_owned()),
            string_data: Some(entries.collect()),
            ..Secret::default()
        }
    }

    fn key() -> ObjectKey {
        ObjectKey::new("default", "shop")
    }

    /// A certificate for these names, and its key, as PEM.
    pub(crate) fn issue(names: &[&str]) -> (String, String) {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let key = KeyPair::generate().expect("ring makes keys");
        let parameters = CertificateParams::new(names).expect("the names are DNS names");
        let certificate = parameters
            .self_signed(&key)
            .expect("a key can sign its certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn problem(secret: &Secret) -> String {
        read(key(), secret).expect_err("the Secret is wrong")
    }

    #[test]
    fn hosts_are_the_dns_names_of_the_certificate() {
        let (chain, private_key) = issue(&["shop.example.com", "*.example.org", "10.0.0.1"]);
        let secret = secret(SECRET_TYPE, &[("tls.crt", &chain), ("tls.key", &private_key)]);
        let certificate = read(key(), &secret).expect("the Secret is right");
        let hosts = certificate.hosts.iter().map(Hostname::as_str).collect::<Vec<_>>();
        assert_eq!(hosts, ["shop.example.com", "*.example.org"]);
        assert!(
            certificate
                .pem
                .0
                .contains("END CERTIFICATE-----\n-----BEGIN PRIVATE KEY")
        );
    }

    #[test]
    fn secret_of_another_type_is_refused() {
        let secret = secret("Opaque", &[]);
        assert_eq!(
            problem(&secret),
            "Secret default/shop is of type Opaque; it has to be kubernetes.io/tls"
        );
    }

    #[test]
    fn missing_key_is_named() {
        let (chain, _) = issue(&["shop.example.com"]);
        let secret = secret(SECRET_TYPE, &[("tls.crt", &chain)]);
        assert_eq!(problem(&secret), "Secret default/shop has no key tls.key");
    }

    #[test]
    fn text_without_a_certificate_is_refused() {
        let secret = secret(SECRET_TYPE, &[("tls.crt", "hello"), ("tls.key", "world")]);
        assert_eq!(
            problem(&secret),
            "tls.crt of Secret default/shop holds no certificate in PEM"
        );
    }

    #[test]
    fn certificate_that_does_not_parse_is_refused() {
        let chain = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
        let secret = secret(SECRET_TYPE, &[("tls.crt", chain), ("tls.key", "")]);
        let problem = problem(&secret);
        assert_eq!(
            problem,
            "tls.crt of Secret default/shop holds a certificate, number 1, that is no X.509"
        );
    }

    #[test]
    fn key_of_another_certificate_is_refused() {
        let ((chain, _), (_, private_key)) = (issue(&["a.example.com"]), issue(&["b.example.com"]));
        let secret = secret(SECRET_TYPE, &[("tls.crt", &chain), ("tls.key", &private_key)]);
        assert_eq!(
            problem(&secret),
            "tls.key of Secret default/shop is not the key of the certificate in tls.crt"
        );
    }

    #[test]
    fn bundle_of_authorities_is_kept_whole() {
        let bundle = format!("{}{}", issue(&["a"]).0, issue(&["b"]).0);
        let entry = Entry {
            name: "ca.crt of ConfigMap default/authorities".to_owned(),
            value: bundle.as_bytes(),
        };
        assert_eq!(authorities(&entry).as_deref(), Ok(bundle.as_str()));
    }

    #[test]
    fn what_stands_around_certificates_is_dropped() {
        let (authority, _) = issue(&["a"]);
        let text = format!("# Clients.\n{}garbage\n", authority.trim_end());
        let entry = Entry {
            name: "ca.crt of ConfigMap default/authorities".to_owned(),
            value: text.as_bytes(),
        };
        assert_eq!(authorities(&entry).as_deref(), Ok(authority.as_str()));
    }
}
