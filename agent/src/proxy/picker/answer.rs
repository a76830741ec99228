//! The picker's own answer to a request.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

use super::{
    message::{GrpcStatus, ImmediateResponse},
    mutation,
    violation::{MOST_HEADERS, Violation},
};

/// The response that a picker wants instead of the endpoint's. A status of gRPC is for calls of gRPC alone.
pub(super) fn answer(immediate: ImmediateResponse, is_grpc: bool) -> Result<Response<Bytes>, Violation> {
    let ImmediateResponse {
        status,
        headers,
        body,
        grpc_status,
    } = immediate;
    let code = status.unwrap_or_default().code;
    let status = u16::try_from(code)
        .ok()
        .filter(|code| (200..600).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(Violation::Status(code))?;
    let mut response = match grpc_status.filter(|_| is_grpc) {
        Some(grpc_status) => of_grpc(grpc_status, &body),
        None => of_http(status, body),
    };
    if let Some(mutation) = headers {
        if mutation::size(&mutation) > MOST_HEADERS {
            return Err(Violation::Headers);
        }
        mutation::apply(mutation, response.headers_mut());
    }
    Ok(response)
}

fn of_http(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut headers = HeaderMap::new();
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A response without messages, which has its status in the headers; see
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses>.
fn of_grpc(status: GrpcStatus, message: &[u8]) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", status.status.into());
    let message = HeaderValue::from_str(&percent_encoded(message)).expect("what is encoded is visible ASCII");
    headers.insert("grpc-message", message);
    response
}

fn percent_encoded(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            b' '..=b'~' if *byte != b'%' => char::from(*byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proto::envoy::r#type::v3::HttpStatus;

    use super::*;
    use crate::proxy::picker::message::{self, HeaderMutation, HeaderValueOption};

    fn immediate(code: i32) -> ImmediateResponse {
        let header = message::HeaderValue {
            key: "x-llm-d-request-dropped-reason".to_owned(),
            raw_value: Bytes::from_static(b"rejected-ttl-expired"),
            ..message::HeaderValue::default()
        };
        ImmediateResponse {
            status: Some(HttpStatus { code }),
            headers: Some(HeaderMutation {
                set_headers: vec![HeaderValueOption {
                    header: Some(header),
                    ..HeaderValueOption::default()
                }],
                remove_headers: Vec::new(),
            }),
            body: Bytes::from_static(b"try again in 5 % of a day\n"),
            grpc_status: None,
        }
    }

    #[test]
    fn status_headers_and_body_are_the_pickers() {
        let response = answer(immediate(429), false).unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(
            response.headers()["x-llm-d-request-dropped-reason"],
            "rejected-ttl-expired"
        );
        assert_eq!(response.headers()["content-type"], "text/plain");
        assert_eq!(response.body(), "try again in 5 % of a day\n");
    }

    #[test]
    fn a_status_of_grpc_is_said_as_grpc_says_it_and_to_nobody_else() {
        let both = || ImmediateResponse {
            grpc_status: Some(GrpcStatus { status: 8 }),
            ..immediate(429)
        };
        assert_eq!(answer(both(), false).unwrap().status(), 429);
        let response = answer(both(), true).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "8");
        assert_eq!(
            response.headers()["grpc-message"],
            "try again in 5 %25 of a day%0A"
        );
        assert!(response.body().is_empty());
    }

    #[test]
    fn what_is_no_final_status_is_no_answer() {
        for code in [-1, 0, 100, 199, 600, 65_736] {
            assert_eq!(
                answer(immediate(code), false).unwrap_err(),
                Violation::Status(code)
            );
        }
    }
}
