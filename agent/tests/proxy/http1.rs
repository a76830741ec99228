//! Requests and responses in HTTP/1.1.

use proto::fleet::Leg;

use crate::setting::{Endpoint, Setting, data, nowhere, one_endpoint};

#[tokio::test]
async fn a_request_goes_to_the_leg_s_endpoint_and_its_response_back() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    client.get("/tea?hot=1").await;

    let (mut connection, request) = endpoint.request().await;
    assert_eq!(request.first(), "GET /tea?hot=1 HTTP/1.1");
    assert_eq!(request.header("host"), Some("shop.example"));
    assert_eq!(request.header("x-flotilla-leg"), None);
    assert_eq!(request.header("content-length"), None);
    assert_eq!(request.header("transfer-encoding"), None);
    connection
        .send("HTTP/1.1 418 Short And Stout\r\nx-pot: 1\r\ncontent-length: 3\r\n\r\ntea")
        .await;

    let (head, body) = client.response().await;
    assert_eq!(head.first(), "HTTP/1.1 418 Short And Stout");
    assert_eq!(head.header("x-pot"), Some("1"));
    assert_eq!(body, b"tea");
}

#[tokio::test]
async fn connections_to_endpoints_are_kept_over_requests_and_data() {
    let (setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    client.get("/1").await;
    let (mut connection, _) = endpoint.request().await;
    connection.respond("200 OK", "one").await;
    client.response().await;

    setting
        .put(&data(&[endpoint.address, nowhere().await], Leg::default()))
        .await;
    setting.put(&data(&[endpoint.address], Leg::default())).await;

    client.get("/2").await;
    assert_eq!(connection.head().await.first(), "GET /2 HTTP/1.1");
    connection.respond("200 OK", "two").await;
    assert_eq!(client.response().await.1, b"two");
}

#[tokio::test]
async fn headers_of_one_connection_are_not_passed_on() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    let head = "GET / HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\nconnection: x-mine\r\nx-mine: 1\r\nkeep-alive: 9\r\n";
    client
        .send(format!(
            "{head}x-gateway-destination-endpoint: 198.18.0.1:1\r\nx-kept: 1\r\n\r\n"
        ))
        .await;

    let (mut connection, request) = endpoint.request().await;
    for name in [
        "connection",
        "x-mine",
        "keep-alive",
        "x-gateway-destination-endpoint",
    ] {
        assert_eq!(request.header(name), None, "{name}");
    }
    assert_eq!(request.header("x-kept"), Some("1"));
    let head = "HTTP/1.1 200 OK\r\nconnection: close, x-theirs\r\nx-theirs: 1\r\nx-kept: 1\r\n";
    connection.send(format!("{head}content-length: 0\r\n\r\n")).await;

    let (head, _) = client.response().await;
    for name in ["connection", "x-theirs"] {
        assert_eq!(head.header(name), None, "{name}");
    }
    assert_eq!(head.header("x-kept"), Some("1"));
}

#[tokio::test]
async fn tokens_come_as_they_are_made() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    client.get("/").await;
    let (mut connection, _) = endpoint.request().await;
    connection
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    assert_eq!(client.head().await.header("transfer-encoding"), Some("chunked"));
    for token in ["a", "bb", "ccc"] {
        connection.send(format!("{:x}\r\n{token}\r\n", token.len())).await;
        assert_eq!(client.chunk().await, token.as_bytes());
    }
    connection.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await, b"");
}

#[tokio::test]
async fn a_body_is_passed_on_while_it_comes() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let mut connection = endpoint.accept().await;
    assert_eq!(
        connection.head().await.header("transfer-encoding"),
        Some("chunked")
    );
    for part in ["one", "four", "three"] {
        client.send(format!("{:x}\r\n{part}\r\n", part.len())).await;
        assert_eq!(connection.chunk().await, part.as_bytes());
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(connection.chunk().await, b"");
}

#[tokio::test]
async fn empty_bodies_stay_as_they_are_said() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    client.post("").await;
    let (mut connection, request) = endpoint.request().await;
    assert_eq!(request.header("content-length"), Some("0"));
    connection.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    let response = client.head().await;
    assert_eq!(response.status(), 204);
    assert_eq!(response.header("content-length"), None);

    client
        .send("POST / HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\n\r\n")
        .await;
    let request = connection.head().await;
    assert_eq!(request.header("content-length"), None);
    assert_eq!(request.header("transfer-encoding"), None);
    connection
        .send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(client.head().await.header("content-length"), Some("0"));
}

#[tokio::test]
async fn the_response_to_head_keeps_its_length() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    let mut connection = None;
    for _ in 0..2 {
        client
            .send("HEAD / HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\n\r\n")
            .await;
        if connection.is_none() {
            connection = Some(endpoint.accept().await);
        }
        // The second request comes over the same connection.
        let connection = connection.as_mut().unwrap();
        assert_eq!(connection.head().await.first(), "HEAD / HTTP/1.1");
        connection
            .send("HTTP/1.1 200 OK\r\ncontent-length: 42\r\n\r\n")
            .await;
        assert_eq!(client.head().await.header("content-length"), Some("42"));
    }
}

#[tokio::test]
async fn an_expectation_is_met_by_the_proxy() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    client.send(head).await;
    assert_eq!(client.head().await.status(), 100);
    client.send("tea").await;
    let mut connection = endpoint.accept().await;
    assert_eq!(connection.head().await.header("expect"), None);
    assert_eq!(connection.exactly(3).await, b"tea");
    connection.respond("200 OK", "").await;
    assert_eq!(client.response().await.0.status(), 200);
}

#[tokio::test]
async fn interim_responses_do_not_end_the_request() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    client.get("/").await;
    let (mut connection, _) = endpoint.request().await;
    connection
        .send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
        .await;
    connection.respond("200 OK", "tea").await;
    // NGINX would not pass on the first one either.
    assert_eq!(client.response().await.0.status(), 200);
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\nte: trailers\r\ntrailer: x-sum\r\n";
    client
        .send(format!(
            "{head}transfer-encoding: chunked\r\n\r\n3\r\ntea\r\n0\r\nx-sum: 1\r\n\r\n"
        ))
        .await;
    let (mut connection, request) = endpoint.request().await;
    assert_eq!(request.header("te"), Some("trailers"));
    assert_eq!(connection.chunk().await, b"tea");
    assert_eq!(connection.chunk().await, b"");
    assert_eq!(connection.until(b"\r\n\r\n").await, b"x-sum: 1\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n";
    connection
        .send(format!("{head}3\r\npot\r\n0\r\nx-sum: 2\r\n\r\n"))
        .await;
    client.head().await;
    assert_eq!(client.chunk().await, b"pot");
    assert_eq!(client.chunk().await, b"");
    assert_eq!(client.until(b"\r\n\r\n").await, b"x-sum: 2\r\n\r\n");
}

#[tokio::test]
async fn an_upgraded_connection_passes_bytes_both_ways_until_it_ends() {
    let (setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    let head = "GET /chat HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    client.send(format!("{head}sec-websocket-key: k\r\n\r\n")).await;
    let (mut connection, request) = endpoint.request().await;
    assert_eq!(request.header("upgrade"), Some("websocket"));
    assert_eq!(request.header("connection"), Some("upgrade"));
    assert_eq!(request.header("sec-websocket-key"), Some("k"));
    let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    connection
        .send(format!("{head}sec-websocket-accept: s\r\n\r\n"))
        .await;
    let response = client.head().await;
    assert_eq!(response.status(), 101);
    assert_eq!(response.header("upgrade"), Some("websocket"));
    client.send("ping").await;
    assert_eq!(connection.exactly(4).await, b"ping");
    connection.send("pong").await;
    assert_eq!(client.exactly(4).await, b"pong");
    drop(connection);
    assert_eq!(client.rest().await, b"");
    drop(client);
    setting.until("flotilla_proxy_requests_in_flight", 0.0).await;
}

#[tokio::test]
async fn an_upgrade_may_be_refused() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    let head = "GET / HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    client.send(head).await;
    let (mut connection, _) = endpoint.request().await;
    connection.respond("403 Forbidden", "no").await;
    let (head, body) = client.response().await;
    assert_eq!((head.status(), body.as_slice()), (403, b"no".as_slice()));
}

#[tokio::test]
async fn an_endpoint_that_does_not_read_stops_the_client() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\ncontent-length: 1000000000\r\n\r\n";
    client.send(head).await;
    let (_connection, _) = endpoint.request().await;
    // Far less than is sent fits into sockets and buffers, and a proxy that buffered more would take all of it.
    let chunk = vec![0; 1 << 20];
    let mut sent = 0;
    while tokio::time::timeout(std::time::Duration::from_millis(500), client.can_send(&chunk)).await
        == Ok(true)
    {
        sent += 1;
        assert!(sent < 64, "{sent} MiB are somewhere");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_endpoint() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    client.get("/").await;
    let (mut connection, _) = endpoint.request().await;
    connection
        .send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        .await;
    client.head().await;
    let chunk = vec![0; 1 << 20];
    let mut sent = 0;
    while tokio::time::timeout(std::time::Duration::from_millis(500), connection.can_send(&chunk)).await
        == Ok(true)
    {
        sent += 1;
        assert!(sent < 64, "{sent} MiB are somewhere");
    }
}

#[tokio::test]
async fn the_endpoint_with_the_fewest_requests_is_chosen() {
    let busy = Endpoint::listen().await;
    let idle = Endpoint::listen().await;
    let setting = Setting::with_leg(&[busy.address], Leg::default()).await;
    let mut first = setting.client().await;
    first.get("/first").await;
    let (_held, _) = busy.request().await;
    setting
        .put(&data(&[busy.address, idle.address], Leg::default()))
        .await;
    let mut connection = None;
    // More than take turns.
    for _ in 0..4 {
        let mut client = setting.client().await;
        client.get("/").await;
        if connection.is_none() {
            connection = Some(idle.accept().await);
        }
        let connection = connection.as_mut().unwrap();
        connection.head().await;
        connection.respond("200 OK", "").await;
        assert_eq!(client.response().await.0.status(), 200);
    }
}
