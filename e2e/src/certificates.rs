//! Certificates for tests: authorities, and what they issue for servers and clients.

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

/// A certificate with its key, both as PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate itself, without a chain.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: String,
}

/// A certificate authority of a test.
#[derive(Debug)]
pub struct Authority {
    /// The authority's own certificate as PEM: what others trust.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificate {
    /// A certificate for these hostnames (wildcards allowed) or addresses, signed by itself.
    pub fn self_signed(names: &[&str]) -> Self {
        let key = key();
        let certificate = parameters(names)
            .self_signed(&key)
            .expect("rcgen signs what it made");
        Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A `kubernetes.io/tls` Secret with this certificate, as YAML.
    pub fn secret(&self, namespace: &str, name: &str) -> String {
        let Self { certificate, key } = self;
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{ namespace: {namespace}, name: {name} }}\n\
             type: kubernetes.io/tls\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
            indented(certificate),
            indented(key),
        )
    }
}

impl Authority {
    /// A new authority with this common name.
    pub fn new(name: &str) -> Self {
        let key = key();
        let mut parameters = parameters(&[]);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let certificate = parameters.self_signed(&key).expect("rcgen signs what it made");
        Self {
            certificate: certificate.pem(),
            issuer: Issuer::new(parameters, key),
        }
    }

    /// Its private key, PKCS #8.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate of this authority for these names; for a client, any name will do.
    pub fn issue(&self, names: &[&str]) -> Certificate {
        self.sign(&parameters(names))
    }

    /// A client certificate that Kubernetes reads as a user of a group.
    ///
    /// See <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates>.
    pub fn issue_to_user(&self, user: &str, group: &str) -> Certificate {
        let mut parameters = parameters(&[]);
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, user);
        name.push(DnType::OrganizationName, group);
        parameters.distinguished_name = name;
        self.sign(&parameters)
    }

    fn sign(&self, parameters: &CertificateParams) -> Certificate {
        let key = key();
        let certificate = parameters
            .signed_by(&key, &self.issuer)
            .expect("rcgen signs what it made");
        Certificate {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A `ConfigMap` with the authority's certificate under `ca.crt`, as YAML.
    pub fn config_map(&self, namespace: &str, name: &str) -> String {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ namespace: {namespace}, name: {name} }}\n\
             data:\n  ca.crt: |\n{}",
            indented(&self.certificate),
        )
    }
}

fn parameters(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    CertificateParams::new(names).expect("tests name hostnames that certificates can hold")
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the system has randomness")
}

fn indented(pem: &str) -> String {
    format!("    {}\n", pem.trim_end().replace('\n', "\n    "))
}
