use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use serde::Serialize;

use super::action::Action;
use crate::syntax::{Hostname, Id, Path};

/// What serves one hostname on one port.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Server {
    /// Where it listens.
    pub listen: Listen,
    /// Hosts that it answers for; `None` for all that no other server of the port answers for.
    pub hostname: Option<Hostname>,
    /// `None` where it speaks plain HTTP.
    pub tls: Option<ServerTls>,
    /// Where paths lead, in order; a path that none covers is answered with 404.
    pub locations: Vec<Location>,
    /// What is reached from other locations of this server only, by name.
    pub internal: BTreeMap<Internal, Arc<Action>>,
}

/// An address and port to listen on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Listen {
    /// `None` for every address of the machine.
    pub address: Option<IpAddr>,
    /// The port that NGINX binds.
    pub port: u16,
    /// Whether this server also takes the requests for hosts that no server of the port names.
    pub default: bool,
}

/// How a server ends TLS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum ServerTls {
    /// No listener covers these hosts, or theirs has no certificate: handshakes are refused.
    Reject,
    /// Handshakes are done with these certificates.
    Terminate {
        /// The certificates to choose from.
        certificates: Certificates,
        /// How clients' certificates are verified; `None` if none is asked for.
        client: Option<ClientValidation>,
        /// Number of the listener that this server belongs to, as in [`Misdirected`]; `None` where requests cannot
        /// be misdirected, as the port has one listener only.
        listener: Option<usize>,
    },
}

/// Server certificates, as names of files in the folder `certificates/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Certificates {
    /// The one for hosts that none of `by_host` covers.
    pub default: String,
    /// Certificates for further hosts, the most specific name first.
    pub by_host: Vec<(Hostname, String)>,
}

/// Verification of clients' certificates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ClientValidation {
    /// The authorities that are trusted, as PEM.
    pub authorities: String,
    /// Whether clients without a certificate, or with one that does not verify, are let in all the same.
    pub optional: bool,
}

/// Which listener of a port a host belongs to.
///
/// A request whose host belongs to another listener than the name of its TLS handshake is answered with 421, see
/// <https://gateway-api.sigs.k8s.io/geps/gep-3567/>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Misdirected {
    /// Number of the listener for each hostname, the most specific one first.
    pub listeners: Vec<(Hostname, usize)>,
    /// Number of the listener without a hostname, if the port has one.
    pub default: Option<usize>,
}

/// Where the requests of a path lead.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Location {
    /// Which paths these are.
    pub path: LocationPath,
    /// What is done with them.
    pub then: Then,
}

/// The paths of a location.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum LocationPath {
    /// This path alone.
    Exact(Path),
    /// All paths below this one, which is written without a slash at its end; the root is `None`.
    Below(Option<Path>),
}

/// What a location does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Then {
    /// The one rule that can match here does so without conditions.
    Do(Arc<Action>),
    /// Several rules can match, one under conditions, or none.
    Dispatch(Id),
}

/// Name of a location that only NGINX itself can reach.
///
/// It is written without a leading slash: no request can have such a path, so no route can be shadowed and nothing
/// can be reached by guessing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Internal {
    /// A rule that a dispatch leads to.
    Rule(Id),
    /// One of a rule's backends, which a split leads to.
    Backend(Id),
    /// A copy of a request.
    Mirror(Id),
}
