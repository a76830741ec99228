use std::time::Duration;

use serde::Serialize;

use super::upstream::Protocol;
use crate::syntax::Id;

/// The way of a request through the agent's proxy, which does what NGINX cannot do exactly.
///
/// NGINX names it in the header [`Leg::HEADER`]; what it is to do is data, as `proto/flotilla/fleet.proto` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leg {
    /// Whose endpoints serve the request.
    pub upstream: Id,
    /// What they speak.
    pub protocol: Protocol,
    /// TLS to them; `None` for plain text.
    pub tls: Option<BackendTls>,
    /// For the whole request; `None` for no limit. See <https://gateway-api.sigs.k8s.io/geps/gep-1742/>.
    pub request_timeout: Option<Duration>,
    /// For one try at an endpoint; `None` for no limit.
    pub backend_request_timeout: Option<Duration>,
    /// When to try again; `None` for only where nothing of the request was sent.
    pub retry: Option<Retry>,
    /// Who chooses among the endpoints; `None` for the proxy, by fewest requests in flight.
    pub picker: Option<Picker>,
    /// Whether the endpoints serve models, of whose responses the proxy counts the tokens.
    pub metered: bool,
}

impl Leg {
    /// The header in which NGINX tells the proxy the name of the leg.
    pub const HEADER: &str = "x-flotilla-leg";

    /// Whether NGINX itself sends the requests to the endpoints while the proxy is gone, and what they want is nothing
    /// that only the proxy does.
    #[must_use]
    pub fn fails_open(&self) -> bool {
        self.tls.is_none() && self.picker.as_ref().is_some_and(|picker| picker.fail_open)
    }
}

/// When a request is sent again; see <https://gateway-api.sigs.k8s.io/geps/gep-1731/>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// Statuses of responses that are not final, in order.
    pub codes: Vec<u16>,
    /// Tries after the first.
    pub attempts: u32,
    /// Pause before each further try.
    pub backoff: Duration,
}

/// Who chooses among the endpoints of an `InferencePool`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Picker {
    /// Whose endpoints are the picker's.
    pub upstream: Id,
    /// TLS with it; `None` for plain text.
    pub tls: Option<BackendTls>,
    /// Whether the proxy chooses while the picker fails, instead of answering 503.
    pub fail_open: bool,
    /// Whether one of its endpoints is asked about all requests while the others stand by.
    pub one_leads: bool,
}

/// TLS with a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BackendTls {
    /// Name that is asked for in the handshake.
    pub server_name: String,
    /// What the server's certificate must hold; `None` takes any.
    pub verification: Option<Verification>,
    /// File below `certificates/` with the chain and key that the server is shown; `None` for none.
    pub client_certificate: Option<String>,
}

/// How a server's certificate is verified.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Verification {
    /// The authorities that are trusted, as PEM; `None` for those of the system.
    pub authorities: Option<String>,
    /// Names of which the certificate must hold one; with `uris` empty as well it must hold the name of the handshake.
    pub hostnames: Vec<String>,
    /// URIs of which the certificate must hold one, if it holds none of the names.
    pub uris: Vec<String>,
}

/// What holds for all legs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProxySettings {
    /// For a connection to an endpoint.
    pub connect: Duration,
    /// For the headers of a response after the end of the request.
    pub first_byte: Duration,
    /// For the next bytes of a body, in either direction.
    pub idle: Duration,
    /// For a connection to a picker.
    pub picker_connect: Duration,
    /// For a picker's choice, its own queueing included.
    pub picker: Duration,
    /// For what a picker makes of a part of a response, before it goes on without it.
    pub picker_response: Duration,
    /// Bytes of a request's body that are kept to send it again.
    pub replay_buffer: u64,
    /// Bytes of a request's body that a picker may look at.
    pub request_buffer: u64,
    /// Bytes of a response that wait for a picker before the endpoint is no longer read from.
    pub response_buffer: u64,
}

impl Default for ProxySettings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_mins(10),
            idle: Duration::from_mins(5),
            picker_connect: Duration::from_secs(2),
            picker: Duration::from_mins(1),
            picker_response: Duration::from_secs(5),
            replay_buffer: 1 << 20,
            request_buffer: 16 << 20,
            response_buffer: 256 << 10,
        }
    }
}
