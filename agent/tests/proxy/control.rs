//! The control socket, and the process' end.

use std::time::Duration;

use proto::fleet::Leg;

use crate::setting::{Endpoint, LONG, Setting, data, one_endpoint};

#[tokio::test]
async fn health_and_metrics_are_answered() {
    let setting = Setting::with_leg(&[], Leg::default()).await;
    let mut control = setting.control().await;
    control.send("GET /healthz HTTP/1.1\r\nhost: proxy\r\n\r\n").await;
    assert_eq!(control.response().await.0.status(), 200);
    assert!(setting.metric("flotilla_proxy_requests_in_flight").await.abs() < f64::EPSILON);
}

#[tokio::test]
async fn what_is_no_data_is_refused_and_changes_nothing() {
    let endpoint = Endpoint::listen().await;
    let setting = Setting::with_leg(&[endpoint.address], Leg::default()).await;
    let mut control = setting.control().await;
    control
        .send("PUT /data HTTP/1.1\r\nhost: proxy\r\ncontent-length: 4\r\n\r\nnone")
        .await;
    assert_eq!(control.response().await.0.status(), 400);
    let mut client = setting.client().await;
    client.get("/").await;
    endpoint.request().await.0.respond("200 OK", "").await;
    assert_eq!(client.response().await.0.status(), 200);
}

#[tokio::test]
async fn new_data_is_for_new_requests_and_leaves_the_others_alone() {
    let former = Endpoint::listen().await;
    let latter = Endpoint::listen().await;
    let setting = Setting::with_leg(&[former.address], Leg::default()).await;
    let mut client = setting.client().await;
    client.get("/").await;
    let (mut connection, _) = former.request().await;
    connection
        .send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ntea")
        .await;
    client.head().await;

    setting.put(&data(&[latter.address], Leg::default())).await;
    let mut second = setting.client().await;
    second.get("/").await;
    latter.request().await.0.respond("200 OK", "new").await;
    assert_eq!(second.response().await.1, b"new");

    connection.send("pot").await;
    assert_eq!(client.exactly(6).await, b"teapot");
}

#[tokio::test]
async fn requests_end_before_the_proxy_does() {
    let (setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    let mut idle = setting.client().await;
    client.get("/").await;
    let (mut connection, _) = endpoint.request().await;
    let stopping = tokio::spawn(setting.proxy.stop(LONG));
    // Those without a request are told first.
    assert_eq!(idle.rest().await, b"");
    assert!(!stopping.is_finished());
    connection.respond("200 OK", "tea").await;
    let (head, body) = client.response().await;
    assert_eq!(head.header("connection"), Some("close"));
    assert_eq!(body, b"tea");
    stopping.await.unwrap();
}

#[tokio::test]
async fn the_proxy_ends_in_time_though_requests_do_not() {
    let (setting, mut client, endpoint) = one_endpoint(Leg::default()).await;
    client.get("/").await;
    endpoint.request().await;
    setting.proxy.stop(Duration::from_millis(50)).await;
}
