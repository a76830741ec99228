//! Times that are over.

use proto::fleet::{Leg, ProxySettings, Retry};

use crate::setting::{Endpoint, Setting, data, one_endpoint, one_endpoint_with};

/// Short enough to wait for, and long enough for what a busy machine has to do in it, in milliseconds.
const SHORT: u64 = 500;

/// A leg whose requests have little time.
fn short_request() -> Leg {
    Leg {
        request_timeout: Some(SHORT),
        ..Leg::default()
    }
}

/// A leg whose tries have little time.
fn short_try() -> Leg {
    Leg {
        backend_request_timeout: Some(SHORT),
        ..Leg::default()
    }
}

#[tokio::test]
async fn a_request_whose_time_is_over_before_the_response_gets_504() {
    let (_setting, mut client, endpoint) = one_endpoint(short_request()).await;
    client.get("/").await;
    let (mut connection, _) = endpoint.request().await;
    assert_eq!(client.response().await.0.status(), 504);
    assert_eq!(connection.rest().await, b"");
}

#[tokio::test]
async fn a_request_whose_time_is_over_during_the_response_is_cut() {
    for leg in [short_request(), short_try()] {
        let (_setting, mut client, endpoint) = one_endpoint(leg).await;
        client.get("/").await;
        let (mut connection, _) = endpoint.request().await;
        connection
            .send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ntea")
            .await;
        assert_eq!(client.head().await.status(), 200);
        assert_eq!(client.rest().await, b"tea");
        assert_eq!(connection.rest().await, b"");
    }
}

#[tokio::test]
async fn a_response_is_cut_in_time_though_bytes_keep_coming() {
    let (_setting, mut client, endpoint) = one_endpoint(short_request()).await;
    client.get("/").await;
    let (mut connection, _) = endpoint.request().await;
    connection
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let tokens = tokio::spawn(async move {
        while connection.can_send(b"3\r\ntea\r\n").await {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(client.head().await.status(), 200);
    assert!(!client.rest().await.ends_with(b"0\r\n\r\n"));
    tokens.await.unwrap();
}

#[tokio::test]
async fn a_try_whose_time_is_over_gets_504_unless_it_is_retried() {
    let (setting, mut client, _slow) = one_endpoint(short_try()).await;
    client.post("tea").await;
    assert_eq!(client.response().await.0.status(), 504);

    let leg = Leg {
        retry: Some(Retry {
            attempts: 1,
            ..Retry::default()
        }),
        ..short_try()
    };
    let slow = Endpoint::listen().await;
    setting.put(&data(&[slow.address], leg)).await;
    client.post("tea").await;
    slow.request().await;
    let (mut second, _) = slow.request().await;
    assert_eq!(second.exactly(3).await, b"tea");
    second.respond("200 OK", "pot").await;
    assert_eq!(client.response().await.1, b"pot");
}

#[tokio::test]
async fn silence_before_the_response_gets_504() {
    let settings = ProxySettings {
        first_byte_timeout: SHORT,
        ..ProxySettings::default()
    };
    let (_setting, mut client, _endpoint) = one_endpoint_with(Leg::default(), settings).await;
    client.get("/").await;
    assert_eq!(client.response().await.0.status(), 504);
}

#[tokio::test]
async fn silence_during_a_body_cuts_it() {
    let settings = ProxySettings {
        idle_timeout: SHORT,
        ..ProxySettings::default()
    };
    let (setting, mut client, endpoint) = one_endpoint_with(Leg::default(), settings).await;

    // The response's.
    client.get("/").await;
    let (mut connection, _) = endpoint.request().await;
    connection
        .send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ntea")
        .await;
    client.head().await;
    assert_eq!(client.rest().await, b"tea");

    // The request's.
    let mut client = setting.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\ncontent-length: 9\r\n\r\ntea")
        .await;
    let (mut connection, _) = endpoint.request().await;
    assert_eq!(client.head().await.status(), 504);
    assert_eq!(connection.rest().await, b"tea");
}

#[tokio::test]
async fn silence_on_an_upgraded_connection_ends_it() {
    let settings = ProxySettings {
        idle_timeout: SHORT,
        ..ProxySettings::default()
    };
    let (_setting, mut client, endpoint) = one_endpoint_with(Leg::default(), settings).await;
    let head = "GET / HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    client.send(head).await;
    let (mut connection, _) = endpoint.request().await;
    connection
        .send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 101);
    connection.send("pong").await;
    assert_eq!(client.rest().await, b"pong");
    assert_eq!(connection.rest().await, b"");
}

#[tokio::test]
async fn connections_that_are_not_taken_get_504() {
    // A backlog of one that is full: nothing answers further connections.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    while let Ok(connected) = tokio::time::timeout(
        std::time::Duration::from_millis(SHORT),
        tokio::net::TcpStream::connect(address),
    )
    .await
    {
        filling.push(connected.unwrap());
    }
    let settings = ProxySettings {
        connect_timeout: SHORT,
        ..ProxySettings::default()
    };
    let setting = Setting::with_settings(&[address], Leg::default(), settings).await;
    let mut client = setting.client().await;
    client.get("/").await;
    assert_eq!(client.response().await.0.status(), 504);
}
