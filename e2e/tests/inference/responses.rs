//! What a picker is told of a response, and what it makes of it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use e2e::{
    client::{Protocol, Request},
    inference::{
        picker::{Exchange, headers_response, served, streamed},
        served_pool::{HOST, Options, ServedPool},
    },
    standalone::eventually,
};
use http_body_util::BodyExt;
use hyper::Method;
use parking_lot::Mutex;
use proto::envoy::service::ext_proc::v3::{
    BodyResponse, CommonResponse, ProcessingRequest, processing_request::Request as Part,
    processing_response::Response as Verdict,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::Notify,
    task::JoinSet,
    time::{Instant, timeout},
};
use tonic::Status;

/// Longer than anything takes that does not wait in vain.
const PATIENCE: Duration = Duration::from_mins(1);

/// Chooses a pod for the request, and returns its body as it was.
async fn choose(exchange: &mut Exchange, pod: &str) -> Result<(), Status> {
    let asked = exchange.request().await?;
    exchange.choose(pod).await?;
    exchange.return_body(asked.body).await
}

/// Whole events of a stream that the echo backend sends.
fn events(body: &[u8]) -> usize {
    String::from_utf8_lossy(body).matches("data: event").count()
}

#[tokio::test]
async fn picker_is_told_who_really_served() -> Result<()> {
    let mut pool = ServedPool::start().await?;
    let heard = Arc::<Mutex<Option<ProcessingRequest>>>::default();
    let told = Arc::clone(&heard);
    let list = format!("{},{}", pool.pod(0), pool.pod(1));
    pool.picker.follow(move |mut exchange| {
        let (list, told) = (list.clone(), Arc::clone(&told));
        async move {
            choose(&mut exchange, &list).await?;
            *told.lock() = exchange.next().await?;
            exchange.pass_headers().await?;
            exchange.pass_response().await
        }
    });
    pool.get("/").await?.seen()?;
    let first = pool.pod(0).to_string();
    let message = heard
        .lock()
        .take()
        .context("the picker was told of the response")?;
    assert_eq!(served(&message), Some(first));
    let Some(Part::ResponseHeaders(headers)) = &message.request else {
        panic!("{message:?}");
    };
    let headers = headers.headers.clone().unwrap_or_default().headers;
    let status = headers.iter().find(|header| header.key == ":status");
    assert_eq!(
        status.map(|status| &status.raw_value[..]),
        Some(&b"200"[..]),
        "llm-d reads raw values alone"
    );
    drop(pool.pods.remove(0));
    pool.get("/").await?.seen()?;
    let message = heard
        .lock()
        .take()
        .context("the picker was told of the response")?;
    assert_eq!(served(&message), Some(pool.pod(1).to_string()));
    Ok(())
}

#[tokio::test]
async fn headers_of_the_response_are_changed_but_not_its_framing() -> Result<()> {
    let pool = ServedPool::start().await?;
    pool.follow(async |mut exchange, pod| {
        choose(&mut exchange, &pod).await?;
        exchange.next().await?;
        let headers = headers_response(&[
            ("x-went-into-resp-headers", "true"),
            ("content-type", "text/plain"),
            (":status", "500"),
            ("content-length", "1"),
            ("transfer-encoding", "gzip"),
            ("connection", "x-went-into-resp-headers"),
        ]);
        exchange.say(Verdict::ResponseHeaders(headers)).await?;
        exchange.pass_response().await
    });
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let request = Request::new(Method::POST, "/?back=yes").body("body").host(HOST);
        let answer = pool.edge.clone().protocol(protocol).send(request).await?;
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..]),
            (200, &b"body"[..]),
            "{answer}"
        );
        assert_eq!(
            (
                answer.header("x-went-into-resp-headers"),
                answer.header("content-type")
            ),
            ("true", "text/plain")
        );
    }
    Ok(())
}

#[tokio::test]
async fn client_gets_the_body_that_the_picker_returns() -> Result<()> {
    let pool = ServedPool::start().await?;
    pool.follow(async |mut exchange, pod| {
        choose(&mut exchange, &pod).await?;
        let mut body = Vec::new();
        while let Some(message) = exchange.next().await? {
            match message.request {
                Some(Part::ResponseHeaders(_)) => exchange.pass_headers().await?,
                Some(Part::ResponseBody(chunk)) => {
                    body.extend_from_slice(&chunk.body);
                    if chunk.end_of_stream {
                        // As real pickers do with what is no event stream: all of it, at its end.
                        let text = String::from_utf8_lossy(&body).replace("tide-1b", "tide-for-everyone");
                        let verdict = streamed(text.into_bytes().into(), true);
                        exchange.say(Verdict::ResponseBody(verdict)).await?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    });
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let request = Request::new(Method::POST, "/?back=yes").host(HOST);
        let request = request.body(r#"{"model":"tide-1b"}"#);
        let answer = pool.edge.clone().protocol(protocol).send(request).await?;
        assert_eq!(answer.body, r#"{"model":"tide-for-everyone"}"#, "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn body_that_the_picker_returns_where_there_is_none_reaches_nobody() -> Result<()> {
    let pool = ServedPool::start().await?;
    pool.follow(async |mut exchange, pod| {
        choose(&mut exchange, &pod).await?;
        exchange.next().await?;
        exchange
            .say(Verdict::ResponseBody(streamed("a body".into(), true)))
            .await?;
        exchange.pass_headers().await?;
        exchange.pass_response().await
    });
    let head = || Request::new(Method::HEAD, "/").host(HOST);
    let nothing = |status| Request::get(&format!("/status/{status}")).host(HOST);
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut connection = pool.edge.clone().protocol(protocol).connect().await?;
        for (request, status) in [
            (head(), 200),
            (nothing(204), 204),
            (nothing(304), 304),
            (head(), 200),
        ] {
            let answer = connection.send(request).await?;
            assert_eq!(
                (answer.status.as_u16(), answer.body.len()),
                (status, 0),
                "{protocol:?}: {answer}"
            );
        }
    }
    Ok(())
}

/// How many events [`talk`] has for each request.
const EVENTS: usize = 6;

/// A pod that answers each request with a stream, whose next event it sends when it is told to.
async fn talk(listener: TcpListener, told: Arc<Notify>) -> Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut lines = BufReader::new(&mut stream).lines();
        while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            .await?;
        for number in 0..EVENTS {
            told.notified().await;
            stream
                .write_all(format!("data: event {number}\n\n").as_bytes())
                .await?;
        }
    }
}

#[tokio::test]
async fn events_reach_the_client_as_they_happen() -> Result<()> {
    let mut pool = ServedPool::start().await?;
    let address = pool.pod(0);
    drop(pool.pods.remove(0));
    let listener = eventually(async || Ok(TcpListener::bind(address).await?)).await?;
    let told = Arc::new(Notify::new());
    let _pod = JoinSet::from_iter([talk(listener, Arc::clone(&told))]);
    pool.picker.choose(&address.to_string());
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut connection = pool.edge.clone().protocol(protocol).connect().await?;
        let response = connection.open(Request::get("/").host(HOST));
        let mut body = timeout(PATIENCE, response)
            .await
            .context("the head waits for the first event")??
            .into_body();
        for number in 0..EVENTS {
            told.notify_one();
            let mut event = String::new();
            while !event.ends_with("\n\n") {
                let frame = timeout(PATIENCE, body.frame())
                    .await
                    .with_context(|| format!("{protocol:?}: event {number} waits for the next one"))?;
                let data = frame.context("the stream goes on")??.into_data();
                event.push_str(&String::from_utf8_lossy(&data.unwrap_or_default()));
            }
            assert_eq!(event, format!("data: event {number}\n\n"), "{protocol:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn response_that_the_picker_has_no_verdict_on_stays_as_it_was() -> Result<()> {
    // As the inference extension's light picker of v1.6.0 does: no end of the stream either.
    let pool = ServedPool::start().await?;
    pool.follow(async |mut exchange, pod| {
        choose(&mut exchange, &pod).await?;
        while let Some(message) = exchange.next().await? {
            match message.request {
                Some(Part::ResponseHeaders(_)) => exchange.pass_headers().await?,
                Some(Part::ResponseBody(_)) => {
                    let nothing = BodyResponse {
                        response: Some(CommonResponse::default()),
                    };
                    exchange.say(Verdict::ResponseBody(nothing)).await?;
                }
                _ => {}
            }
        }
        Ok(())
    });
    let body = vec![b'x'; 200_000];
    let request = Request::new(Method::POST, "/?back=yes").body(body.clone());
    assert!(pool.send(request).await?.body == body);
    assert_eq!(events(&pool.get("/?stream=3").await?.body), 3);
    Ok(())
}

/// How a picker leaves a response that it has passed a part of.
async fn left_in_the_middle(end: fn() -> Result<(), Status>) -> Result<()> {
    let pool = ServedPool::start().await?;
    for parts in 0..4 {
        pool.follow(move |mut exchange, pod| async move {
            choose(&mut exchange, &pod).await?;
            for _ in 0..parts {
                match exchange.next().await?.and_then(|message| message.request) {
                    Some(Part::ResponseHeaders(_)) => exchange.pass_headers().await?,
                    Some(Part::ResponseBody(chunk)) => exchange.pass_chunk(chunk).await?,
                    _ => {}
                }
            }
            // It has heard something that it says nothing of.
            exchange.next().await?;
            end()
        });
        let answer = pool.get("/?stream=5").await?;
        assert_eq!(
            (answer.status.as_u16(), events(&answer.body)),
            (200, 5),
            "left after {parts} parts: {answer}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn response_completes_when_the_picker_breaks_off() -> Result<()> {
    left_in_the_middle(|| Err(Status::internal("the picker is ill"))).await
}

#[tokio::test]
async fn response_completes_when_the_picker_has_no_more_to_say() -> Result<()> {
    left_in_the_middle(|| Ok(())).await
}

#[tokio::test]
async fn response_completes_when_the_picker_is_killed() -> Result<()> {
    let ServedPool {
        standalone: _standalone,
        edge,
        pods: _pods,
        picker,
    } = ServedPool::start().await?;
    let mut connection = edge.connect().await?;
    let response = connection.open(Request::get("/?stream=8").host(HOST)).await?;
    let mut body = response.into_body();
    let mut whole = body
        .frame()
        .await
        .context("a first event")??
        .into_data()
        .unwrap_or_default()
        .to_vec();
    drop(picker);
    while let Some(frame) = body.frame().await {
        whole.extend_from_slice(&frame?.into_data().unwrap_or_default());
    }
    assert_eq!(events(&whole), 8);
    Ok(())
}

#[tokio::test]
async fn picker_that_says_nothing_of_a_response_is_waited_for_as_long_as_the_fleet_says() -> Result<()> {
    let pool = ServedPool::with(Options {
        proxy: "{ timeouts: { pickerResponse: 300ms } }",
        ..Options::default()
    })
    .await?;
    pool.follow(async |mut exchange, pod| {
        choose(&mut exchange, &pod).await?;
        while exchange.next().await?.is_some() {}
        std::future::pending().await
    });
    let asked = Instant::now();
    pool.get("/").await?.seen()?;
    let took = asked.elapsed();
    assert!(
        took >= Duration::from_millis(300) && took < Duration::from_secs(5),
        "{took:?}, and 5s are the default"
    );
    Ok(())
}
