//! Pickers that answer in place of an endpoint.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{
    client::{Protocol, Request},
    inference::{
        picker::Exchange,
        served_pool::{HOST, Options, ServedPool},
    },
};
use http_body_util::BodyExt;
use hyper::Method;
use proto::envoy::service::ext_proc::v3::processing_request::Request as Part;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    time::timeout,
};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_mins(1);

fn post() -> Request {
    Request::new(Method::POST, "/").body("body")
}

#[tokio::test]
async fn refusal_is_the_answer_with_its_status_headers_and_body() -> Result<()> {
    // A refusal is no failure: it holds for FailOpen too.
    let pool = ServedPool::with(Options {
        failure_mode: "FailOpen",
        ..Options::default()
    })
    .await?;
    for (status, body) in [
        (429, "system saturated, sheddable request dropped"),
        (503, "failed to find endpoint candidates"),
        (400, "{\"error\": \"no such model\"}"),
        (404, ""),
        (500, "oh"),
    ] {
        pool.picker.follow(move |mut exchange: Exchange| async move {
            exchange.request().await?;
            let headers = [
                ("x-llm-d-request-dropped-reason", "rejected-ttl-expired"),
                ("content-type", "application/json"),
            ];
            exchange.refuse(status, &headers, body).await
        });
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let client = pool.edge.clone().protocol(protocol);
            let answer = client.send(post().host(HOST)).await?;
            assert_eq!(answer.status.as_u16(), status, "{answer}");
            assert_eq!(answer.body, body);
            assert_eq!(
                (
                    answer.header("x-llm-d-request-dropped-reason"),
                    answer.header("content-type")
                ),
                ("rejected-ttl-expired", "application/json"),
            );
            assert_eq!(
                answer.header("retry-after"),
                "",
                "{answer} says more than the picker did"
            );
        }
    }
    let served: usize = pool.pods.iter().map(|pod| pod.count("/")).sum();
    // The warm-up is a GET.
    assert_eq!(served - warm_ups(&pool), 0, "a refused request reached a pod");
    Ok(())
}

fn warm_ups(pool: &ServedPool) -> usize {
    let seen = pool.pods.iter().flat_map(e2e::echo::Echo::seen);
    seen.filter(|seen| seen.method == "GET").count()
}

#[tokio::test]
async fn refusal_needs_no_end_of_the_request() -> Result<()> {
    let pool = ServedPool::start().await?;
    pool.picker.follow(async |mut exchange: Exchange| {
        exchange.next().await?;
        exchange.refuse(429, &[], "not now").await
    });
    for length in [0, 10, 5_000_000] {
        let request = Request::new(Method::POST, "/").body(vec![b'x'; length]);
        let answer = pool.send(request).await?;
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..]),
            (429, &b"not now"[..]),
            "{length}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn refusal_of_a_response_that_has_not_begun_replaces_it() -> Result<()> {
    let pool = ServedPool::start().await?;
    pool.follow(async |mut exchange, pod| {
        let asked = exchange.request().await?;
        exchange.choose(&pod).await?;
        exchange.return_body(asked.body).await?;
        exchange.next().await?;
        exchange.refuse(429, &[("x-evicted", "yes")], "evicted").await
    });
    let answer = pool.send(post()).await?;
    assert_eq!(
        (answer.status.as_u16(), &answer.body[..]),
        (429, &b"evicted"[..]),
        "{answer}"
    );
    assert_eq!(answer.header("x-evicted"), "yes");
    Ok(())
}

#[tokio::test]
async fn refusal_says_when_to_come_again_and_no_more_than_its_status_allows() -> Result<()> {
    let pool = ServedPool::start().await?;
    for (status, expected) in [(429, "busy"), (503, "busy"), (204, ""), (304, "")] {
        pool.picker.follow(move |mut exchange: Exchange| async move {
            exchange.request().await?;
            exchange.refuse(status, &[("retry-after", "7")], "busy").await
        });
        let mut connection = pool.edge.connect().await?;
        // The connection is as good as before.
        for _ in 0..2 {
            let answer = connection.send(post().host(HOST)).await?;
            assert_eq!(answer.status.as_u16(), status, "{answer}");
            assert_eq!(
                (answer.header("retry-after"), &answer.body[..]),
                ("7", expected.as_bytes())
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn refusal_comes_though_the_client_waits_with_its_body() -> Result<()> {
    let pool = ServedPool::start().await?;
    pool.picker.follow(async |mut exchange: Exchange| {
        exchange.next().await?;
        exchange.refuse(429, &[], "not now").await
    });
    let mut client = TcpStream::connect(pool.edge.address()).await?;
    let head =
        format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 5000000\r\n\r\n");
    client.write_all(head.as_bytes()).await?;
    let mut answers = Vec::new();
    while !answers.ends_with(b"not now") {
        let read = timeout(PATIENCE, client.read_buf(&mut answers)).await??;
        ensure!(read > 0, "{}", String::from_utf8_lossy(&answers));
    }
    let answers = String::from_utf8(answers)?;
    let (first, second) = answers.split_once("\r\n\r\n").context("two heads")?;
    // NGINX asks for the body before anybody was asked.
    assert_eq!(first, "HTTP/1.1 100 Continue", "{answers}");
    assert!(second.starts_with("HTTP/1.1 429 "), "{answers}");
    Ok(())
}

#[tokio::test]
async fn request_that_its_pod_has_not_answered_yet_can_be_evicted() -> Result<()> {
    let pool = ServedPool::start().await?;
    pool.follow(async |mut exchange, pod| {
        let asked = exchange.request().await?;
        exchange.choose(&pod).await?;
        exchange.return_body(asked.body).await?;
        exchange.refuse(429, &[("x-evicted", "yes")], "evicted").await
    });
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let request = Request::new(Method::POST, "/?delay=600000ms")
            .host(HOST)
            .body("body");
        let client = pool.edge.clone().protocol(protocol);
        let answer = timeout(PATIENCE, client.send(request)).await??;
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..]),
            (429, &b"evicted"[..]),
            "{answer}"
        );
        assert_eq!(answer.header("x-evicted"), "yes");
    }
    pool.exchanges_have_ended().await
}

#[tokio::test]
async fn refusal_of_a_response_that_has_begun_breaks_it_off() -> Result<()> {
    let pool = ServedPool::start().await?;
    // With nothing but the head at the client, and in the middle.
    for (protocol, passed) in [
        (Protocol::Http1, 0),
        (Protocol::Http2, 0),
        (Protocol::Http1, 2),
        (Protocol::Http2, 2),
    ] {
        let begun = Arc::new(Notify::new());
        let response_has_begun = Arc::clone(&begun);
        pool.follow(move |mut exchange, pod| {
            let begun = Arc::clone(&response_has_begun);
            async move {
                let asked = exchange.request().await?;
                exchange.choose(&pod).await?;
                exchange.return_body(asked.body).await?;
                let mut chunks = 0;
                while let Some(message) = exchange.next().await? {
                    match message.request {
                        Some(Part::ResponseHeaders(_)) => exchange.pass_headers().await?,
                        Some(Part::ResponseBody(_)) if chunks == passed => {
                            begun.notified().await;
                            return exchange.refuse(429, &[], "evicted").await;
                        }
                        Some(Part::ResponseBody(chunk)) => {
                            chunks += 1;
                            exchange.pass_chunk(chunk).await?;
                        }
                        _ => {}
                    }
                }
                Ok(())
            }
        });
        let mut connection = pool.edge.clone().protocol(protocol).connect().await?;
        let response = connection.open(Request::get("/?stream=50").host(HOST)).await?;
        assert_eq!(response.status(), 200);
        begun.notify_one();
        let broken = response.into_body().collect().await;
        assert!(
            broken.is_err(),
            "{protocol:?} after {passed}: the client takes the stream for whole"
        );
    }
    pool.exchanges_have_ended().await
}
