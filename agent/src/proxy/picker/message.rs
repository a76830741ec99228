//! The messages of the protocol, and those that we send.

use bytes::Bytes;
use http::HeaderMap;
use prost_types::{ListValue, Struct, Value, value::Kind};
use proto::envoy::config::core::v3;
pub use proto::envoy::{
    config::core::v3::{HeaderValue, HeaderValueOption, Metadata, header_value_option::HeaderAppendAction},
    extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode,
    service::ext_proc::v3::*,
};

use processing_request::Request;

/// Headers and metadata by which pickers name endpoints.
pub const DESTINATION: &str = "x-gateway-destination-endpoint";
/// Namespace of [`DESTINATION`] and of the endpoint that served.
pub const NAMESPACE: &str = "envoy.lb";
const SERVED: &str = "x-gateway-destination-endpoint-served";
const SUBSET_NAMESPACE: &str = "envoy.lb.subset_hint";
const SUBSET: &str = "x-gateway-destination-endpoint-subset";

/// Longest body of a message in bytes, as pickers themselves send them: small enough for every limit on gRPC messages.
pub const LONGEST_CHUNK: usize = 62_000;

/// What the first message says of those that follow.
#[must_use]
pub const fn protocol() -> ProtocolConfiguration {
    ProtocolConfiguration {
        request_body_mode: BodySendMode::FullDuplexStreamed as i32,
        response_body_mode: BodySendMode::FullDuplexStreamed as i32,
        send_body_without_waiting_for_header_response: true,
    }
}

/// A part of a request or response.
#[must_use]
pub const fn message(request: Request) -> ProcessingRequest {
    ProcessingRequest {
        request: Some(request),
        metadata_context: None,
        protocol_config: None,
    }
}

/// A chunk of a body.
#[must_use]
pub const fn body(body: Bytes, end_of_stream: bool) -> HttpBody {
    HttpBody { body, end_of_stream }
}

/// Headers, pseudo headers first.
#[must_use]
pub fn header_map<'a>(
    pseudo: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    headers: &HeaderMap,
) -> v3::HeaderMap {
    let header = |key: String, value: &[u8]| HeaderValue {
        key,
        value: String::new(),
        raw_value: Bytes::copy_from_slice(value),
    };
    let pseudo = pseudo
        .into_iter()
        .map(|(name, value)| header(name.to_owned(), value));
    let headers = headers
        .iter()
        .map(|(name, value)| header(name.as_str().to_owned(), value.as_bytes()));
    v3::HeaderMap {
        headers: pseudo.chain(headers).collect(),
    }
}

/// Whether headers are those of a call of gRPC.
#[must_use]
pub fn is_grpc(headers: &HttpHeaders) -> bool {
    let mut headers = headers.headers.iter().flat_map(|map| &map.headers);
    headers.any(|header| header.key == "content-type" && header.raw_value.starts_with(b"application/grpc"))
}

/// The endpoints that the picker may choose from.
#[must_use]
pub fn subset(endpoints: impl IntoIterator<Item = String>) -> Metadata {
    let values = endpoints.into_iter().map(text).collect();
    metadata(
        SUBSET_NAMESPACE,
        SUBSET,
        Kind::ListValue(ListValue { values }).into(),
    )
}

/// The endpoint that serves the request.
#[must_use]
pub fn served(endpoint: String) -> Metadata {
    metadata(NAMESPACE, SERVED, text(endpoint))
}

/// The endpoints that a message's dynamic metadata names.
#[must_use]
pub fn destination(metadata: &Struct) -> Option<&str> {
    let Some(Kind::StructValue(fields)) = &metadata.fields.get(NAMESPACE)?.kind else {
        return None;
    };
    match &fields.fields.get(DESTINATION)?.kind {
        Some(Kind::StringValue(endpoints)) if !endpoints.is_empty() => Some(endpoints),
        _ => None,
    }
}

fn metadata(namespace: &str, key: &str, value: Value) -> Metadata {
    let fields = [(key.to_owned(), value)].into();
    Metadata {
        filter_metadata: [(namespace.to_owned(), Struct { fields })].into(),
    }
}

fn text(text: String) -> Value {
    Kind::StringValue(text).into()
}
