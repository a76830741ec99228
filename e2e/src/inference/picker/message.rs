//! Parts of messages, as pickers write them and gateways are to read them.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use prost_types::{Struct, Value, value::Kind};
use proto::envoy::{
    config::core::v3::{HeaderValue, HeaderValueOption},
    service::ext_proc::v3::{
        BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, HttpHeaders,
        ProcessingRequest, StreamedBodyResponse, body_mutation::Mutation,
    },
};

/// Where a picker names its choice, in the metadata's namespace `envoy.lb` and in a header.
pub const DESTINATION: &str = "x-gateway-destination-endpoint";

/// Where a gateway says who served a request, in the metadata's namespace `envoy.lb`.
pub const SERVED: &str = "x-gateway-destination-endpoint-served";

/// The namespace of both.
pub const NAMESPACE: &str = "envoy.lb";

/// Headers to set, for a request or a response.
pub fn headers_response(headers: &[(&str, &str)]) -> HeadersResponse {
    HeadersResponse {
        response: Some(CommonResponse {
            header_mutation: Some(mutation(headers)),
            ..CommonResponse::default()
        }),
    }
}

/// The next of a body, for a request or a response.
pub fn streamed(body: Bytes, end_of_stream: bool) -> BodyResponse {
    BodyResponse {
        response: Some(CommonResponse {
            body_mutation: Some(BodyMutation {
                mutation: Some(Mutation::StreamedResponse(StreamedBodyResponse {
                    body,
                    end_of_stream,
                })),
            }),
            ..CommonResponse::default()
        }),
    }
}

/// Dynamic metadata that names endpoints.
pub fn destination(endpoints: &str) -> Struct {
    let value = |kind| Value { kind: Some(kind) };
    let destination = value(Kind::StringValue(endpoints.to_owned()));
    let inner = Struct {
        fields: BTreeMap::from([(DESTINATION.to_owned(), destination)]),
    };
    Struct {
        fields: BTreeMap::from([(NAMESPACE.to_owned(), value(Kind::StructValue(inner)))]),
    }
}

/// Who served the request, as a message says.
pub fn served(message: &ProcessingRequest) -> Option<String> {
    match metadata(message, NAMESPACE, SERVED)? {
        Kind::StringValue(served) => Some(served.clone()),
        _ => None,
    }
}

/// Headers with their values, from whichever field they are in.
pub fn pairs(headers: &HttpHeaders) -> Vec<(String, String)> {
    let headers = headers.headers.iter().flat_map(|map| &map.headers);
    let value = |header: &HeaderValue| {
        if header.raw_value.is_empty() {
            header.value.clone()
        } else {
            String::from_utf8_lossy(&header.raw_value).into_owned()
        }
    };
    headers
        .map(|header| (header.key.clone(), value(header)))
        .collect()
}

/// A change of headers.
pub(super) fn mutation(headers: &[(&str, &str)]) -> HeaderMutation {
    let set = headers.iter().map(|(name, value)| HeaderValueOption {
        header: Some(HeaderValue {
            key: (*name).to_owned(),
            value: String::new(),
            raw_value: Bytes::copy_from_slice(value.as_bytes()),
        }),
        ..HeaderValueOption::default()
    });
    HeaderMutation {
        set_headers: set.collect(),
        remove_headers: Vec::new(),
    }
}

/// The addresses that a message limits the choice to.
pub(super) fn subset(message: &ProcessingRequest) -> Option<Vec<String>> {
    let name = "x-gateway-destination-endpoint-subset";
    match metadata(message, "envoy.lb.subset_hint", name)? {
        Kind::ListValue(list) => list
            .values
            .iter()
            .map(|value| match &value.kind {
                Some(Kind::StringValue(address)) => Some(address.clone()),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn metadata<'a>(message: &'a ProcessingRequest, namespace: &str, name: &str) -> Option<&'a Kind> {
    let spaces = &message.metadata_context.as_ref()?.filter_metadata;
    spaces.get(namespace)?.fields.get(name)?.kind.as_ref()
}
