//! How large heads of requests and responses may be, and those that are not final.

use std::fmt::Write as _;

use hyper::Response;
use proto::fleet::{Leg, Protocol};

use crate::setting::{Endpoint, Http2Endpoint, Picked, Setting, one_endpoint};

/// So many headers, of 16 bytes each.
fn headers(count: usize) -> String {
    (0..count).fold(String::new(), |mut headers, number| {
        write!(headers, "x-h{number:04}: value\r\n").unwrap();
        headers
    })
}

fn request(headers: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\n{headers}\r\n")
}

fn response(headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{headers}\r\n")
}

#[tokio::test]
async fn many_headers_pass_both_ways() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    client.send(request(&headers(200))).await;
    let (mut connection, head) = endpoint.request().await;
    assert_eq!(head.header("x-h0199"), Some("value"));
    connection.send(response(&headers(200))).await;
    assert_eq!(client.head().await.header("x-h0199"), Some("value"));
}

#[tokio::test]
async fn requests_with_more_or_longer_headers_are_refused_with_431() {
    let (setting, _client, _endpoint) = one_endpoint(Leg::default()).await;
    let long = format!("x-long: {}\r\n", "x".repeat(200_000));
    for headers in [headers(300), long] {
        let mut client = setting.client().await;
        // It need not be read to its end.
        client.can_send(request(&headers).as_bytes()).await;
        assert_eq!(client.head().await.status(), 431);
    }
}

#[tokio::test]
async fn responses_with_more_or_longer_headers_are_502_and_no_reason_for_another_try() {
    let long = format!("x-long: {}\r\n", "x".repeat(200_000));
    for headers in [headers(300), long, "no header\r\n".to_owned()] {
        let first = Endpoint::listen().await;
        let second = Endpoint::listen().await;
        let all = [first.address, second.address];
        let mut picked = Picked::start(&all).await;
        let mut call = picked.get().await;
        call.choose(&all);
        call.end();
        let (mut connection, _) = first.request().await;
        connection.can_send(response(&headers).as_bytes()).await;
        assert_eq!(picked.client.head().await.status(), 502);
    }
}

#[tokio::test]
async fn interim_responses_in_http2_do_not_end_the_request() {
    let leg = Leg {
        protocol: Protocol::Http2.into(),
        ..Leg::default()
    };
    let endpoint = Http2Endpoint::listen().await;
    let setting = Setting::with_leg(&[endpoint.address], leg).await;
    let mut client = setting.client().await;
    client.get("/").await;
    let (_, mut respond) = endpoint.accept().await.next().await;
    let hints = Response::builder()
        .status(103)
        .header("link", "</a>")
        .body(())
        .unwrap();
    respond.send_informational(hints).unwrap();
    let response = Response::builder().status(204).body(()).unwrap();
    respond.send_response(response, true).unwrap();
    let head = client.head().await;
    assert_eq!((head.status(), head.header("link")), (204, None));
}
