//! Exchanges that end before their end.

use proto::fleet::Leg;

use crate::setting::{Setting, nowhere, one_endpoint};

#[tokio::test]
async fn a_client_that_goes_away_before_the_response_ends_the_request() {
    let (setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    client.get("/").await;
    let (mut connection, _) = endpoint.request().await;
    drop(client);
    assert_eq!(connection.rest().await, b"");
    setting
        .until("flotilla_proxy_aborts_total{cause=\"client\"}", 1.0)
        .await;
    setting.until("flotilla_proxy_requests_in_flight", 0.0).await;
}

#[tokio::test]
async fn a_client_that_goes_away_during_the_response_ends_it() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    client.get("/").await;
    let (mut connection, _) = endpoint.request().await;
    connection
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\ntea\r\n")
        .await;
    client.head().await;
    assert_eq!(client.chunk().await, b"tea");
    drop(client);
    assert_eq!(connection.rest().await, b"");
}

#[tokio::test]
async fn a_client_that_goes_away_during_its_request_ends_it() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\ncontent-length: 9\r\n\r\ntea")
        .await;
    let (mut connection, _) = endpoint.request().await;
    assert_eq!(connection.exactly(3).await, b"tea");
    drop(client);
    assert_eq!(connection.rest().await, b"");
}

#[tokio::test]
async fn a_response_that_is_cut_is_cut_for_the_client_too() {
    for head in [
        "content-length: 9\r\n\r\ntea",
        "transfer-encoding: chunked\r\n\r\n3\r\ntea\r\n",
    ] {
        let (setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
        client.get("/").await;
        let (mut connection, _) = endpoint.request().await;
        connection.send(format!("HTTP/1.1 200 OK\r\n{head}")).await;
        client.head().await;
        drop(connection);
        let rest = client.rest().await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
        setting
            .until("flotilla_proxy_aborts_total{cause=\"endpoint\"}", 1.0)
            .await;
    }
}

#[tokio::test]
async fn without_an_endpoint_clients_are_asked_to_come_back() {
    let setting = Setting::with_leg(&[], Leg::default()).await;
    let mut client = setting.client().await;
    client.get("/").await;
    let (head, body) = client.response().await;
    assert_eq!(head.status(), 503);
    assert_eq!(head.header("retry-after"), Some("1"));
    assert_eq!(body, b"no endpoint is ready\n");
}

#[tokio::test]
async fn a_connection_stays_when_the_rest_of_a_body_is_of_no_use() {
    let setting = Setting::with_leg(&[], Leg::default()).await;
    let mut client = setting.client().await;
    let half = vec![b'x'; 300_000];
    for (framing, begin, end) in [
        ("content-length: 600000", "", ""),
        ("transfer-encoding: chunked", "927c0\r\n", "\r\n0\r\n\r\n"),
    ] {
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\n{framing}\r\n\r\n{begin}");
        client.send(head).await;
        client.send(&half).await;
        assert_eq!(client.response().await.0.status(), 503);
        client.send(&half).await;
        client.send(end).await;
        client.get("/").await;
        assert_eq!(client.response().await.0.status(), 503);
    }
    drop(client);
    setting.until("flotilla_proxy_requests_in_flight", 0.0).await;
}

#[tokio::test]
async fn a_leg_that_does_not_exist_is_answered_with_503() {
    let setting = Setting::with_leg(&[], Leg::default()).await;
    let mut client = setting.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: other\r\n\r\n")
        .await;
    let (head, body) = client.response().await;
    assert_eq!(
        (head.status(), body.as_slice()),
        (503, b"no such leg\n".as_slice())
    );
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.response().await.0.status(), 503);
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_connected_to_is_answered_with_502() {
    let setting = Setting::with_leg(&[nowhere().await], Leg::default()).await;
    let mut client = setting.client().await;
    client.post("tea").await;
    assert_eq!(client.response().await.0.status(), 502);
}

#[tokio::test]
async fn half_a_response_head_is_answered_with_502() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    client.post("tea").await;
    let (mut connection, _) = endpoint.request().await;
    connection.send("HTTP/1.1 200 OK\r\ncontent-").await;
    drop(connection);
    assert_eq!(client.response().await.0.status(), 502);
}
