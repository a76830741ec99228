//! Listeners: what a Gateway, and a `ListenerSet` for it, accepts connections for.
//!
//! The reference has the types twice, as `Listener` and `ListenerEntry`, with the same fields; here they are one.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use serde::{Deserialize, Serialize};

use super::string_enum::string_enum;
use super::{GATEWAY_GROUP, HttpExternalAuthFilter, LocalObjectReference, SecretObjectReference};

/// A port, protocol and hostname to accept connections for.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#listener>.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Name, unique within its object; what `sectionName` refers to.
    pub name: String,
    /// Hostname to accept, perhaps with a wildcard as its first label; every hostname where absent or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Port, which several listeners may share.
    pub port: i32,
    /// Protocol that clients speak.
    pub protocol: ProtocolType,
    /// How TLS is handled; only for the protocols HTTPS and TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTlsConfig>,
    /// Which routes may attach, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_routes: Option<AllowedRoutes>,
    /// What happens to every request before routing (experimental channel).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters: Option<ListenerFilters>,
}

impl Listener {
    /// Kinds of routes that may attach as the user narrowed them; empty for every kind that the protocol allows.
    #[must_use]
    pub fn allowed_kinds(&self) -> &[RouteGroupKind] {
        self.allowed_routes.as_ref().map_or(&[], |allowed| &allowed.kinds)
    }

    /// Namespaces that routes may attach from; by default only that of the Gateway or `ListenerSet`.
    #[must_use]
    pub fn allowed_namespaces(&self) -> &RouteNamespaces {
        const SAME: &RouteNamespaces = &RouteNamespaces {
            from: None,
            selector: None,
        };
        self.allowed_routes
            .as_ref()
            .and_then(|allowed| allowed.namespaces.as_ref())
            .unwrap_or(SAME)
    }
}

string_enum! {
    /// What clients speak; other implementations have domain-prefixed protocols of their own.
    pub enum ProtocolType {
        /// HTTP/1.1 and HTTP/2 without TLS.
        Http = "HTTP",
        /// HTTP/1.1 and HTTP/2 within TLS, which ends here.
        Https = "HTTPS",
        /// TLS, which ends here or is passed through by its server name.
        Tls = "TLS",
        /// TCP connections.
        Tcp = "TCP",
        /// UDP datagrams.
        Udp = "UDP",
    }
}

/// How a listener handles TLS; see <https://gateway-api.sigs.k8s.io/reference/spec/#listenertlsconfig>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTlsConfig {
    /// Where TLS ends, as written; read it with [`Self::mode`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<TlsModeType>,
    /// Certificates with their keys; the first is the one that a client without a better one gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificate_refs: Vec<SecretObjectReference>,
    /// Settings of implementations, by domain-prefixed name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

impl ListenerTlsConfig {
    /// Where TLS ends; here by default.
    #[must_use]
    pub fn mode(&self) -> &TlsModeType {
        self.mode.as_ref().unwrap_or(&TlsModeType::Terminate)
    }
}

string_enum! {
    /// Where TLS ends.
    #[derive(Default)]
    pub enum TlsModeType {
        /// At the gateway.
        #[default]
        Terminate = "Terminate",
        /// At the backend.
        Passthrough = "Passthrough",
    }
}

/// Which routes may attach; see <https://gateway-api.sigs.k8s.io/reference/spec/#allowedroutes>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AllowedRoutes {
    /// Namespaces, as written; read them with [`Listener::allowed_namespaces`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<RouteNamespaces>,
    /// Kinds; empty for every kind that the protocol allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<RouteGroupKind>,
}

/// Namespaces that routes may attach from.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#routenamespaces>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteNamespaces {
    /// Which namespaces, as written; read it with [`Self::from`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<FromNamespaces>,
    /// Labels of the namespaces, for [`FromNamespaces::Selector`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

impl RouteNamespaces {
    /// Which namespaces; only that of the Gateway or `ListenerSet` by default.
    #[must_use]
    pub fn from(&self) -> &FromNamespaces {
        self.from.as_ref().unwrap_or(&FromNamespaces::Same)
    }
}

string_enum! {
    /// Which namespaces something may come from.
    pub enum FromNamespaces {
        /// Every namespace.
        All = "All",
        /// Namespaces with the labels of the selector beside it.
        Selector = "Selector",
        /// The namespace of the object that says so.
        Same = "Same",
        /// No namespace; only for `ListenerSets`.
        None = "None",
    }
}

/// A kind of route; see <https://gateway-api.sigs.k8s.io/reference/spec/#routegroupkind>.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouteGroupKind {
    /// API group as written; read it with [`Self::group`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind, for example `HTTPRoute`.
    pub kind: String,
}

impl RouteGroupKind {
    /// API group; [`GATEWAY_GROUP`] by default.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(GATEWAY_GROUP)
    }
}

/// What happens to every request of a listener before routing (experimental channel).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListenerFilters {
    /// Filters, in the order in which they apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<ListenerRequestFilter>,
}

/// A filter before routing: its type, and the field of that name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerRequestFilter {
    /// Which of the fields below holds the filter.
    pub r#type: ListenerRequestFilterType,
    /// Asks a service whether the request may pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<HttpExternalAuthFilter>,
    /// A filter of an implementation's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalObjectReference>,
}

string_enum! {
    /// Which filter a [`ListenerRequestFilter`] is.
    pub enum ListenerRequestFilterType {
        /// [`ListenerRequestFilter::external_auth`].
        ExternalAuth = "ExternalAuth",
        /// [`ListenerRequestFilter::extension_ref`].
        ExtensionRef = "ExtensionRef",
    }
}

/// What the controller says of one listener.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#listenerstatus>.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// The listener's name.
    pub name: String,
    /// Kinds of routes that can attach; empty where the listener allows none that we know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supported_kinds: Vec<RouteGroupKind>,
    /// How many routes are attached, whether or not the listener works.
    #[serde(default)]
    pub attached_routes: i32,
    /// One per condition type.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
