use std::time::Duration;

use agent::proxy::{
    picker::{
        ask::{Asked, Failure, Refused},
        message::{BodyResponse, LONGEST_CHUNK, processing_response::Response, protocol},
    },
    settings::Settings,
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tonic::Status;

use crate::setting::{
    ENDPOINT, chosen, chunks, data, full, get, headers, post, refusal, streamed, text, together, value,
    with_picker, with_settings,
};

#[test]
fn the_body_is_shown_while_it_arrives() {
    with_picker(async |proxy, mut picker| {
        let (sender, body) = chunks();
        sender.send(data("one ")).unwrap();
        let script = async {
            let mut call = picker.call().await;
            let first = call.next().await.unwrap();
            assert_eq!(first.protocol_config, Some(protocol()));
            assert_eq!(call.body().await.body, "one ");
            sender.send(data("two")).unwrap();
            let second = call.body().await;
            assert_eq!((&second.body[..], second.end_of_stream), (&b"two"[..], false));
            drop(sender);
            let end = call.body().await;
            assert_eq!((&end.body[..], end.end_of_stream), (&b""[..], true));
            call.answer(chosen(ENDPOINT));
            call.answer(Response::RequestBody(streamed("one two", true)));
        };
        let chosen = proxy.chosen(post(body), script).await;
        assert_eq!(chosen.endpoints, [ENDPOINT.parse().unwrap()]);
        assert_eq!(text(chosen.request.into_body()).await, "one two");
    });
}

#[test]
fn pseudo_headers_request_id_and_trace_are_shown() {
    with_picker(async |proxy, mut picker| {
        let mut request = post(full("body"));
        request
            .headers_mut()
            .insert("traceparent", "00-1-2-01".parse().unwrap());
        let mut id = Vec::new();
        let script = async {
            let mut call = picker.call().await;
            let headers = call.headers().await;
            for (name, expected) in [
                (":method", "POST"),
                (":path", "/v1/completions"),
                (":authority", "models.example"),
                (":scheme", "http"),
                ("traceparent", "00-1-2-01"),
            ] {
                assert_eq!(value(&headers, name), Some(expected.as_bytes()), "{name}");
            }
            assert!(!headers.end_of_stream);
            id = value(&headers, "x-request-id").unwrap().to_vec();
            assert!(call.body().await.end_of_stream);
            call.answer(chosen(ENDPOINT));
            call.answer(Response::RequestBody(BodyResponse::default()));
        };
        let chosen = proxy.chosen(request, script).await;
        assert_eq!(chosen.request.headers()["x-request-id"].as_bytes(), id);
        assert_eq!(text(chosen.request.into_body()).await, "body");
    });
}

#[test]
fn long_bodies_are_cut_into_chunks_that_every_picker_takes() {
    with_picker(async |proxy, mut picker| {
        let body = Bytes::from(vec![b'x'; 3 * LONGEST_CHUNK + 1]);
        let script = async {
            let mut call = picker.call().await;
            call.headers().await;
            for expected in [LONGEST_CHUNK, LONGEST_CHUNK, LONGEST_CHUNK, 1] {
                let chunk = call.body().await;
                assert_eq!((chunk.body.len(), chunk.end_of_stream), (expected, expected == 1));
                call.answer(Response::RequestBody(streamed(chunk.body, chunk.end_of_stream)));
            }
            call.answer(chosen(ENDPOINT));
        };
        let chosen = proxy.chosen(post(full(body.clone())), script).await;
        assert_eq!(
            chosen.request.headers()["content-length"],
            body.len().to_string().as_str()
        );
        assert_eq!(
            chosen.request.into_body().collect().await.unwrap().to_bytes(),
            body
        );
    });
}

#[test]
fn a_body_that_turns_out_empty_is_none() {
    with_picker(async |proxy, mut picker| {
        let (sender, body) = chunks();
        let script = async {
            drop(sender);
            let mut call = picker.call().await;
            assert!(call.headers().await.end_of_stream);
            call.answer(chosen(ENDPOINT));
        };
        let chosen = proxy.chosen(post(body), script).await;
        assert!(!chosen.request.headers().contains_key("content-length"));
        assert_eq!(text(chosen.request.into_body()).await, "");
    });
}

#[test]
fn no_body_has_a_length_where_the_client_said_so() {
    with_picker(async |proxy, mut picker| {
        for length in [Some("0"), None] {
            let mut request = post(full(""));
            if let Some(length) = length {
                request
                    .headers_mut()
                    .insert("content-length", length.parse().unwrap());
            }
            let script = async { picker.call().await.choose().await };
            let chosen = proxy.chosen(request, script).await;
            let headers = chosen.request.headers();
            assert_eq!(
                headers.get("content-length").map(|value| value.to_str().unwrap()),
                length
            );
        }
    });
}

#[test]
fn headers_and_body_go_on_as_the_picker_wants_them() {
    with_picker(async |proxy, mut picker| {
        let mut request = post(full("old"));
        request.headers_mut().insert("content-length", 3.into());
        request.headers_mut().insert("x-model", "a".parse().unwrap());
        let script = async {
            let mut call = picker.call().await;
            let list = format!("10.9.9.9:1,{ENDPOINT}");
            let set = [
                ("x-gateway-destination-endpoint", &*list),
                ("x-model", "b"),
                ("content-length", "99"),
            ];
            call.headers().await;
            call.answer(Response::RequestBody(streamed("some", false)));
            call.answer(Response::RequestBody(streamed("thing new", true)));
            call.answer(Response::RequestHeaders(headers(&set)));
        };
        let chosen = proxy.chosen(request, script).await;
        assert_eq!(chosen.endpoints, [ENDPOINT.parse().unwrap()]);
        assert_eq!(chosen.request.headers()["x-model"], "b");
        assert_eq!(chosen.request.headers()["content-length"], "13");
        assert_eq!(text(chosen.request.into_body()).await, "something new");
    });
}

#[test]
fn trailers_of_requests_go_on_untouched() {
    with_picker(async |proxy, mut picker| {
        let (sender, body) = chunks();
        sender.send(data("body")).unwrap();
        let trailers = [(
            http::HeaderName::from_static("x-sum"),
            http::HeaderValue::from_static("1"),
        )];
        sender
            .send(http_body::Frame::trailers(trailers.into_iter().collect()))
            .unwrap();
        let script = async { picker.call().await.choose().await };
        let chosen = proxy.chosen(post(body), script).await;
        let collected = chosen.request.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["x-sum"], "1");
        assert_eq!(collected.to_bytes(), "body");
    });
}

#[test]
fn a_refusal_is_the_answer_though_the_body_has_not_ended() {
    with_picker(async |proxy, mut picker| {
        let (sender, body) = chunks();
        sender.send(data("endless")).unwrap();
        let script = async {
            let mut call = picker.call().await;
            call.headers().await;
            call.answer(refusal());
            assert!(call.is_ended().await);
        };
        let (asked, ()) = together(proxy.ask(post(body)), script).await;
        let Ok(Asked::Answer(answer)) = asked else {
            panic!("not answered");
        };
        assert_eq!(
            (answer.status().as_u16(), answer.body().as_ref()),
            (429, &b"busy"[..])
        );
    });
}

#[test]
fn a_body_that_is_too_long_is_not_kept() {
    let settings = Settings {
        request_buffer: 10,
        ..Settings::default()
    };
    with_settings(settings, async |proxy, mut picker| {
        let (sender, body) = chunks();
        sender.send(data("0123456789")).unwrap();
        let script = async {
            let mut call = picker.call().await;
            call.headers().await;
            sender.send(data("a")).unwrap();
            call.broken_off().await;
        };
        let (asked, ()) = together(proxy.ask(post(body)), script).await;
        assert!(matches!(asked, Err(Refused::TooLong)));
    });
}

#[test]
fn a_request_whose_picker_fails_is_whole() {
    with_picker(async |proxy, mut picker| {
        let (sender, body) = chunks();
        sender.send(data("one ")).unwrap();
        let script = async {
            let mut call = picker.call().await;
            call.headers().await;
            call.body().await;
            call.answer(Response::RequestBody(streamed("another", false)));
            call.fail(Status::internal("no pods"));
        };
        let (failure, request) = proxy.failed(post(body), script).await;
        assert!(matches!(failure, Failure::Call { .. }), "{failure:?}");
        sender.send(data("two")).unwrap();
        drop(sender);
        assert_eq!(text(request.into_body()).await, "one two");
    });
}

#[test]
fn a_picker_that_takes_too_long_has_failed() {
    let settings = Settings {
        picker_timeout: Duration::from_millis(50),
        ..Settings::default()
    };
    with_settings(settings, async |proxy, mut picker| {
        let (sender, body) = chunks();
        sender.send(data("body")).unwrap();
        let script = async {
            let mut call = picker.call().await;
            call.headers().await;
            call.body().await;
            // The client's time is not the picker's.
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(call.is_awaited());
            drop(sender);
            call.broken_off().await;
        };
        let (failure, _) = proxy.failed(post(body), script).await;
        assert!(matches!(failure, Failure::Timeout), "{failure:?}");
    });
}

#[test]
fn a_call_that_breaks_before_any_answer_is_made_once_more() {
    with_picker(async |proxy, mut picker| {
        let script = async {
            let mut call = picker.call().await;
            call.headers().await;
            call.fail(Status::unavailable("stopping"));
            picker.call().await.choose().await;
        };
        let chosen = proxy.chosen(post(full("body")), script).await;
        assert_eq!(text(chosen.request.into_body()).await, "body");
    });
}

#[test]
fn a_call_that_breaks_after_an_answer_is_not_made_again() {
    with_picker(async |proxy, mut picker| {
        let script = async {
            let mut call = picker.call().await;
            call.headers().await;
            call.answer(chosen(ENDPOINT));
            call.fail(Status::unavailable("stopping"));
        };
        let (failure, _) = proxy.failed(post(full("body")), script).await;
        assert!(matches!(failure, Failure::Call { .. }), "{failure:?}");
    });
}

#[test]
fn a_picker_hears_that_the_client_has_left() {
    with_picker(async |proxy, mut picker| {
        let call = async {
            let mut call = picker.call().await;
            call.headers().await;
            call
        };
        let mut call = tokio::select! {
            _ = proxy.ask(get()) => panic!("nothing was chosen"),
            call = call => call,
        };
        call.broken_off().await;
    });
}
