use std::fmt::Write as _;

use http::HeaderName;
use prost::Message as _;
use proto::envoy::{config::core::v3::HeaderMap as ShownHeaders, r#type::v3::HttpStatus};

use super::*;
use crate::proxy::picker::{
    message::{
        CommonResponse, GrpcStatus, HeaderValue, HeaderValueOption, ImmediateResponse, StreamedBodyResponse,
        common_response::ResponseStatus,
    },
    violation::MOST_HEADERS,
};

const LIMIT: usize = 1000;
const ENDPOINT: &str = "10.0.0.1:8000";

fn exchange() -> Exchange {
    Exchange::new(None, LIMIT)
}

/// An exchange whose request of one chunk was shown.
fn asked(body: &'static str) -> Exchange {
    let mut exchange = exchange();
    exchange.show_request(HttpHeaders::default());
    exchange.show_request_chunk(body.into(), true);
    exchange
}

/// An exchange whose request without a body was answered, and the head of whose response was shown.
fn responded() -> Exchange {
    let mut exchange = exchange();
    exchange.show_request(end());
    exchange.take(picked()).unwrap();
    exchange.choice().unwrap().unwrap();
    exchange.show_response(HttpHeaders::default(), message::served(ENDPOINT.to_owned()));
    exchange
}

fn end() -> HttpHeaders {
    HttpHeaders {
        end_of_stream: true,
        ..HttpHeaders::default()
    }
}

fn response(response: Response) -> ProcessingResponse {
    ProcessingResponse {
        response: Some(response),
        dynamic_metadata: None,
    }
}

fn header(key: &str, value: &str) -> HeaderMutation {
    let header = HeaderValue {
        key: key.to_owned(),
        value: String::new(),
        raw_value: Bytes::copy_from_slice(value.as_bytes()),
    };
    HeaderMutation {
        set_headers: vec![HeaderValueOption {
            header: Some(header),
            ..HeaderValueOption::default()
        }],
        remove_headers: Vec::new(),
    }
}

fn common(header_mutation: Option<HeaderMutation>, mutation: Option<Mutation>) -> CommonResponse {
    CommonResponse {
        header_mutation,
        body_mutation: mutation.map(|mutation| BodyMutation {
            mutation: Some(mutation),
        }),
        ..CommonResponse::default()
    }
}

/// Headers answered with an endpoint in a header.
fn picked() -> ProcessingResponse {
    let response_of = common(Some(header(message::DESTINATION, ENDPOINT)), None);
    response(Response::RequestHeaders(HeadersResponse {
        response: Some(response_of),
    }))
}

/// The same with another body for the request.
fn picked_with_body() -> ProcessingResponse {
    let mut common = common(
        Some(header(message::DESTINATION, ENDPOINT)),
        Some(Mutation::Body("new".into())),
    );
    common.set_status(ResponseStatus::ContinueAndReplace);
    response(Response::RequestHeaders(HeadersResponse {
        response: Some(common),
    }))
}

fn request_body(mutation: Option<Mutation>) -> ProcessingResponse {
    let response_of = common(None, mutation);
    response(Response::RequestBody(BodyResponse {
        response: Some(response_of),
    }))
}

fn response_body(mutation: Option<Mutation>) -> ProcessingResponse {
    let response_of = common(None, mutation);
    response(Response::ResponseBody(BodyResponse {
        response: Some(response_of),
    }))
}

fn response_headers() -> ProcessingResponse {
    let response_of = common(Some(header("x-went-into-resp-headers", "true")), None);
    response(Response::ResponseHeaders(HeadersResponse {
        response: Some(response_of),
    }))
}

fn streamed(body: &'static str, end_of_stream: bool) -> Mutation {
    Mutation::StreamedResponse(StreamedBodyResponse {
        body: body.into(),
        end_of_stream,
    })
}

fn refusal() -> ProcessingResponse {
    response(Response::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus { code: 429 }),
        body: "busy".into(),
        ..ImmediateResponse::default()
    }))
}

fn with_metadata(list: &str, mut message: ProcessingResponse) -> ProcessingResponse {
    // What is served has the shape of what is chosen.
    let mut metadata = message::served(list.to_owned()).filter_metadata;
    let fields = metadata.remove(message::NAMESPACE).unwrap().fields;
    let value = fields.into_values().next().unwrap();
    let inner = prost_types::Struct {
        fields: [(message::DESTINATION.to_owned(), value)].into(),
    };
    let inner = prost_types::value::Kind::StructValue(inner).into();
    message.dynamic_metadata = Some(prost_types::Struct {
        fields: [(message::NAMESPACE.to_owned(), inner)].into(),
    });
    message
}

/// The endpoints and the body of the choice.
fn chosen(exchange: &mut Exchange) -> Option<(String, String)> {
    match exchange.choice()?.unwrap() {
        Choice::Endpoints { list, body, .. } => Some((list, text(body))),
        Choice::Answer(answer) => panic!("answered with {answer:?}"),
    }
}

fn text(chunks: impl IntoIterator<Item = Bytes>) -> String {
    chunks.into_iter().fold(String::new(), |mut text, chunk| {
        write!(text, "{}", std::str::from_utf8(&chunk).unwrap()).unwrap();
        text
    })
}

fn passed(exchange: &mut Exchange) -> String {
    text(std::iter::from_fn(|| exchange.response_mut().body.take_ready()))
}

#[test]
fn the_first_message_says_how_bodies_are_sent_and_all_say_the_subset() {
    let subset = message::subset([ENDPOINT.to_owned()]);
    let mut exchange = Exchange::new(Some(subset.clone()), LIMIT);
    let first = exchange.show_request(HttpHeaders::default());
    assert_eq!(first.protocol_config, Some(message::protocol()));
    let second = exchange.show_request_chunk("body".into(), true).unwrap();
    assert_eq!(second.protocol_config, None);
    for message in [first, second] {
        assert_eq!(message.metadata_context.as_ref(), Some(&subset));
    }
}

#[test]
fn a_request_without_a_body_is_chosen_for_by_its_headers() {
    let mut exchange = exchange();
    let message = exchange.show_request(end());
    assert!(matches!(message.request, Some(Request::RequestHeaders(headers)) if headers.end_of_stream));
    assert_eq!(chosen(&mut exchange), None);
    exchange.take(picked()).unwrap();
    assert_eq!(chosen(&mut exchange), Some((ENDPOINT.to_owned(), String::new())));
}

#[test]
fn a_choice_needs_the_headers_and_the_body_in_any_order() {
    for body_first in [true, false] {
        let mut messages = vec![picked(), request_body(Some(streamed("new", true)))];
        if body_first {
            messages.reverse();
        }
        let mut exchange = asked("old");
        let mut messages = messages.into_iter();
        exchange.take(messages.next().unwrap()).unwrap();
        assert_eq!(chosen(&mut exchange), None);
        exchange.take(messages.next().unwrap()).unwrap();
        assert_eq!(
            chosen(&mut exchange),
            Some((ENDPOINT.to_owned(), "new".to_owned()))
        );
    }
}

#[test]
fn a_body_answered_without_mutation_is_kept() {
    let mut exchange = exchange();
    exchange.show_request(HttpHeaders::default());
    exchange.show_request_chunk("one ".into(), false);
    exchange.take(request_body(None)).unwrap();
    exchange.show_request_chunk("two".into(), true);
    exchange.take(picked()).unwrap();
    assert_eq!(chosen(&mut exchange), None);
    exchange.take(request_body(None)).unwrap();
    assert_eq!(
        chosen(&mut exchange),
        Some((ENDPOINT.to_owned(), "one two".to_owned()))
    );
}

#[test]
fn metadata_goes_before_headers_whichever_comes_first() {
    let messages = [
        vec![with_metadata("10.0.0.2:1", picked())],
        vec![picked(), with_metadata("10.0.0.2:1", request_body(None))],
        vec![with_metadata("10.0.0.2:1", request_body(None)), picked()],
    ];
    for messages in messages {
        let mut exchange = asked("body");
        for message in messages {
            exchange.take(message).unwrap();
        }
        exchange.end();
        assert_eq!(chosen(&mut exchange).unwrap().0, "10.0.0.2:1");
    }
}

#[test]
fn metadata_that_names_nobody_leaves_the_choice_to_the_header() {
    let mut exchange = asked("body");
    exchange.take(with_metadata("", picked())).unwrap();
    exchange.end();
    assert_eq!(chosen(&mut exchange).unwrap().0, ENDPOINT);
}

#[test]
fn metadata_of_another_namespace_chooses_nothing() {
    let mut message = with_metadata("10.0.0.2:1", request_body(None));
    let metadata = message.dynamic_metadata.as_mut().unwrap();
    let fields = metadata.fields.remove(message::NAMESPACE).unwrap();
    metadata.fields.insert("envoy.lb.other".to_owned(), fields);
    let mut exchange = asked("body");
    exchange.take(message).unwrap();
    exchange.take(picked()).unwrap();
    assert_eq!(chosen(&mut exchange).unwrap().0, ENDPOINT);
}

#[test]
fn headers_without_an_endpoint_are_no_choice() {
    let mut exchange = exchange();
    exchange.show_request(end());
    exchange
        .take(response(Response::RequestHeaders(HeadersResponse::default())))
        .unwrap();
    assert_eq!(exchange.choice().unwrap().unwrap_err(), Violation::NoChoice);
}

#[test]
fn a_picker_that_leaves_after_its_choice_lets_the_body_go_on() {
    let mut exchange = exchange();
    exchange.show_request(HttpHeaders::default());
    exchange.show_request_chunk("one ".into(), false);
    exchange.take(picked()).unwrap();
    exchange.end();
    assert_eq!(chosen(&mut exchange), None);
    assert_eq!(exchange.show_request_chunk("two".into(), true), None);
    assert_eq!(
        chosen(&mut exchange),
        Some((ENDPOINT.to_owned(), "one two".to_owned()))
    );
    assert_eq!(
        exchange.show_response(HttpHeaders::default(), Metadata::default()),
        None
    );
}

#[test]
fn a_picker_that_leaves_before_its_choice_has_made_none() {
    let mut exchange = asked("body");
    exchange.end();
    assert_eq!(exchange.choice().unwrap().unwrap_err(), Violation::NoChoice);
}

#[test]
fn a_refusal_may_come_at_any_time_before_the_choice_is_taken() {
    for before in [
        vec![],
        vec![picked()],
        vec![picked(), request_body(Some(streamed("body", true)))],
    ] {
        let mut exchange = asked("body");
        for message in before {
            exchange.take(message).unwrap();
        }
        exchange.take(refusal()).unwrap();
        let Some(Ok(Choice::Answer(answer))) = exchange.choice() else {
            panic!("not answered");
        };
        assert_eq!(
            (answer.status().as_u16(), &answer.body()[..]),
            (429, &b"busy"[..])
        );
    }
}

#[test]
fn a_refusal_may_come_during_the_response() {
    let mut exchange = responded();
    exchange.take(response_headers()).unwrap();
    exchange.take(refusal()).unwrap();
    assert_eq!(exchange.answer().unwrap().status(), 429);
}

#[test]
fn a_refusal_of_a_call_of_grpc_is_one_too() {
    let mut exchange = exchange();
    let content_type = HeaderValue {
        key: "content-type".to_owned(),
        raw_value: "application/grpc+proto".into(),
        ..HeaderValue::default()
    };
    exchange.show_request(HttpHeaders {
        headers: Some(ShownHeaders {
            headers: vec![content_type],
        }),
        end_of_stream: true,
    });
    let immediate = ImmediateResponse {
        status: Some(HttpStatus { code: 429 }),
        grpc_status: Some(GrpcStatus { status: 8 }),
        ..ImmediateResponse::default()
    };
    exchange
        .take(response(Response::ImmediateResponse(immediate)))
        .unwrap();
    assert!(
        matches!(exchange.choice(), Some(Ok(Choice::Answer(answer))) if answer.headers().contains_key("grpc-status"))
    );
}

#[test]
fn a_body_may_be_replaced_with_the_headers() {
    let mut exchange = asked("old");
    exchange.take(picked_with_body()).unwrap();
    assert_eq!(chosen(&mut exchange).unwrap().1, "new");
}

#[test]
fn a_body_may_be_added_with_the_headers() {
    let mut exchange = exchange();
    exchange.show_request(end());
    exchange.take(picked_with_body()).unwrap();
    assert_eq!(chosen(&mut exchange).unwrap().1, "new");
}

#[test]
fn a_body_that_is_returned_where_there_is_none_is_nothing() {
    for end_of_stream in [true, false] {
        let mut exchange = exchange();
        exchange.show_request(end());
        exchange
            .take(request_body(Some(streamed("returned", end_of_stream))))
            .unwrap();
        exchange.take(picked()).unwrap();
        assert_eq!(chosen(&mut exchange), Some((ENDPOINT.to_owned(), String::new())));
        exchange.show_response(end(), Metadata::default());
        exchange
            .take(response_body(Some(streamed("returned", end_of_stream))))
            .unwrap();
        assert!(exchange.response().is_complete());
        assert_eq!(passed(&mut exchange), "");
    }
}

#[test]
fn modes_and_deadlines_that_a_picker_wants_change_nothing() {
    let mut message = picked().encode_to_vec();
    // `mode_override`, `override_message_timeout` and `request_drain` as Envoy numbers them.
    message.extend([0x4a, 2, 0x08, 2, 0x52, 2, 0x08, 60, 0x58, 1]);
    assert_eq!(ProcessingResponse::decode(message.as_slice()).unwrap(), picked());
}

#[test]
fn an_endpoint_may_be_named_in_a_value_of_text() {
    let mut exchange = exchange();
    exchange.show_request(end());
    let mut message = picked();
    let Some(Response::RequestHeaders(HeadersResponse {
        response: Some(common),
    })) = &mut message.response
    else {
        unreachable!("it answers headers");
    };
    let mutation = common.header_mutation.as_mut().unwrap();
    let header = mutation.set_headers[0].header.as_mut().unwrap();
    header.raw_value.clear();
    header.value = "10.0.0.3:1".to_owned();
    exchange.take(message).unwrap();
    assert_eq!(chosen(&mut exchange).unwrap().0, "10.0.0.3:1");
}

#[test]
fn megabytes_of_headers_end_the_exchange() {
    let mut exchange = asked("body");
    let value = "x".repeat(MOST_HEADERS);
    let common = common(Some(header("x-a", &value)), None);
    let message = response(Response::RequestHeaders(HeadersResponse {
        response: Some(common),
    }));
    assert_eq!(exchange.take(message).unwrap_err(), Violation::Headers);
    assert!(exchange.is_gone());
}

#[test]
fn a_returned_body_without_an_end_ends_the_exchange() {
    let mut exchange = asked("body");
    let half = || StreamedBodyResponse {
        body: vec![b'x'; LIMIT / 2].into(),
        end_of_stream: false,
    };
    let returned = || request_body(Some(Mutation::StreamedResponse(half())));
    exchange.take(returned()).unwrap();
    exchange.take(returned()).unwrap();
    assert_eq!(exchange.take(returned()).unwrap_err(), Violation::Body);
}

#[test]
fn answers_to_what_was_not_asked_are_nothing() {
    let mut exchange = asked("body");
    exchange.take(response_headers()).unwrap();
    exchange
        .take(response_body(Some(streamed("early", true))))
        .unwrap();
    exchange.take(ProcessingResponse::default()).unwrap();
    exchange.take(request_body(None)).unwrap();
    exchange.take(picked()).unwrap();
    assert_eq!(chosen(&mut exchange).unwrap().1, "body");
    exchange.show_response(HttpHeaders::default(), Metadata::default());
    assert!(!exchange.response().are_headers_answered);
    exchange.take(request_body(Some(streamed("late", true)))).unwrap();
    assert_eq!(passed(&mut exchange), "");
}

#[test]
fn the_head_of_the_response_says_who_served() {
    let mut exchange = exchange();
    exchange.show_request(end());
    exchange.take(picked()).unwrap();
    chosen(&mut exchange);
    let served = message::served(ENDPOINT.to_owned());
    let message = exchange
        .show_response(HttpHeaders::default(), served.clone())
        .unwrap();
    assert_eq!(message.metadata_context, Some(served));
    assert!(!exchange.response().are_headers_answered);
    exchange.take(response_headers()).unwrap();
    assert!(exchange.response().are_headers_answered);
    assert_eq!(
        exchange.response_mut().mutations(),
        [header("x-went-into-resp-headers", "true")]
    );
}

#[test]
fn a_response_ends_with_the_endpoints_own_end() {
    let mut exchange = responded();
    exchange.take(response_headers()).unwrap();
    exchange.show_response_chunk("one ".into(), false);
    exchange.show_response_chunk("two".into(), false);
    exchange.take(response_body(None)).unwrap();
    exchange.take(response_body(None)).unwrap();
    assert!(!exchange.response().is_complete());
    exchange.show_response_chunk(Bytes::new(), true);
    exchange.take(response_body(None)).unwrap();
    assert!(exchange.response().is_complete());
    assert_eq!(passed(&mut exchange), "one two");
}

#[test]
fn trailers_come_through_after_the_pickers_last_chunk() {
    let mut exchange = responded();
    exchange.take(response_headers()).unwrap();
    exchange.show_response_chunk("body".into(), false);
    exchange.take(response_body(Some(streamed("all", true)))).unwrap();
    assert!(!exchange.response().is_complete());
    assert!(exchange.show_response_trailers(HeaderMap::new()).is_some());
    exchange.end();
    assert!(exchange.response().is_complete());
    assert_eq!(passed(&mut exchange), "all");
}

#[test]
fn a_response_goes_on_when_the_picker_dies() {
    let mut exchange = responded();
    exchange.show_response_chunk("one ".into(), false);
    exchange.show_response_chunk("two ".into(), false);
    exchange
        .take(response_body(Some(streamed("one ", false))))
        .unwrap();
    exchange.lose();
    assert!(exchange.response().are_headers_answered);
    assert_eq!(exchange.show_response_chunk("three".into(), true), None);
    assert!(exchange.response().is_complete());
    assert_eq!(passed(&mut exchange), "one two three");
}

#[test]
fn trailers_wait_for_their_answer_and_are_mutated() {
    let mut exchange = responded();
    exchange.take(response_headers()).unwrap();
    exchange.show_response_chunk("body".into(), false);
    exchange
        .take(response_body(Some(streamed("body", false))))
        .unwrap();
    let trailers = [(
        HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static("0"),
    )];
    let message = exchange
        .show_response_trailers(trailers.into_iter().collect())
        .unwrap();
    assert!(matches!(message.request, Some(Request::ResponseTrailers(_))));
    assert!(!exchange.response().is_complete());
    let mutation = TrailersResponse {
        header_mutation: Some(header("x-cost", "3")),
    };
    exchange
        .take(response(Response::ResponseTrailers(mutation)))
        .unwrap();
    assert!(exchange.response().is_complete());
    let trailers = exchange.response_mut().trailers().unwrap();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["x-cost"]),
        (&"0".parse().unwrap(), &"3".parse().unwrap())
    );
}
