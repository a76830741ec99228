//! `BackendTLSPolicy`: how the gateway speaks TLS to a backend.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::string_enum::string_enum;
use super::{LocalObjectReference, ParentReference};

/// What is wanted of a [`BackendTlsPolicy`].
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#backendtlspolicyspec>.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "BackendTLSPolicy",
    root = "BackendTlsPolicy",
    plural = "backendtlspolicies",
    namespaced,
    status = "PolicyStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq",
    doc = "How the gateway speaks TLS to a backend; see <https://gateway-api.sigs.k8s.io/api-types/backendtlspolicy/>."
)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicySpec {
    /// The backends, in the namespace of the policy.
    #[serde(default)]
    pub target_refs: Vec<LocalPolicyTargetReferenceWithSectionName>,
    /// How the backend's certificate is validated.
    pub validation: BackendTlsPolicyValidation,
    /// Settings of implementations, by domain-prefixed name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// What a policy applies to.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#localpolicytargetreferencewithsectionname>.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalPolicyTargetReferenceWithSectionName {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, for example `Service`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Name of the one part that is meant, for a Service of a port; the whole object where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

/// How a backend's certificate is validated.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#backendtlspolicyvalidation>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicyValidation {
    /// Certificates of authorities, in `ConfigMaps` with `ca.crt`; not beside `well_known_ca_certificates`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ca_certificate_refs: Vec<LocalObjectReference>,
    /// Authorities that everybody knows; not beside `ca_certificate_refs`.
    #[serde(rename = "wellKnownCACertificates", skip_serializing_if = "Option::is_none")]
    pub well_known_ca_certificates: Option<WellKnownCaCertificatesType>,
    /// Server name that is sent, and that the certificate must be for where `subject_alt_names` is empty.
    pub hostname: String,
    /// Names of which the certificate must have at least one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<SubjectAltName>,
}

string_enum! {
    /// Authorities that everybody knows; implementations have domain-prefixed values of their own.
    pub enum WellKnownCaCertificatesType {
        /// Those of the operating system.
        System = "System",
    }
}

/// A name in a certificate: its type, and the field of that name.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#subjectaltname>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectAltName {
    /// Which of the fields below holds the name.
    pub r#type: SubjectAltNameType,
    /// A DNS name, perhaps with a wildcard as its first label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// A URI, for example a SPIFFE ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

string_enum! {
    /// Which name a [`SubjectAltName`] is.
    pub enum SubjectAltNameType {
        /// [`SubjectAltName::hostname`].
        Hostname = "Hostname",
        /// [`SubjectAltName::uri`].
        Uri = "URI",
    }
}

/// What controllers say of a policy; see <https://gateway-api.sigs.k8s.io/reference/spec/#policystatus>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// One per controller and gateway, at most 16; those of other controllers are not ours to touch.
    #[serde(default)]
    pub ancestors: Vec<PolicyAncestorStatus>,
}

/// What one controller says of a policy at one gateway.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#policyancestorstatus>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestorStatus {
    /// The gateway that the policy has an effect on.
    pub ancestor_ref: ParentReference,
    /// Name of the controller, as in its `GatewayClass`.
    pub controller_name: String,
    /// One per condition type.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
