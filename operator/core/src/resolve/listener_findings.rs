//! What is wrong with listeners.

use super::finding::{Finding, reasons};

/// What is wrong with a listener, by condition.
#[derive(Clone, Debug, Default)]
pub struct ListenerFindings {
    /// Why it is not accepted.
    pub refusals: Vec<Finding<ListenerRefusal>>,
    /// Which other listener it cannot be told from.
    pub conflict: Option<Finding<Conflict>>,
    /// References that lead nowhere; the rest of the listener is served as far as possible.
    pub unresolved: Vec<Finding<UnresolvedReference>>,
    /// Another listener with TLS of the port that has hosts in common with it, if there is one.
    pub overlap: Option<String>,
    /// What it asks for that has no effect.
    pub notes: Vec<String>,
}

reasons! {
    /// Why a listener is not accepted.
    ///
    /// See <https://gateway-api.sigs.k8s.io/reference/spec/#listenerconditionreason>.
    pub enum ListenerRefusal {
        /// The port cannot be listened on.
        PortUnavailable = "PortUnavailable",
        /// We do not speak that.
        UnsupportedProtocol = "UnsupportedProtocol",
        /// No client could be verified.
        NoValidCaCertificate = "NoValidCACertificate",
        /// A field has a value that we cannot serve.
        UnsupportedValue = "UnsupportedValue",
    }
}

reasons! {
    /// Why a listener cannot be told from another.
    pub enum Conflict {
        /// Both take the same hosts.
        HostnameConflict = "HostnameConflict",
        /// Both have the same port for different protocols.
        ProtocolConflict = "ProtocolConflict",
    }
}

reasons! {
    /// Why a reference of a listener leads nowhere.
    pub enum UnresolvedReference {
        /// A certificate does not exist or cannot be used.
        InvalidCertificateRef = "InvalidCertificateRef",
        /// A kind of routes cannot attach.
        InvalidRouteKinds = "InvalidRouteKinds",
        /// The other namespace does not permit it.
        RefNotPermitted = "RefNotPermitted",
        /// The certificate of an authority does not exist or cannot be used.
        InvalidCaCertificateRef = "InvalidCACertificateRef",
        /// The certificate of an authority is asked of a kind that holds none.
        InvalidCaCertificateKind = "InvalidCACertificateKind",
    }
}

impl ListenerFindings {
    pub(super) fn refuse_value(&mut self, message: String) {
        self.refusals
            .push(Finding::new(ListenerRefusal::UnsupportedValue, message));
    }
}
