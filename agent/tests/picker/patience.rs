//! How long a response waits for a picker that owes an answer.

use std::time::Duration;

use agent::proxy::{
    picker::{
        message::processing_response::Response,
        respond::{Passing, Responded},
    },
    settings::Settings,
};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::setting::{
    Body, Call, chunks, data, full, headers, next, soon, streamed, together, with_settings,
};

/// Long enough for what may not happen.
const SHORT: Duration = Duration::from_millis(200);

fn patient_for(picker_response_timeout: Duration) -> Settings {
    Settings {
        picker_response_timeout,
        ..Settings::default()
    }
}

fn events(body: Body) -> http::Response<Body> {
    let response = http::Response::builder().header("content-type", "text/event-stream");
    response.body(body).unwrap()
}

fn body(responded: Responded<Body>) -> Passing<Body> {
    match responded {
        Responded::Response(response) => response.into_body(),
        Responded::Answer(answer) => panic!("answered with {answer:?}"),
    }
}

async fn take_head(mut call: Call) -> Call {
    call.headers().await;
    call.answer(Response::ResponseHeaders(headers(&[])));
    call
}

#[test]
fn a_picker_that_says_nothing_is_waited_for_once() {
    with_settings(patient_for(SHORT), async |proxy, mut picker| {
        let (responded, mut call) = proxy
            .responded(&mut picker, events(full("a token")), async |call| call)
            .await;
        // Or the body would wait for it again.
        call.broken_off().await;
        let collected = soon(body(responded).collect()).await.unwrap();
        assert_eq!(collected.to_bytes(), "a token");
    });
}

#[test]
fn tokens_do_not_wait_for_a_picker_that_hangs() {
    with_settings(patient_for(SHORT), async |proxy, mut picker| {
        let (sender, tokens) = chunks();
        let (responded, _call) = proxy.responded(&mut picker, events(tokens), take_head).await;
        sender.send(data("token")).unwrap();
        assert_eq!(next(&mut body(responded)).await, "token");
    });
}

#[test]
fn a_slow_picker_has_its_say_as_long_as_the_settings_are_patient() {
    with_settings(patient_for(Duration::from_hours(1)), async |proxy, mut picker| {
        let (sender, tokens) = chunks();
        let (responded, mut call) = proxy.responded(&mut picker, events(tokens), take_head).await;
        let mut body = body(responded);
        sender.send(data("token")).unwrap();
        // Longer than any patience of our own would be.
        let early = timeout(SHORT * 10, body.frame()).await;
        assert!(early.is_err(), "{early:?} has not waited");
        let script = async {
            call.body().await;
            call.answer(Response::ResponseBody(streamed("another", false)));
        };
        assert_eq!(together(next(&mut body), script).await.0, "another");
    });
}
