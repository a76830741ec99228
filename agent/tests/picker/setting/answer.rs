//! What a picker says, and what it was told.

use agent::proxy::picker::message::{
    BodyMutation, BodyResponse, CommonResponse, DESTINATION, HeaderMutation, HeaderValue, HeaderValueOption,
    HeadersResponse, HttpHeaders, ImmediateResponse, StreamedBodyResponse, body_mutation::Mutation,
    processing_response::Response,
};
use bytes::Bytes;
use proto::envoy::r#type::v3::HttpStatus;

pub fn chosen(list: &str) -> Response {
    Response::RequestHeaders(headers(&[(DESTINATION, list)]))
}

pub fn headers(set: &[(&str, &str)]) -> HeadersResponse {
    let option = |(key, value): &(&str, &str)| HeaderValueOption {
        header: Some(HeaderValue {
            key: (*key).to_owned(),
            value: String::new(),
            raw_value: Bytes::copy_from_slice(value.as_bytes()),
        }),
        ..HeaderValueOption::default()
    };
    HeadersResponse {
        response: Some(CommonResponse {
            header_mutation: Some(HeaderMutation {
                set_headers: set.iter().map(option).collect(),
                remove_headers: Vec::new(),
            }),
            ..CommonResponse::default()
        }),
    }
}

pub fn streamed(body: impl Into<Bytes>, end_of_stream: bool) -> BodyResponse {
    let mutation = Some(Mutation::StreamedResponse(StreamedBodyResponse {
        body: body.into(),
        end_of_stream,
    }));
    BodyResponse {
        response: Some(CommonResponse {
            body_mutation: Some(BodyMutation { mutation }),
            ..CommonResponse::default()
        }),
    }
}

pub fn refusal() -> Response {
    Response::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus { code: 429 }),
        body: "busy".into(),
        ..ImmediateResponse::default()
    })
}

pub fn value<'a>(headers: &'a HttpHeaders, name: &str) -> Option<&'a [u8]> {
    let headers = &headers.headers.as_ref()?.headers;
    let header = headers.iter().find(|header| header.key == name)?;
    Some(&header.raw_value)
}
