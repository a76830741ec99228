use std::fmt;

use serde::Serialize;

use crate::syntax::Id;

/// Endpoints that share the load, found by asking the agent's name server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Upstream {
    /// Those of a Service's port.
    Service {
        /// Namespace of the Service.
        namespace: String,
        /// Name of the Service.
        service: String,
        /// The Service's port.
        port: u16,
    },
    /// Those of an `InferencePool`.
    Pool {
        /// Namespace of the pool.
        namespace: String,
        /// Name of the pool.
        pool: String,
        /// The ports of each pod that are endpoints, in order.
        ports: Vec<u16>,
    },
}

impl Upstream {
    /// Service of the SRV query that NGINX makes for an upstream's domain, without its underscore.
    pub const SERVICE: &str = "e";

    /// The domain that the upstream of that name resolves, without the final dot.
    #[must_use]
    pub fn domain(name: Id) -> String {
        format!("{name}.endpoints.flotilla")
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service {
                namespace,
                service,
                port,
            } => write!(formatter, "Service {namespace}/{service} port {port}"),
            Self::Pool {
                namespace,
                pool,
                ports: _,
            } => write!(formatter, "InferencePool {namespace}/{pool}"),
        }
    }
}

/// What endpoints speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Protocol {
    /// HTTP/1.1, WebSocket included.
    #[default]
    Http,
    /// HTTP/2 with prior knowledge where there is no TLS.
    H2c,
}

/// A random choice with fixed shares.
///
/// NGINX knows shares to a hundredth of a percent
/// (<https://nginx.org/en/docs/http/ngx_http_split_clients_module.html>); a smaller one is rounded up to that, and
/// zero stays zero.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Split {
    /// What tells this choice from others that are made for the same request.
    pub salt: &'static str,
    /// Values with their shares in hundredths of a percent, none of them zero, 10,000 in all.
    pub shares: Vec<(Share, u16)>,
}

/// What a split can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Share {
    /// An upstream.
    Upstream(Id),
    /// The internal location of a rule's backend.
    Backend(Id),
    /// To do something (true) or not.
    Flag(bool),
}
