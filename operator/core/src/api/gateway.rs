//! Gateway: a place where traffic comes in.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::string_enum::string_enum;
use super::{
    FromNamespaces, Listener, ListenerStatus, LocalObjectReference, ObjectReference, SecretObjectReference,
};

/// What is wanted of a [`Gateway`]; see <https://gateway-api.sigs.k8s.io/reference/spec/#gatewayspec>.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "Gateway",
    plural = "gateways",
    namespaced,
    status = "GatewayStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq",
    doc = "A place where traffic comes in; see <https://gateway-api.sigs.k8s.io/api-types/gateway/>."
)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Name of the `GatewayClass`.
    pub gateway_class_name: String,
    /// What connections are accepted for; each with a name of its own.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// Addresses that are asked for; ones of the implementation's choice where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewaySpecAddress>,
    /// What the objects that run the gateway look like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<GatewayInfrastructure>,
    /// Which `ListenerSets` may add listeners, as written; read it with [`Self::allowed_listener_namespaces`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_listeners: Option<AllowedListeners>,
    /// TLS that is not one listener's: certificates of clients, and the gateway's own towards backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<GatewayTlsConfig>,
    /// Which routes attach to this gateway without naming it (experimental channel).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_scope: Option<GatewayDefaultScope>,
}

impl GatewaySpec {
    /// Namespaces that `ListenerSets` may attach from; none by default.
    #[must_use]
    pub fn allowed_listener_namespaces(&self) -> &ListenerNamespaces {
        const NONE: &ListenerNamespaces = &ListenerNamespaces {
            from: None,
            selector: None,
        };
        self.allowed_listeners
            .as_ref()
            .and_then(|allowed| allowed.namespaces.as_ref())
            .unwrap_or(NONE)
    }

    /// Which routes attach to this gateway without naming it; none by default.
    #[must_use]
    pub fn default_scope(&self) -> &GatewayDefaultScope {
        self.default_scope.as_ref().unwrap_or(&GatewayDefaultScope::None)
    }
}

/// An address that is asked for; see <https://gateway-api.sigs.k8s.io/reference/spec/#gatewayspecaddress>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GatewaySpecAddress {
    /// What the value is, as written; read it with [`Self::address_type`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<AddressType>,
    /// The address; any of the type where absent or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// From where the address is reached, as written; see [`GatewayStatusAddress::routability`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routability: Option<AddressRoutability>,
}

impl GatewaySpecAddress {
    /// What the value is; an IP address by default.
    #[must_use]
    pub fn address_type(&self) -> &AddressType {
        self.r#type.as_ref().unwrap_or(&AddressType::IpAddress)
    }
}

string_enum! {
    /// What an address is; implementations have domain-prefixed types of their own.
    #[derive(Default)]
    pub enum AddressType {
        /// An IPv4 or IPv6 address.
        #[default]
        IpAddress = "IPAddress",
        /// A DNS name.
        Hostname = "Hostname",
        /// The name of an address that the provider has reserved.
        NamedAddress = "NamedAddress",
    }
}

string_enum! {
    /// From where an address is reached; implementations have domain-prefixed values too (experimental channel).
    pub enum AddressRoutability {
        /// From wherever the implementation serves.
        Unspecified = "",
        /// From within the cluster.
        Cluster = "Cluster",
    }
}

string_enum! {
    /// Which routes attach to a gateway without naming it (experimental channel).
    pub enum GatewayDefaultScope {
        /// Every route that asks for default gateways.
        All = "All",
        /// No route.
        None = "None",
    }
}

/// What the objects that run the gateway look like.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#gatewayinfrastructure>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayInfrastructure {
    /// Labels that every one of them gets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations that every one of them gets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What configures this gateway, here an `NginxFleet`; wins over the class's field by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<LocalObjectReference>,
}

/// Which `ListenerSets` may add listeners.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#allowedlisteners>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AllowedListeners {
    /// Namespaces, as written; read them with [`GatewaySpec::allowed_listener_namespaces`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<ListenerNamespaces>,
}

/// Namespaces that `ListenerSets` may attach from.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#listenernamespaces>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListenerNamespaces {
    /// Which namespaces, as written; read it with [`Self::from`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<FromNamespaces>,
    /// Labels of the namespaces, for [`FromNamespaces::Selector`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

impl ListenerNamespaces {
    /// Which namespaces; none by default.
    #[must_use]
    pub fn from(&self) -> &FromNamespaces {
        self.from.as_ref().unwrap_or(&FromNamespaces::None)
    }
}

/// TLS that is not one listener's; see <https://gateway-api.sigs.k8s.io/reference/spec/#gatewaytlsconfig>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GatewayTlsConfig {
    /// Towards backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<GatewayBackendTls>,
    /// Towards clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frontend: Option<FrontendTlsConfig>,
}

/// TLS towards backends; see <https://gateway-api.sigs.k8s.io/reference/spec/#gatewaybackendtls>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayBackendTls {
    /// The certificate and key that the gateway shows to backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretObjectReference>,
}

/// TLS towards clients; see <https://gateway-api.sigs.k8s.io/reference/spec/#frontendtlsconfig>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendTlsConfig {
    /// For every HTTPS listener whose port has no settings of its own.
    pub default: TlsConfig,
    /// Settings of single ports, which replace the default ones as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_port: Vec<TlsPortConfig>,
}

impl FrontendTlsConfig {
    /// The settings that apply to a port.
    #[must_use]
    pub fn for_port(&self, port: i32) -> &TlsConfig {
        self.per_port
            .iter()
            .find(|config| config.port == port)
            .map_or(&self.default, |config| &config.tls)
    }
}

/// TLS towards the clients of one port; see <https://gateway-api.sigs.k8s.io/reference/spec/#tlsportconfig>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TlsPortConfig {
    /// Port of the listeners.
    pub port: i32,
    /// Their settings.
    pub tls: TlsConfig,
}

/// TLS settings that several listeners share.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#tlsconfig>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TlsConfig {
    /// How certificates of clients are validated; clients are not asked for one where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<FrontendTlsValidation>,
}

/// How certificates of clients are validated.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#frontendtlsvalidation>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendTlsValidation {
    /// Certificates of the authorities that clients are trusted by: `ConfigMaps` with `ca.crt`, or Secrets.
    #[serde(default)]
    pub ca_certificate_refs: Vec<ObjectReference>,
    /// What happens to a client without a valid one, as written; read it with [`Self::mode`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<FrontendValidationModeType>,
}

impl FrontendTlsValidation {
    /// What happens to a client without a valid certificate; it is refused by default.
    #[must_use]
    pub fn mode(&self) -> &FrontendValidationModeType {
        self.mode
            .as_ref()
            .unwrap_or(&FrontendValidationModeType::AllowValidOnly)
    }
}

string_enum! {
    /// What happens to a client without a valid certificate.
    #[derive(Default)]
    pub enum FrontendValidationModeType {
        /// It is refused.
        #[default]
        AllowValidOnly = "AllowValidOnly",
        /// It is let in.
        AllowInsecureFallback = "AllowInsecureFallback",
    }
}

/// What the controller says of a [`Gateway`].
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#gatewaystatus>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Addresses that the gateway is reached at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayStatusAddress>,
    /// One per condition type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// One per listener of the Gateway itself, in the order of the specification.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
    /// How many `ListenerSets` are attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<i32>,
}

/// An address that a gateway is reached at.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#gatewaystatusaddress>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GatewayStatusAddress {
    /// What the value is; an IP address where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<AddressType>,
    /// The address.
    pub value: String,
    /// From where the address is reached; wherever the implementation serves where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routability: Option<AddressRoutability>,
}
