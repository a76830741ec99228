//! Requests that are sent again.

use proto::fleet::{Leg, ProxySettings, Retry};

use crate::setting::{Endpoint, Setting, nowhere, one_endpoint, one_endpoint_with};

fn retry(codes: &[u32], attempts: u32) -> Leg {
    Leg {
        retry: Some(Retry {
            codes: codes.to_vec(),
            attempts,
            backoff: 1,
        }),
        ..Leg::default()
    }
}

#[tokio::test]
async fn another_endpoint_is_taken_when_one_cannot_be_connected_to() {
    let endpoint = Endpoint::listen().await;
    let setting = Setting::with_leg(
        &[nowhere().await, endpoint.address, nowhere().await],
        Leg::default(),
    )
    .await;
    let mut connection = None;
    // As many as take turns: each endpoint is the first of one.
    for _ in 0..3 {
        let mut client = setting.client().await;
        client.post("tea").await;
        if connection.is_none() {
            connection = Some(endpoint.accept().await);
        }
        let connection = connection.as_mut().unwrap();
        connection.head().await;
        assert_eq!(connection.exactly(3).await, b"tea");
        connection.respond("200 OK", "pot").await;
        assert_eq!(client.response().await.1, b"pot");
    }
}

#[tokio::test]
async fn a_status_of_the_list_is_retried_at_another_endpoint() {
    let one = Endpoint::listen().await;
    let other = Endpoint::listen().await;
    let setting = Setting::with_leg(&[one.address, other.address], retry(&[503], 1)).await;
    let mut client = setting.client().await;
    client.post("tea").await;
    let (mut first, second) = tokio::select! {
        first = one.accept() => (first, &other),
        first = other.accept() => (first, &one),
    };
    first.head().await;
    assert_eq!(first.exactly(3).await, b"tea");
    first.respond("503 Service Unavailable", "no").await;
    let (mut second, _) = second.request().await;
    assert_eq!(second.exactly(3).await, b"tea");
    second.respond("200 OK", "pot").await;
    assert_eq!(client.response().await.1, b"pot");
}

#[tokio::test]
async fn the_last_try_s_response_is_final_whatever_its_status() {
    let (_setting, mut client, endpoint) = one_endpoint(retry(&[500], 2)).await;
    client.get("/").await;
    for number in 0..3 {
        let (mut connection, _) = endpoint.request().await;
        connection
            .respond("500 Internal Server Error", &format!("no {number}"))
            .await;
    }
    let (head, body) = client.response().await;
    assert_eq!((head.status(), body.as_slice()), (500, b"no 2".as_slice()));
}

#[tokio::test]
async fn other_statuses_are_not_retried() {
    let (_setting, mut client, endpoint) = one_endpoint(retry(&[503], 3)).await;
    client.get("/").await;
    let (mut connection, _) = endpoint.request().await;
    connection.respond("500 Internal Server Error", "no").await;
    assert_eq!(client.response().await.0.status(), 500);
}

#[tokio::test]
async fn failures_of_the_connection_are_retried_where_there_is_a_retry() {
    let (_setting, mut client, endpoint) = one_endpoint(retry(&[], 1)).await;
    client.post("tea").await;
    let (connection, _) = endpoint.request().await;
    drop(connection);
    let (mut connection, _) = endpoint.request().await;
    assert_eq!(connection.exactly(3).await, b"tea");
    connection.respond("200 OK", "pot").await;
    assert_eq!(client.response().await.1, b"pot");
}

#[tokio::test]
async fn a_body_larger_than_the_buffer_is_not_sent_again() {
    let settings = ProxySettings {
        replay_buffer: 2,
        ..ProxySettings::default()
    };
    let (_setting, mut client, endpoint) = one_endpoint_with(retry(&[503], 3), settings).await;
    client.post("tea").await;
    let (mut connection, _) = endpoint.request().await;
    assert_eq!(connection.exactly(3).await, b"tea");
    connection.respond("503 Service Unavailable", "no").await;
    assert_eq!(client.response().await.0.status(), 503);
}

#[tokio::test]
async fn what_an_endpoint_may_have_seen_is_not_sent_again_by_itself() {
    let endpoint = Endpoint::listen().await;
    let setting = Setting::with_leg(&[endpoint.address], Leg::default()).await;
    for _ in 0..2 {
        let mut client = setting.client().await;
        client.post("tea").await;
        let (mut connection, _) = endpoint.request().await;
        connection.respond("200 OK", "").await;
        assert_eq!(client.response().await.0.status(), 200);
        // Over the connection that was kept.
        client.post("tea").await;
        connection.head().await;
        drop(connection);
        assert_eq!(client.response().await.0.status(), 502);
    }
}

#[tokio::test]
async fn a_kept_connection_that_ends_costs_a_safe_request_nothing() {
    let (_setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    client.get("/1").await;
    let (mut connection, _) = endpoint.request().await;
    connection.respond("200 OK", "").await;
    client.response().await;
    client.get("/2").await;
    connection.head().await;
    drop(connection);
    let mut connection = endpoint.accept().await;
    assert_eq!(connection.head().await.first(), "GET /2 HTTP/1.1");
    connection.respond("200 OK", "pot").await;
    assert_eq!(client.response().await.1, b"pot");
}

#[tokio::test]
async fn the_time_of_the_request_holds_for_all_tries() {
    let leg = Leg {
        request_timeout: Some(200),
        retry: Some(Retry {
            codes: vec![503],
            attempts: 1,
            backoff: 60_000,
        }),
        ..Leg::default()
    };
    let (_setting, mut client, endpoint) = one_endpoint(leg).await;
    client.get("/").await;
    let (mut connection, _) = endpoint.request().await;
    connection.respond("503 Service Unavailable", "no").await;
    assert_eq!(client.response().await.0.status(), 504);
}
