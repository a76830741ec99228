//! Legs whose endpoints a picker chooses.

use proto::{
    envoy::service::ext_proc::v3::{processing_request::Request, processing_response::Response as Answer},
    fleet::Leg,
};

use crate::setting::{Endpoint, Picked, Setting, headers_response, nowhere, streamed, with_picker};

#[tokio::test]
async fn the_picker_s_list_is_walked_with_the_request_as_it_made_it() {
    let endpoint = Endpoint::listen().await;
    let other = Endpoint::listen().await;
    let dead = nowhere().await;
    let mut picked = Picked::start(&[other.address, dead, endpoint.address]).await;
    let head =
        "POST /v1 HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\nx-llm-d-inference-objective: urgent\r\n";
    let control = "x-gateway-destination-endpoint: 198.18.0.1:1\r\nx-llm-d-model-name-rewrite: m\r\n";
    picked
        .client
        .send(format!("{head}{control}content-length: 3\r\n\r\ntea"))
        .await;

    let mut call = picked.call().await;
    let shown: Vec<String> = call
        .headers()
        .await
        .headers
        .unwrap()
        .headers
        .into_iter()
        .map(|header| header.key)
        .collect();
    assert!(
        shown.contains(&"x-llm-d-inference-objective".to_owned()),
        "{shown:?}"
    );
    for name in [
        "x-gateway-destination-endpoint",
        "x-llm-d-model-name-rewrite",
        "x-flotilla-leg",
    ] {
        assert!(!shown.contains(&name.to_owned()), "{shown:?}");
    }
    call.choose(&[dead, endpoint.address]);
    call.say(Answer::RequestBody(streamed("other tea")));

    let (mut connection, request) = endpoint.request().await;
    assert_eq!(request.header("content-length"), Some("9"));
    assert_eq!(request.header("x-llm-d-inference-objective"), None);
    assert_eq!(connection.exactly(9).await, b"other tea");
    connection.respond("200 OK", "pot").await;
    while !matches!(call.hear().await, Some(Request::ResponseHeaders(_))) {}
    call.say(Answer::ResponseHeaders(headers_response("x-picked", "1")));
    call.end();
    let head = picked.client.head().await;
    assert_eq!(head.header("x-picked"), Some("1"));
}

#[tokio::test]
async fn an_endpoint_that_resets_a_chosen_request_is_followed_by_the_next() {
    let first = Endpoint::listen().await;
    let second = Endpoint::listen().await;
    let all = [first.address, second.address];
    let mut picked = Picked::start(&all).await;
    let mut call = picked.post("tea").await;
    call.choose(&all);
    call.say(Answer::RequestBody(streamed("tea")));
    call.end();
    first.request().await;
    let (mut connection, _) = second.request().await;
    assert_eq!(connection.exactly(3).await, b"tea");
    connection.respond("200 OK", "").await;
    assert_eq!(picked.client.head().await.status(), 200);
}

#[tokio::test]
async fn a_refusal_of_the_picker_is_the_answer() {
    // It is no failure, whatever is to happen then.
    let fails_open = |leg: &mut Leg| leg.picker.as_mut().unwrap().fail_open = true;
    let mut picked = Picked::with(&[nowhere().await], fails_open).await;
    let mut call = picked.post("tea").await;
    call.refuse();
    let (head, body) = picked.client.response().await;
    assert_eq!((head.status(), body.as_slice()), (429, b"busy".as_slice()));
}

/// When the picker evicts a request that an endpoint is serving.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// The endpoint has not responded yet.
    Thinking,
    /// It has, and the client has seen nothing of that.
    Responded,
    /// The client has the head, and no byte of the body.
    Begun,
}

#[tokio::test]
async fn an_eviction_is_the_pickers_doing_and_counted_so() {
    for moment in [Moment::Thinking, Moment::Responded, Moment::Begun] {
        let endpoint = Endpoint::listen().await;
        let mut picked = Picked::start(&[endpoint.address]).await;
        let mut call = picked.get().await;
        call.choose(&[endpoint.address]);
        let (mut connection, _) = endpoint.request().await;
        if moment != Moment::Thinking {
            connection
                .send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
                .await;
            call.headers().await;
        }
        if moment == Moment::Begun {
            call.say(Answer::ResponseHeaders(headers_response("x-seen", "1")));
            assert_eq!(picked.client.head().await.status(), 200);
        }
        call.refuse();
        if moment == Moment::Begun {
            assert_eq!(picked.client.rest().await, b"", "the client takes it for whole");
        } else {
            assert_eq!(picked.client.head().await.status(), 429, "{moment:?}");
        }
        assert_eq!(connection.rest().await, b"", "the endpoint goes on");
        let setting = &picked.setting;
        setting
            .until("flotilla_proxy_aborts_total{cause=\"picker\"}", 1.0)
            .await;
        for cause in ["endpoint", "client"] {
            let aborts = format!("flotilla_proxy_aborts_total{{cause=\"{cause}\"}}");
            assert!(setting.metric(&aborts).await < 1.0, "{moment:?}: {cause}");
        }
    }
}

#[tokio::test]
async fn an_eviction_ends_a_connection_that_has_left_http() {
    let endpoint = Endpoint::listen().await;
    let mut picked = Picked::start(&[endpoint.address]).await;
    let head = "GET / HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\n";
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    picked.client.send(format!("{head}{upgrade}\r\n")).await;
    let mut call = picked.call().await;
    call.headers().await;
    call.choose(&[endpoint.address]);
    let (mut connection, _) = endpoint.request().await;
    connection
        .send(format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\n"))
        .await;
    call.headers().await;
    assert_eq!(picked.client.head().await.status(), 101);
    call.refuse();
    assert_eq!(picked.client.rest().await, b"");
    assert_eq!(connection.rest().await, b"");
    let aborts = "flotilla_proxy_aborts_total{cause=\"picker\"}";
    picked.setting.until(aborts, 1.0).await;
}

#[tokio::test]
async fn without_its_picker_a_pool_is_open_or_closed() {
    for (fail_open, status) in [(true, 200), (false, 503)] {
        let endpoint = Endpoint::listen().await;
        let setting = Setting::start(&with_picker(&[endpoint.address], nowhere().await, fail_open)).await;
        let mut client = setting.client().await;
        client.post("tea").await;
        if fail_open {
            let (mut connection, _) = endpoint.request().await;
            assert_eq!(connection.exactly(3).await, b"tea");
            connection.respond("200 OK", "").await;
            assert!(
                (setting.metric("flotilla_proxy_picker_fallbacks_total").await - 1.0).abs() < f64::EPSILON
            );
        }
        assert_eq!(client.response().await.0.status(), status);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_request_and_call() {
    let endpoint = Endpoint::listen().await;
    let mut picked = Picked::start(&[endpoint.address]).await;
    let mut call = picked.get().await;
    call.choose(&[endpoint.address]);
    let (mut connection, _) = endpoint.request().await;
    drop(picked.client);
    assert_eq!(connection.rest().await, b"");
    call.broken_off().await;
}

#[tokio::test]
async fn an_endpoint_that_comes_while_the_picker_thinks_may_serve() {
    let early = Endpoint::listen().await;
    let late = Endpoint::listen().await;
    let mut picked = Picked::start(&[early.address]).await;
    let mut call = picked.get().await;
    picked.put(&[early.address, late.address]).await;
    call.choose(&[late.address]);
    call.end();
    late.request().await.0.respond("200 OK", "").await;
    assert_eq!(picked.client.head().await.status(), 200);
}
