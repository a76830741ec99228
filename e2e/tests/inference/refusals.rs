//! Pickers that answer in place of an endpoint.

use anyhow::{Result, ensure};
use e2e::{
    client::{Protocol, Request},
    inference::{
        picker::Exchange,
        served_pool::{HOST, Options, ServedPool},
    },
    standalone::eventually,
};
use http_body_util::BodyExt;
use hyper::Method;
use proto::envoy::service::ext_proc::v3::processing_request::Request as Part;

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
    let pod = pool.pod(0).to_string();
    pool.picker.follow(move |mut exchange: Exchange| {
        let pod = pod.clone();
        async move {
            let asked = exchange.request().await?;
            exchange.choose(&pod).await?;
            exchange.return_body(asked.body).await?;
            exchange.next().await?;
            exchange.refuse(429, &[("x-evicted", "yes")], "evicted").await
        }
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
async fn refusal_of_a_response_that_has_begun_breaks_it_off() -> Result<()> {
    let pool = ServedPool::start().await?;
    let pod = pool.pod(0).to_string();
    pool.picker.follow(move |mut exchange: Exchange| {
        let pod = pod.clone();
        async move {
            let asked = exchange.request().await?;
            exchange.choose(&pod).await?;
            exchange.return_body(asked.body).await?;
            let mut chunks = 0;
            while let Some(message) = exchange.next().await? {
                match message.request {
                    Some(Part::ResponseHeaders(_)) => exchange.pass_headers().await?,
                    Some(Part::ResponseBody(chunk)) => {
                        chunks += 1;
                        if chunks == 3 {
                            return exchange.refuse(429, &[], "evicted").await;
                        }
                        exchange.pass_chunk(chunk).await?;
                    }
                    _ => {}
                }
            }
            Ok(())
        }
    });
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut connection = pool.edge.clone().protocol(protocol).connect().await?;
        let response = connection.open(Request::get("/?stream=50").host(HOST)).await?;
        assert_eq!(response.status(), 200);
        let broken = response.into_body().collect().await;
        assert!(
            broken.is_err(),
            "{protocol:?}: the client takes the stream for whole"
        );
    }
    eventually(async || {
        ensure!(
            pool.picker.open() == 0,
            "{} exchanges are open",
            pool.picker.open()
        );
        Ok(())
    })
    .await
}
