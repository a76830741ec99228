//! Clients that leave.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{
    client::{Protocol, Request, Target},
    environment::limit,
    inference::{
        model_server::{MODEL, ModelServer, Pace},
        served_pool::{HOST, ServedPool},
    },
    standalone::eventually,
};
use futures::future::try_join_all;
use http_body_util::BodyExt;
use hyper::Method;
use tokio::{sync::Semaphore, time::Instant};

/// Slow enough that a stream has no end, for any number of clients.
const SLOW: Pace = Pace {
    first: Duration::ZERO,
    next: Duration::from_millis(100),
    slots: Semaphore::MAX_PERMITS,
};

/// A pool whose picker chooses a model server, in the place of its first pod.
async fn slow_pool() -> Result<(ServedPool, ModelServer)> {
    let mut pool = ServedPool::start().await?;
    let address = pool.pod(0);
    drop(pool.pods.remove(0));
    let server = eventually(async || ModelServer::start("slow", address, SLOW).await).await?;
    pool.picker.choose(&address.to_string());
    Ok((pool, server))
}

fn endless() -> Request {
    let body = format!(r#"{{"model":"{MODEL}","stream":true,"max_tokens":1000000}}"#);
    let request = Request::new(Method::POST, "/v1/chat/completions");
    request.host(HOST).body(body)
}

/// Opens a stream and reads its first event.
async fn stream(edge: &Target) -> Result<impl Send + use<>> {
    let mut connection = edge.connect().await?;
    let response = connection.open(endless()).await?;
    ensure!(response.status() == 200, "{}", response.status());
    let mut body = response.into_body();
    body.frame().await.context("the stream has an event")??;
    Ok((connection, body))
}

/// Waits until nobody has a request, and says how long that took.
async fn until_idle(pool: &ServedPool, server: &ModelServer) -> Result<Duration> {
    let left = Instant::now();
    eventually(async || {
        let open = (server.running(), pool.picker.open());
        ensure!(open == (0, 0), "requests at the pod and at the picker: {open:?}");
        Ok(())
    })
    .await?;
    Ok(left.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_leaves_ends_its_request_everywhere() -> Result<()> {
    let (pool, server) = slow_pool().await?;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for _ in 0..5 {
            let client = stream(&pool.edge.clone().protocol(protocol)).await?;
            assert_eq!((server.running(), pool.picker.open()), (1, 1));
            drop(client);
            let took = until_idle(&pool, &server).await?;
            assert!(took < limit(Duration::from_millis(500)), "{protocol:?}: {took:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_leaves_before_the_choice_ends_the_exchange() -> Result<()> {
    let (pool, server) = slow_pool().await?;
    pool.picker.follow(async |mut exchange| {
        exchange.request().await?;
        std::future::pending().await
    });
    let mut connection = pool.edge.connect().await?;
    {
        let asked = connection.open(endless());
        let begun = eventually(async || {
            ensure!(pool.picker.open() == 1, "nothing was asked");
            Ok(())
        });
        tokio::select! {
            answer = asked => panic!("{answer:?}"),
            begun = begun => begun?,
        }
    }
    drop(connection);
    let took = until_idle(&pool, &server).await?;
    assert!(took < limit(Duration::from_millis(500)), "{took:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_clients_that_leave_are_forgotten_within_a_second() -> Result<()> {
    let (pool, server) = slow_pool().await?;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.extend(try_join_all((0..50).map(|_| stream(&pool.edge))).await?);
    }
    assert_eq!((server.running(), pool.picker.open()), (1000, 1000));
    drop(clients);
    let took = until_idle(&pool, &server).await?;
    println!("idle after {took:.0?}");
    assert!(took < limit(Duration::from_secs(1)), "{took:?}");
    // And the connections to picker and pod serve the next ones.
    let last = stream(&pool.edge).await?;
    drop(last);
    until_idle(&pool, &server).await?;
    Ok(())
}
