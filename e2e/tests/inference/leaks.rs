//! Nothing stays behind of requests, whatever became of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    client::{Connection, Protocol, Request, Target},
    environment::number,
    inference::{
        holdings::{Held, Holdings},
        model_server::{MODEL, ModelServer, Pace},
        picker::Exchange,
        served_pool::{HOST, Options, ServedPool},
    },
    standalone::eventually,
};
use http_body_util::BodyExt;
use hyper::Method;
use proto::envoy::service::ext_proc::v3::processing_request::Request as Part;
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Semaphore, task::JoinSet, time::timeout};
use tonic::Status;

/// Requests before the first look, so that caches are full and connections are kept.
const WARM_UP: usize = 1_000;

/// Clients at a time.
const CLIENTS: usize = 16;

/// How long a client waits that gives up.
const SHORT: Duration = Duration::from_millis(20);

/// As many KiB as the memory of a process may differ between two looks: what allocators keep differs too.
const SLACK: u64 = 4 * 1024;

/// Quick, and slow enough that an endless answer does not fill the machine.
const PACE: Pace = Pace {
    first: Duration::ZERO,
    next: Duration::from_millis(1),
    slots: Semaphore::MAX_PERMITS,
};

/// What becomes of a request; its header `x-end` tells the picker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Streamed,
    /// With a body that takes several messages.
    Large,
    /// At the second of the picker's list, as the first refuses connections.
    Retried,
    Unreachable,
    Shed,
    /// The picker breaks the exchange off.
    Failed,
    /// The picker breaks the response off.
    Evicted,
    TooLong,
    LeftBeforeChoice,
    LeftDuringStream,
    LeftDuringBody,
}

const ENDS: [End; 12] = [
    End::Whole,
    End::Streamed,
    End::Large,
    End::Retried,
    End::Unreachable,
    End::Shed,
    End::Failed,
    End::Evicted,
    End::TooLong,
    End::LeftBeforeChoice,
    End::LeftDuringStream,
    End::LeftDuringBody,
];

impl End {
    fn request(self) -> Request {
        let (stream, tokens, padding) = match self {
            Self::Whole | Self::Retried => (false, 1, 0),
            Self::Large => (false, 1, 200_000),
            Self::TooLong => (false, 1, 400_000),
            Self::LeftDuringStream => (true, 1_000_000, 0),
            _ => (true, 5, 0),
        };
        let body = format!(
            r#"{{"model":"{MODEL}","stream":{stream},"max_tokens":{tokens},"prompt":"{}"}}"#,
            "x".repeat(padding)
        );
        let request = Request::new(Method::POST, "/v1/completions").host(HOST);
        request.header("x-end", &format!("{self:?}")).body(body)
    }

    /// What the client is told; none where that is not certain.
    fn status(self) -> Option<u16> {
        match self {
            Self::Whole | Self::Streamed | Self::Large | Self::Retried => Some(200),
            Self::Shed => Some(429),
            Self::TooLong => Some(413),
            Self::Unreachable => Some(502),
            Self::Failed => Some(503),
            Self::Evicted | Self::LeftBeforeChoice | Self::LeftDuringStream | Self::LeftDuringBody => None,
        }
    }
}

/// What the picker does, with the address of nobody and that of the model server.
async fn pick(mut exchange: Exchange, [nobody, server]: [String; 2]) -> Result<(), Status> {
    let asked = exchange.request().await?;
    let end = asked.header("x-end");
    let is = |wanted: End| end == format!("{wanted:?}");
    if is(End::Shed) {
        return exchange.refuse(429, &[], "not now").await;
    }
    if is(End::Failed) {
        return Err(Status::internal("the picker is ill"));
    }
    if is(End::LeftBeforeChoice) {
        return std::future::pending().await;
    }
    let list = match () {
        () if is(End::Retried) => format!("{nobody},{server}"),
        () if is(End::Unreachable) => nobody,
        () => server,
    };
    exchange.choose(&list).await?;
    let is_evicted = is(End::Evicted);
    exchange.return_body(asked.body).await?;
    while is_evicted && let Some(message) = exchange.next().await? {
        match message.request {
            Some(Part::ResponseHeaders(_)) => exchange.pass_headers().await?,
            _ => return exchange.refuse(429, &[], "evicted").await,
        }
    }
    exchange.pass_response().await
}

/// Sends a request to its end, on a connection that is kept if it can be.
async fn perform(end: End, edge: &Target, kept: &mut Option<Connection>) -> Result<()> {
    if end == End::LeftDuringBody {
        return half_a_request(edge).await;
    }
    let is_ready = match kept {
        Some(connection) => connection.ready().await,
        None => false,
    };
    let mut connection = match kept.take() {
        Some(connection) if is_ready => connection,
        _ => edge.connect().await?,
    };
    if end == End::LeftBeforeChoice {
        // In vain, as the picker never chooses.
        drop(timeout(SHORT, connection.open(end.request())).await);
        return Ok(());
    }
    let response = connection.open(end.request()).await?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    if end == End::LeftDuringStream {
        body.frame().await.context("the stream has an event")??;
        return Ok(());
    }
    let body = body.collect().await;
    let is_as_expected = match end {
        // By what of the response had been sent when the picker broke it off.
        End::Evicted => (status == 200 && body.is_err()) || status == 429,
        _ => Some(status) == end.status() && body.is_ok(),
    };
    ensure!(is_as_expected, "{status} with {body:?}");
    if !matches!(end, End::Evicted | End::TooLong) {
        *kept = Some(connection);
    }
    Ok(())
}

/// Leaves in the middle of a body.
async fn half_a_request(edge: &Target) -> Result<()> {
    let mut stream = TcpStream::connect(edge.address()).await?;
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000\r\n\r\nhalf");
    Ok(stream.write_all(head.as_bytes()).await?)
}

/// Sends so many requests, of every kind in turn.
async fn send(edge: &Target, requests: usize) -> Result<()> {
    let taken = Arc::<AtomicUsize>::default();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let protocol = [Protocol::Http1, Protocol::Http2][client % 2];
        let (edge, taken) = (edge.clone().protocol(protocol), Arc::clone(&taken));
        clients.spawn(async move {
            let mut kept = None;
            loop {
                let number = taken.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    return anyhow::Ok(());
                }
                let end = ENDS[number % ENDS.len()];
                let performed = perform(end, &edge, &mut kept).await;
                performed.with_context(|| format!("{end:?} in {protocol:?}, request {number}"))?;
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}

/// What is held when nobody has a request.
async fn idle(pool: &ServedPool, server: &ModelServer) -> Result<Holdings> {
    eventually(async || {
        let open = (server.running(), pool.picker.open());
        ensure!(open == (0, 0), "requests at the pod and at the picker: {open:?}");
        let holdings = Holdings::of(&pool.standalone).await?;
        // One connection is that of the question.
        let is_idle = holdings.in_flight == 0 && holdings.connections.unwrap_or(1) == 1;
        ensure!(is_idle, "{holdings}");
        Ok(holdings)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stays_behind_of_requests() -> Result<()> {
    let requests = number("REQUESTS", 2_000);
    let mut pool = ServedPool::with(Options {
        proxy: "{ buffers: { request: 300k } }",
        ..Options::default()
    })
    .await?;
    let address = pool.pod(1);
    pool.pods.clear();
    let server = eventually(async || ModelServer::start("server", address, PACE).await).await?;
    let pods = [pool.pod(0), address].map(|pod| pod.to_string());
    pool.picker.follow(move |exchange| pick(exchange, pods.clone()));

    send(&pool.edge, WARM_UP).await?;
    let before = idle(&pool, &server).await?;
    println!("after {WARM_UP} requests: {before}");
    let started = Instant::now();
    send(&pool.edge, requests).await?;
    let took = started.elapsed();
    let after = idle(&pool, &server).await?;
    println!("after {requests} more in {took:.0?}: {after}");
    for (name, before, after) in [
        ("supervisor", before.supervisor, after.supervisor),
        ("proxy", before.proxy, after.proxy),
        ("NGINX", before.nginx, after.nginx),
    ] {
        let Held { memory, sockets } = after;
        assert!(memory < before.memory + SLACK, "{name}: {before} became {after}");
        // Each client may have left its own way to the pod, the proxy and the picker.
        assert!(
            sockets <= before.sockets + CLIENTS,
            "{name}: {before} became {after}"
        );
    }
    Ok(())
}
