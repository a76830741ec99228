//! Settings of the proxy beside NGINX.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::field_by_field;
use crate::api::{ByteSize, Duration};

/// Settings of the proxy beside NGINX, which has the requests that NGINX cannot send on exactly as they ask: those for an
/// `InferencePool`, and those of rules with timeouts, retries or TLS that NGINX cannot verify.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NginxProxy {
    /// How long the proxy waits for pickers and backends.
    #[serde(default, skip_serializing_if = "NginxProxyTimeouts::is_default")]
    pub timeouts: NginxProxyTimeouts,

    /// How much of a body the proxy holds for one request.
    #[serde(default, skip_serializing_if = "NginxProxyBuffers::is_default")]
    pub buffers: NginxProxyBuffers,
}

/// How long the proxy waits, each as hours, minutes, seconds and milliseconds such as `1m30s` or `500ms`; what a rule says
/// in its own timeouts ends its requests earlier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NginxProxyTimeouts {
    /// For a connection to a backend. Default: 5s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Duration>,

    /// For the headers of a backend's response after the end of the request; for a model server that does not stream,
    /// that is the whole generation. Default: 10m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Duration>,

    /// For the next bytes of a request's or response's body, not for all of it, or of a connection that has become a
    /// WebSocket's. Default: 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,

    /// For a connection to an endpoint picker. Default: 2s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picker_connect: Option<Duration>,

    /// For an endpoint picker's choice, the time that a request waits in its queue included. Default: 60s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picker: Option<Duration>,

    /// For what an endpoint picker makes of a part of a response that the client waits for; after that the response goes on
    /// without it. Default: 5s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picker_response: Option<Duration>,
}

/// How much of a body the proxy holds for one request, each in bytes or as a quantity such as `8Mi`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NginxProxyBuffers {
    /// Of a request's body, to send it again to another backend; a longer one is sent once. Default: 1Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<ByteSize>,

    /// Longest body of a request that an endpoint picker looks at; longer ones are answered with 413. Default: 16Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<ByteSize>,

    /// Of a response, while it waits for an endpoint picker. Default: 256Ki.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<ByteSize>,
}

field_by_field!(NginxProxy { timeouts, buffers });
field_by_field!(NginxProxyTimeouts {
    connect,
    first_byte,
    idle,
    picker_connect,
    picker,
    picker_response
});
field_by_field!(NginxProxyBuffers {
    replay,
    request,
    response
});
