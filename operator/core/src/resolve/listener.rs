//! Listeners, of Gateways and ListenerSets alike.

use crate::{
    config::ClientValidation,
    generation::Pem,
    object::ObjectKey,
    syntax::Hostname,
};

/// One listener.
#[derive(Debug)]
pub struct Listener {
    /// Whose it is.
    pub owner: ListenerOwner,
    /// Its name, unique in its owner.
    pub name: String,
    /// The port that clients connect to.
    pub port: u16,
    /// Hosts that it takes; `None` for all.
    pub hostname: Option<Hostname>,
    /// How it ends TLS; `None` for a protocol without.
    pub tls: Option<ListenerTls>,
    /// Whether it takes traffic: nothing is wrong with it that would keep it from doing so.
    pub serves: bool,
}

/// Whose listener it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListenerOwner {
    /// The Gateway's own.
    Gateway,
    /// One that a ListenerSet adds.
    ListenerSet(ObjectKey),
}

/// How a listener ends TLS.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    /// The certificates to choose from, never empty where the listener serves; the first is for clients that none
    /// of the others fits.
    pub certificates: Vec<Certificate>,
    /// How clients' certificates are verified.
    pub client: Option<ClientValidation>,
}

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
