use std::time::Duration;

use agent::proxy::{
    picker::{
        ask::Asked,
        message::{
            BodyMutation, BodyResponse, HttpBody, TrailersResponse, body_mutation::Mutation,
            common_response::ResponseStatus, processing_request::Request, processing_response::Response,
        },
        respond::{Error, Passing, Responded},
    },
    settings::Settings,
};
use http_body::Frame;
use http_body_util::BodyExt as _;

use crate::setting::{
    Body, Call, ENDPOINT, Picker, Proxy, chunks, cut, data, empty, full, get, headers, next, refusal, soon,
    streamed, together, with_picker, with_settings,
};

fn response(body: Body) -> http::Response<Body> {
    http::Response::builder()
        .header("content-type", "text/event-stream")
        .header("content-length", "7")
        .body(body)
        .unwrap()
}

fn passing(responded: Responded<Body>) -> http::Response<Passing<Body>> {
    match responded {
        Responded::Response(response) => response,
        Responded::Answer(answer) => panic!("answered with {answer:?}"),
    }
}

/// Takes the head of the response as it is.
async fn take_head(mut call: Call) -> Call {
    call.headers().await;
    call.answer(Response::ResponseHeaders(headers(&[])));
    call
}

/// The body of a response whose head the picker takes as it is, and the call about it.
async fn taken(proxy: &Proxy, picker: &mut Picker, response: http::Response<Body>) -> (Passing<Body>, Call) {
    let (responded, call) = proxy.responded(picker, response, take_head).await;
    (passing(responded).into_body(), call)
}

#[test]
fn the_picker_hears_who_served_and_changes_the_head() {
    with_picker(async |proxy, mut picker| {
        let script = async |mut call: Call| {
            let message = call.next().await.unwrap();
            let metadata = message.metadata_context.unwrap().filter_metadata;
            let served = &metadata["envoy.lb"].fields["x-gateway-destination-endpoint-served"];
            assert_eq!(
                served.kind,
                Some(prost_types::value::Kind::StringValue(ENDPOINT.to_owned()))
            );
            let Some(Request::ResponseHeaders(head)) = message.request else {
                panic!("{:?} in place of headers", message.request);
            };
            assert_eq!(crate::setting::value(&head, ":status"), Some(&b"200"[..]));
            call.answer(Response::ResponseHeaders(headers(&[
                (":status", "500"),
                ("x-seen", "1"),
            ])));
            call
        };
        let (responded, _call) = proxy
            .responded(&mut picker, response(full("ignored")), script)
            .await;
        let response = passing(responded);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-seen"], "1");
        assert!(!response.headers().contains_key("content-length"));
    });
}

#[test]
fn tokens_pass_one_by_one_and_the_call_ends_in_good_order() {
    with_picker(async |proxy, mut picker| {
        let (sender, body) = chunks();
        let (mut body, mut call) = taken(&proxy, &mut picker, response(body)).await;
        for token in ["one", "two", "three"] {
            sender.send(data(token)).unwrap();
            let echo = async {
                let HttpBody { body, end_of_stream } = call.body().await;
                call.answer(Response::ResponseBody(streamed(body, end_of_stream)));
            };
            assert_eq!(tokio::join!(next(&mut body), echo).0, token);
        }
        drop(sender);
        let end = async {
            assert!(call.body().await.end_of_stream);
            call.answer(Response::ResponseBody(streamed("", true)));
            assert!(call.next().await.is_none(), "a half close follows the end");
        };
        let (rest, ()) = together(body.frame(), end).await;
        assert!(rest.is_none());
        drop(body);
        assert!(call.is_ended().await);
    });
}

#[test]
fn a_response_ends_though_the_picker_never_says_so() {
    with_picker(async |proxy, mut picker| {
        let (body, mut call) = taken(&proxy, &mut picker, response(full("a token"))).await;
        let script = async {
            while call.next().await.is_some() {
                call.answer(Response::ResponseBody(BodyResponse::default()));
            }
        };
        let (collected, ()) = together(body.collect(), script).await;
        assert_eq!(collected.unwrap().to_bytes(), "a token");
    });
}

#[test]
fn a_response_completes_when_the_picker_dies() {
    with_picker(async |proxy, mut picker| {
        let (sender, body) = chunks();
        let (mut body, mut call) = taken(&proxy, &mut picker, response(body)).await;
        for token in ["one ", "two ", "three "] {
            sender.send(data(token)).unwrap();
        }
        let script = async {
            call.body().await;
            call.answer(Response::ResponseBody(streamed("one ", false)));
        };
        assert_eq!(tokio::join!(next(&mut body), script).0, "one ");
        picker.kill();
        assert_eq!(next(&mut body).await, "two ");
        assert_eq!(next(&mut body).await, "three ");
        sender.send(data("four")).unwrap();
        drop(sender);
        assert_eq!(soon(body.collect()).await.unwrap().to_bytes(), "four");
    });
}

#[test]
fn a_picker_that_leaves_in_good_order_is_not_missed() {
    with_picker(async |proxy, mut picker| {
        let (responded, ()) = proxy
            .responded(&mut picker, response(full("a token")), async |call| drop(call))
            .await;
        let response = passing(responded);
        assert_eq!(response.headers()["content-length"], "7");
        assert_eq!(
            soon(response.into_body().collect()).await.unwrap().to_bytes(),
            "a token"
        );
    });
}

#[test]
fn a_picker_may_keep_a_response_to_its_end() {
    const CHUNKS: usize = 100;
    let settings = Settings {
        response_buffer: 10,
        ..Settings::default()
    };
    with_settings(settings, async |proxy, mut picker| {
        let (sender, body) = chunks();
        for _ in 0..CHUNKS {
            sender.send(data("0123456789")).unwrap();
        }
        drop(sender);
        let mut response = response(body);
        let json = "application/json".parse().unwrap();
        response.headers_mut().insert("content-type", json);
        let (body, mut call) = taken(&proxy, &mut picker, response).await;
        let script = async {
            let mut kept = Vec::new();
            loop {
                let HttpBody { body, end_of_stream } = call.body().await;
                kept.extend_from_slice(&body);
                if end_of_stream {
                    break;
                }
            }
            kept.push(b'y');
            call.answer(Response::ResponseBody(streamed(kept, true)));
        };
        let (collected, ()) = together(body.collect(), script).await;
        let collected = collected.unwrap().to_bytes();
        assert_eq!(
            (collected.len(), collected.last()),
            (CHUNKS * 10 + 1, Some(&b'y'))
        );
    });
}

#[test]
fn trailers_pass_through_the_picker() {
    with_picker(async |proxy, mut picker| {
        let (sender, body) = chunks();
        sender.send(data("message")).unwrap();
        let trailers = [(
            http::HeaderName::from_static("grpc-status"),
            http::HeaderValue::from_static("0"),
        )];
        sender
            .send(Frame::trailers(trailers.into_iter().collect()))
            .unwrap();
        let (body, mut call) = taken(&proxy, &mut picker, response(body)).await;
        let script = async {
            let message = call.body().await;
            assert!(!message.end_of_stream);
            call.answer(Response::ResponseBody(streamed(message.body, false)));
            let message = call.next().await.unwrap().request;
            assert!(matches!(message, Some(Request::ResponseTrailers(_))));
            let header_mutation = headers(&[("x-cost", "3")]).response.unwrap().header_mutation;
            call.answer(Response::ResponseTrailers(TrailersResponse { header_mutation }));
        };
        let (collected, ()) = together(body.collect(), script).await;
        let collected = collected.unwrap();
        let trailers = collected.trailers().unwrap();
        assert_eq!(
            (&trailers["grpc-status"], &trailers["x-cost"]),
            (&"0".parse().unwrap(), &"3".parse().unwrap())
        );
        assert_eq!(collected.to_bytes(), "message");
    });
}

#[test]
fn a_refusal_before_the_head_has_passed_is_the_answer() {
    with_picker(async |proxy, mut picker| {
        let script = async |mut call: Call| {
            call.headers().await;
            call.answer(refusal());
        };
        let (responded, ()) = proxy
            .responded(&mut picker, response(full("a token")), script)
            .await;
        assert!(matches!(responded, Responded::Answer(answer) if answer.status() == 429));
    });
}

#[test]
fn a_refusal_in_the_middle_breaks_off_the_response() {
    with_picker(async |proxy, mut picker| {
        let (_sender, body) = chunks();
        let (mut body, call) = taken(&proxy, &mut picker, response(body)).await;
        call.answer(refusal());
        assert!(matches!(soon(body.frame()).await, Some(Err(Error::Picker(status))) if status == 429));
    });
}

#[test]
fn a_response_that_the_endpoint_cuts_is_cut_for_the_client() {
    with_picker(async |proxy, mut picker| {
        let (mut body, mut call) = taken(&proxy, &mut picker, response(cut("half a tok"))).await;
        let script = async {
            let HttpBody { body, end_of_stream } = call.body().await;
            assert!(!end_of_stream);
            call.answer(Response::ResponseBody(streamed(body, false)));
            call.broken_off().await;
        };
        let fails = async {
            // Whether the picker's answer or the end comes first is not said.
            while let Some(frame) = body.frame().await {
                if frame.is_err() {
                    return true;
                }
            }
            false
        };
        let (failed, ()) = together(fails, script).await;
        assert!(failed);
    });
}

#[test]
fn a_response_without_a_body_ends_with_its_head() {
    with_picker(async |proxy, mut picker| {
        let script = async |mut call: Call| {
            assert!(call.headers().await.end_of_stream);
            call.answer(Response::ResponseHeaders(headers(&[])));
            assert!(call.is_ended().await);
        };
        let (responded, ()) = proxy.responded(&mut picker, response(empty()), script).await;
        let response = passing(responded);
        // As in responses to HEAD.
        assert_eq!(response.headers()["content-length"], "7");
        assert!(http_body::Body::is_end_stream(response.body()));
    });
}

#[test]
fn a_body_may_be_added_to_a_response_without_one() {
    with_picker(async |proxy, mut picker| {
        let script = async |mut call: Call| {
            call.headers().await;
            let mut answer = headers(&[]);
            let common = answer.response.as_mut().unwrap();
            common.set_status(ResponseStatus::ContinueAndReplace);
            common.body_mutation = Some(BodyMutation {
                mutation: Some(Mutation::Body("added".into())),
            });
            call.answer(Response::ResponseHeaders(answer));
        };
        let (responded, ()) = proxy.responded(&mut picker, response(empty()), script).await;
        let response = passing(responded);
        assert!(!response.headers().contains_key("content-length"));
        let body = soon(response.into_body().collect()).await.unwrap().to_bytes();
        assert_eq!(body, "added");
    });
}

#[test]
fn a_response_that_nobody_answers_for_is_no_longer_read() {
    let settings = Settings {
        response_buffer: 10,
        ..Settings::default()
    };
    with_settings(settings, async |proxy, mut picker| {
        let (sender, body) = chunks();
        let (mut body, mut call) = taken(&proxy, &mut picker, response(body)).await;
        for _ in 0..5 {
            sender.send(data("0123456789")).unwrap();
        }
        let script = async {
            call.body().await;
            call.answer(Response::ResponseBody(BodyResponse::default()));
        };
        tokio::join!(next(&mut body), script);
        // All that was shown before the first answer is waited for; what comes then is not shown.
        sender.send(data("late")).unwrap();
        let shown = async {
            let mut shown = 1;
            while let Ok(Ok(Some(_))) = tokio::time::timeout(Duration::from_millis(100), call.message()).await
            {
                shown += 1;
            }
            shown
        };
        let shown = tokio::select! {
            shown = shown => shown,
            _ = body.frame() => panic!("nothing was answered"),
        };
        assert!(shown <= 5, "{shown} chunks were shown");
    });
}

#[test]
fn an_exchange_lasts_as_long_as_the_connection_that_left_http() {
    with_picker(async |proxy, mut picker| {
        let script = async {
            let mut call = picker.call().await;
            call.choose().await;
            call
        };
        let (asked, mut call) = together(proxy.ask(get()), script).await;
        let Ok(Asked::Chosen(chosen)) = asked else {
            panic!("not chosen");
        };
        let mut consulted = chosen.consulted;
        let (head, ()) = http::Response::builder()
            .status(101)
            .body(())
            .unwrap()
            .into_parts();
        consulted.switch(&head, ENDPOINT.parse().unwrap());
        assert!(!call.headers().await.end_of_stream);
        call.answer(Response::ResponseHeaders(headers(&[])));
        consulted.finish();
        assert!(call.body().await.end_of_stream);
        assert!(call.is_ended().await);
    });
}

#[test]
fn clients_that_leave_in_the_middle_break_no_connection() {
    const CLIENTS: usize = 1500;
    with_picker(async |proxy, mut picker| {
        for _ in 0..CLIENTS {
            let (_sender, body) = chunks();
            let (body, mut call) = taken(&proxy, &mut picker, response(body)).await;
            // What the picker still sends comes for a stream that is gone.
            call.answer(Response::ResponseBody(streamed("late", false)));
            drop(body);
            call.answer(Response::ResponseBody(streamed("too late", false)));
            call.broken_off().await;
        }
        let script = async { picker.call().await.choose().await };
        proxy.chosen(get(), script).await;
    });
}
