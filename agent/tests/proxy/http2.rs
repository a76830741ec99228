//! Requests and responses in HTTP/2, on either side.

use std::{error::Error, future::poll_fn};

use bytes::Bytes;
use futures::{StreamExt as _, channel::mpsc};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::{
    HeaderMap, Request, Response,
    body::{Body, Frame, Incoming},
    header::HeaderValue,
};
use proto::fleet::{Leg, Protocol, Retry};
use tokio::task::JoinHandle;

use crate::setting::{Endpoint, Http2Endpoint, Setting, collect};

fn http2() -> Leg {
    Leg {
        protocol: Protocol::Http2.into(),
        ..Leg::default()
    }
}

fn trailers(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(
        hyper::header::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static(value),
    )])
}

/// A body whose frames a test sends.
type Frames = StreamBody<mpsc::UnboundedReceiver<Result<Frame<Bytes>, hyper::Error>>>;

fn frames() -> (mpsc::UnboundedSender<Result<Frame<Bytes>, hyper::Error>>, Frames) {
    let (sender, receiver) = mpsc::unbounded();
    (sender, StreamBody::new(receiver))
}

fn request<B>(body: B) -> Request<B> {
    let request = Request::post("http://shop.example/tea?hot").header("x-flotilla-leg", "leg");
    request.header("te", "trailers").body(body).unwrap()
}

/// A proxy with one leg to one endpoint that speaks HTTP/2.
async fn http2_endpoint(leg: Leg) -> (Setting, Http2Endpoint) {
    let endpoint = Http2Endpoint::listen().await;
    (Setting::with_leg(&[endpoint.address], leg).await, endpoint)
}

/// Sends a request over a connection of its own; its response, once the endpoint has given it.
async fn send<B>(setting: &Setting, body: B) -> JoinHandle<Response<Incoming>>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let mut sender = setting.client().await.http2().await;
    tokio::spawn(async move { sender.send_request(request(body)).await.unwrap() })
}

#[tokio::test]
async fn a_call_streams_both_ways_and_ends_with_trailers() {
    let (setting, endpoint) = http2_endpoint(http2()).await;
    let (frames, body) = frames();
    let response = send(&setting, body).await;

    let mut streams = endpoint.accept().await;
    let (mut request, mut respond) = streams.next().await;
    assert_eq!(request.uri(), "http://shop.example/tea?hot");
    assert_eq!(request.headers()["te"], "trailers");
    assert!(!request.headers().contains_key("x-flotilla-leg"));
    let mut answer = respond.send_response(Response::new(()), false).unwrap();
    let mut body = response.await.unwrap().into_body();
    for word in ["one", "two"] {
        frames.unbounded_send(Ok(Frame::data(Bytes::from(word)))).unwrap();
        assert_eq!(request.body_mut().data().await.unwrap().unwrap(), word);
        answer.send_data(Bytes::from(word), false).unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), word);
    }
    frames.unbounded_send(Ok(Frame::trailers(trailers("7")))).unwrap();
    assert!(request.body_mut().data().await.is_none());
    assert_eq!(request.body_mut().trailers().await.unwrap(), Some(trailers("7")));
    answer.send_trailers(trailers("0")).unwrap();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_trailers().unwrap(),
        trailers("0")
    );
}

#[tokio::test]
async fn requests_at_a_time_share_a_connection() {
    let (setting, endpoint) = http2_endpoint(http2()).await;
    let mut responses = Vec::new();
    for _ in 0..3 {
        responses.push(send(&setting, Empty::new()).await);
    }
    let mut streams = endpoint.accept().await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let (request, respond) = streams.next().await;
        assert!(request.body().is_end_stream());
        waiting.push(respond);
    }
    for mut respond in waiting {
        respond.send_response(Response::new(()), true).unwrap();
    }
    for response in responses {
        assert_eq!(response.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn http1_and_http2_are_turned_into_each_other() {
    let (setting, endpoint) = http2_endpoint(http2()).await;
    let mut client = setting.client().await;
    client.post("tea").await;
    let mut streams = endpoint.accept().await;
    let (mut request, mut respond) = streams.next().await;
    assert_eq!(request.uri(), "http://shop.example/");
    assert!(!request.headers().contains_key("host"));
    assert_eq!(request.body_mut().data().await.unwrap().unwrap(), "tea");
    let mut answer = respond.send_response(Response::new(()), false).unwrap();
    assert_eq!(client.head().await.header("transfer-encoding"), Some("chunked"));
    answer.send_data(Bytes::from("pot"), true).unwrap();
    assert_eq!(client.chunk().await, b"pot");
    assert_eq!(client.chunk().await, b"");

    let endpoint = Endpoint::listen().await;
    let setting = Setting::with_leg(&[endpoint.address], Leg::default()).await;
    let response = send(&setting, Empty::new()).await;
    let mut connection = endpoint.accept().await;
    let head = connection.head().await;
    assert_eq!(head.first(), "POST /tea?hot HTTP/1.1");
    assert_eq!(head.header("host"), Some("shop.example"));
    connection.respond("200 OK", "pot").await;
    assert_eq!(collect(response.await.unwrap()).await.0, "pot");
}

#[tokio::test]
async fn a_client_that_goes_away_resets_the_stream_even_while_the_endpoint_does_not_read() {
    let (setting, endpoint) = http2_endpoint(http2()).await;
    let sender = setting.client().await.streams().await;
    let (response, mut stream) = sender
        .ready()
        .await
        .unwrap()
        .send_request(request(()), false)
        .unwrap();
    // More than the windows of both streams.
    stream.send_data(Bytes::from(vec![0; 1 << 20]), false).unwrap();
    let mut streams = endpoint.accept().await;
    let (_request, mut respond) = streams.next().await;
    let mut answer = respond.send_response(Response::new(()), false).unwrap();
    drop((response.await.unwrap(), stream));
    let reason = poll_fn(|context| answer.poll_reset(context)).await.unwrap();
    assert_eq!(reason, h2::Reason::CANCEL);
    setting.until("flotilla_proxy_requests_in_flight", 0.0).await;
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_response_resets_the_stream() {
    let (setting, endpoint) = http2_endpoint(http2()).await;
    let mut client = setting.client().await;
    client.get("/").await;
    let mut streams = endpoint.accept().await;
    let (_request, mut respond) = streams.next().await;
    drop(client);
    let reason = poll_fn(|context| respond.poll_reset(context)).await.unwrap();
    assert_eq!(reason, h2::Reason::CANCEL);
}

#[tokio::test]
async fn a_stream_that_is_reset_is_reset_for_the_client() {
    let (setting, endpoint) = http2_endpoint(http2()).await;
    let response = send(&setting, Empty::new()).await;
    let mut streams = endpoint.accept().await;
    let (_request, mut respond) = streams.next().await;
    let mut answer = respond.send_response(Response::new(()), false).unwrap();
    let body = response.await.unwrap().into_body();
    answer.send_reset(h2::Reason::CANCEL);
    assert!(body.collect().await.is_err());
}

#[tokio::test]
async fn a_refused_stream_goes_to_another_endpoint_whatever_its_method() {
    let one = Http2Endpoint::listen().await;
    let other = Http2Endpoint::listen().await;
    let setting = Setting::with_leg(&[one.address, other.address], http2()).await;
    let response = send(&setting, Empty::new()).await;
    let (mut first, second) = tokio::select! {
        streams = one.accept() => (streams, &other),
        streams = other.accept() => (streams, &one),
    };
    first.next().await.1.send_reset(h2::Reason::REFUSED_STREAM);
    let mut second = second.accept().await;
    second
        .next()
        .await
        .1
        .send_response(Response::new(()), true)
        .unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_call_is_retried_with_its_body() {
    let leg = Leg {
        retry: Some(Retry {
            codes: vec![503],
            attempts: 1,
            backoff: 0,
        }),
        ..http2()
    };
    let (setting, endpoint) = http2_endpoint(leg).await;
    let mut client = setting.client().await;
    client.post("tea").await;
    let mut streams = endpoint.accept().await;
    for status in [503, 200] {
        let (mut request, mut respond) = streams.next().await;
        assert_eq!(request.body_mut().data().await.unwrap().unwrap(), "tea");
        let response = Response::builder().status(status).body(()).unwrap();
        respond.send_response(response, true).unwrap();
    }
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test]
async fn an_endpoint_may_answer_before_the_request_has_ended() {
    let (setting, endpoint) = http2_endpoint(http2()).await;
    let (frames, body) = frames();
    let response = send(&setting, body).await;
    let mut streams = endpoint.accept().await;
    let (request, mut respond) = streams.next().await;
    let response_head = Response::builder().status(413).body(()).unwrap();
    respond.send_response(response_head, true).unwrap();
    // Which resets the stream without an error.
    drop(request);
    let response = response.await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(collect(response).await.0, "");
    drop(frames);
}

#[tokio::test]
async fn more_requests_than_a_connection_takes_get_another_one() {
    let endpoint = Endpoint::listen().await;
    let setting = Setting::with_leg(&[endpoint.address], http2()).await;
    let mut clients = Vec::new();
    let few = async |stream| {
        let mut connection = h2::server::Builder::new()
            .max_concurrent_streams(1)
            .handshake::<_, Bytes>(stream)
            .await
            .unwrap();
        let (sender, streams) = mpsc::unbounded();
        tokio::spawn(async move {
            while let Some(Ok(stream)) = connection.accept().await {
                sender.unbounded_send(stream).unwrap();
            }
        });
        streams
    };
    let mut client = setting.client().await;
    client.get("/1").await;
    clients.push(client);
    let mut first = few(endpoint.stream().await).await;
    let held = first.next().await.unwrap();
    let mut client = setting.client().await;
    client.get("/2").await;
    clients.push(client);
    let mut second = few(endpoint.stream().await).await;
    assert_eq!(second.next().await.unwrap().0.uri().path(), "/2");
    drop(held);
}

/// Messages of one byte: as many as the next hop takes, and then a good part of the proxy's own window.
const SMALL: usize = (64 << 10) + 25_000;

/// Sends [`SMALL`] messages.
async fn trickle(mut body: h2::SendStream<Bytes>) -> h2::SendStream<Bytes> {
    for _ in 0..SMALL {
        body.reserve_capacity(1);
        while body.capacity() == 0 {
            poll_fn(|context| body.poll_capacity(context))
                .await
                .unwrap()
                .unwrap();
        }
        body.send_data(Bytes::from_static(b"."), false).unwrap();
    }
    body
}

/// Reads as many bytes as [`trickle`] sends.
async fn gather(mut body: h2::RecvStream) {
    let mut length = 0;
    while length < SMALL {
        let bytes = body.data().await.unwrap().unwrap();
        length += bytes.len();
        body.flow_control().release_capacity(bytes.len()).unwrap();
    }
}

#[tokio::test]
async fn small_messages_that_wait_for_one_client_break_no_connection() {
    let (setting, endpoint) = http2_endpoint(http2()).await;
    let sender = setting.client().await.streams().await;
    let (slow, _) = { sender }.send_request(request(()), true).unwrap();
    let mut streams = endpoint.accept().await;
    let (_, mut respond) = streams.next().await;
    let answer = respond.send_response(Response::new(()), false).unwrap();
    let slow = slow.await.unwrap().into_body();
    let _answer = trickle(answer).await;
    // On the same connection, and later than most of them.
    for _ in 0..3 {
        let sender = setting.client().await.streams().await;
        let (quick, _) = { sender }.send_request(request(()), true).unwrap();
        let (_, mut respond) = streams.next().await;
        respond.send_response(Response::new(()), true).unwrap();
        assert_eq!(quick.await.unwrap().status(), 200);
    }
    gather(slow).await;
}

#[tokio::test]
async fn small_messages_that_wait_for_the_endpoint_break_no_connection() {
    let (setting, endpoint) = http2_endpoint(http2()).await;
    let sender = setting.client().await.streams().await;
    let (_response, body) = { sender }.send_request(request(()), false).unwrap();
    let mut streams = endpoint.accept().await;
    let (request, _respond) = streams.next().await;
    let _body = trickle(body).await;
    gather(request.into_body()).await;
}
