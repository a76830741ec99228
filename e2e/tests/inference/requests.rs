//! What a picker is asked, and what becomes of a request by its answer.

use std::sync::Arc;

use anyhow::{Context, Result};
use e2e::{
    client::{Protocol, Request},
    inference::{
        picker::{Asked, DESTINATION, Exchange},
        served_pool::{HOST, ServedPool},
    },
};
use hyper::Method;
use parking_lot::Mutex;
use proto::envoy::{
    config::core::v3::{HeaderValue, HeaderValueOption},
    service::ext_proc::v3::{
        BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, processing_request::Request as Part,
        processing_response::Response as Verdict,
    },
};
use tonic::Status;

/// Has the picker choose the first pod, and keeps what it was asked.
fn remember(pool: &ServedPool) -> Arc<Mutex<Vec<Asked>>> {
    let heard = Arc::<Mutex<Vec<Asked>>>::default();
    let (pod, told) = (pool.pod(0).to_string(), Arc::clone(&heard));
    pool.picker.follow(move |mut exchange| {
        let (pod, told) = (pod.clone(), Arc::clone(&told));
        async move {
            let asked = exchange.request().await?;
            told.lock().push(asked.clone());
            exchange.choose(&pod).await?;
            exchange.return_body(asked.body).await?;
            exchange.pass_response().await
        }
    });
    heard
}

fn post(body: impl Into<hyper::body::Bytes>) -> Request {
    Request::new(Method::POST, "/v1/chat/completions?a=b").body(body)
}

#[tokio::test]
async fn picker_is_asked_with_method_path_host_and_identity() -> Result<()> {
    let pool = ServedPool::start().await?;
    let heard = remember(&pool);
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let request = post("{}")
            .host(HOST)
            .header("x-request-id", "one")
            .header(
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            )
            .header("X-Mixed-Case", "Kept");
        let answer = pool.edge.clone().protocol(protocol).send(request).await?;
        answer.seen()?;
        let asked = heard.lock().pop().context("the picker was asked")?;
        for (name, value) in [
            (":method", "POST"),
            (":path", "/v1/chat/completions?a=b"),
            (":authority", HOST),
            (":scheme", "http"),
            ("x-request-id", "one"),
            (
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
            ("x-mixed-case", "Kept"),
        ] {
            assert_eq!(asked.header(name), value, "{protocol:?} {name} in {asked:?}");
        }
        assert_eq!(asked.body, "{}");
        assert_eq!(asked.header("x-flotilla-leg"), "");
    }
    Ok(())
}

#[tokio::test]
async fn request_without_body_ends_with_its_headers() -> Result<()> {
    let pool = ServedPool::start().await?;
    let heard = remember(&pool);
    pool.get("/v1/models").await?.seen()?;
    // Of length 0, in HTTP/1.1, and ended by an empty frame in HTTP/2.
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let request = post("").host(HOST);
        pool.edge.clone().protocol(protocol).send(request).await?.seen()?;
    }
    for asked in heard.lock().iter() {
        assert_eq!(asked.chunks, 0, "an empty body was sent: {asked:?}");
    }
    assert_eq!(heard.lock().len(), 3);
    Ok(())
}

#[tokio::test]
async fn body_comes_in_chunks_before_the_headers_are_answered() -> Result<()> {
    let pool = ServedPool::start().await?;
    let pod = pool.pod(0).to_string();
    let lengths = Arc::<Mutex<Vec<usize>>>::default();
    let heard = Arc::clone(&lengths);
    pool.picker.follow(move |mut exchange: Exchange| {
        let (pod, heard) = (pod.clone(), Arc::clone(&heard));
        async move {
            let mut body = Vec::new();
            loop {
                let message = exchange.next().await?.ok_or_else(|| Status::aborted("no end"))?;
                if let Some(Part::RequestBody(chunk)) = message.request {
                    heard.lock().push(chunk.body.len());
                    body.extend_from_slice(&chunk.body);
                    if chunk.end_of_stream {
                        break;
                    }
                }
            }
            exchange.choose(&pod).await?;
            exchange.return_body(body).await?;
            exchange.pass_response().await
        }
    });
    let seen = pool.send(post(vec![b'x'; 300_000])).await?.seen()?;
    assert_eq!(seen.body, 300_000);
    let lengths = lengths.lock();
    assert_eq!(lengths.iter().sum::<usize>(), 300_000);
    assert!(
        lengths.len() >= 5 && lengths.iter().all(|length| *length <= 62_000),
        "{lengths:?}"
    );
    Ok(())
}

#[tokio::test]
async fn headers_that_the_picker_sets_replace_those_of_the_request() -> Result<()> {
    let pool = ServedPool::start().await?;
    pool.follow(async |mut exchange, pod| {
        let asked = exchange.request().await?;
        let headers = [
            ("x-there", "replaced"),
            ("x-new", "set"),
            (":path", "/elsewhere"),
            (":method", "DELETE"),
            ("host", "elsewhere.example"),
            ("content-length", "1"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
        ];
        exchange.choose_with(&pod, &headers).await?;
        exchange.return_body(asked.body).await?;
        exchange.pass_response().await
    });
    let seen = pool
        .send(post("four").header("x-there", "before"))
        .await?
        .seen()?;
    let values = |name: &str| {
        let named = seen.headers.iter().filter(|(its, _)| its == name);
        named.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(values("x-there"), ["replaced"]);
    assert_eq!(values("x-new"), ["set"]);
    assert_eq!(
        (seen.method.as_str(), seen.path.as_str()),
        ("POST", "/v1/chat/completions?a=b")
    );
    assert_eq!((seen.host.as_str(), seen.body), (HOST, 4));
    Ok(())
}

#[tokio::test]
async fn headers_are_added_and_removed_where_the_picker_says_so() -> Result<()> {
    let pool = ServedPool::start().await?;
    pool.follow(async |mut exchange, pod| {
        let asked = exchange.request().await?;
        let set = |name: &str, value: &str, append| HeaderValueOption {
            header: Some(HeaderValue {
                key: name.to_owned(),
                value: value.to_owned(),
                ..HeaderValue::default()
            }),
            append,
            ..HeaderValueOption::default()
        };
        let mutation = HeaderMutation {
            set_headers: vec![set(DESTINATION, &pod, None), set("x-there", "second", Some(true))],
            remove_headers: vec!["x-secret".to_owned()],
        };
        exchange
            .say(Verdict::RequestHeaders(HeadersResponse {
                response: Some(CommonResponse {
                    header_mutation: Some(mutation),
                    ..CommonResponse::default()
                }),
            }))
            .await?;
        exchange.return_body(asked.body).await?;
        exchange.pass_response().await
    });
    let request = post("x").header("x-there", "first").header("x-secret", "s");
    let seen = pool.send(request).await?.seen()?;
    let there = seen.headers.iter().filter(|(name, _)| name == "x-there");
    let there: Vec<&str> = there.map(|(_, value)| value.as_str()).collect();
    assert_eq!(there.join(", ").replace(',', ""), "first second");
    assert!(seen.headers.iter().all(|(name, _)| name != "x-secret"));
    Ok(())
}

#[tokio::test]
async fn values_of_a_header_stay_though_the_picker_sends_the_last_again() -> Result<()> {
    // As the inference extension's picker does with every header.
    let pool = ServedPool::start().await?;
    pool.follow(async |mut exchange, pod| {
        let asked = exchange.request().await?;
        let last = asked
            .headers
            .iter()
            .rfind(|(name, _)| name == "x-twice")
            .map_or("", |(_, value)| value);
        exchange.choose_with(&pod, &[("x-twice", last)]).await?;
        exchange.pass_response().await
    });
    let request = Request::get("/")
        .header("x-twice", "one")
        .header("x-twice", "two");
    let seen = pool.send(request).await?.seen()?;
    let twice = seen.headers.iter().filter(|(name, _)| name == "x-twice");
    let twice: Vec<&str> = twice.map(|(_, value)| value.as_str()).collect();
    assert_eq!(twice, ["one", "two"]);
    Ok(())
}

#[tokio::test]
async fn pod_gets_the_body_that_the_picker_returns() -> Result<()> {
    let pool = ServedPool::start().await?;
    pool.follow(async |mut exchange, pod| {
        exchange.request().await?;
        exchange.choose(&pod).await?;
        exchange.return_body("another body, and longer").await?;
        exchange.pass_response().await
    });
    let request = Request::new(Method::POST, "/?back=yes").body("short");
    let answer = pool.send(request).await?;
    assert_eq!(answer.body, "another body, and longer");
    Ok(())
}

#[tokio::test]
async fn body_that_the_picker_does_not_return_stays_as_it_was() -> Result<()> {
    // As the inference extension's light picker of v1.6.0 does: a verdict on each chunk that says nothing of it, and
    // the first ones before the verdict on the headers.
    let pool = ServedPool::start().await?;
    pool.follow(async |mut exchange, pod| {
        loop {
            let message = exchange.next().await?.ok_or_else(|| Status::aborted("no end"))?;
            let Some(Part::RequestBody(chunk)) = message.request else {
                continue;
            };
            if chunk.end_of_stream {
                exchange.choose(&pod).await?;
            }
            let nothing = BodyResponse {
                response: Some(CommonResponse::default()),
            };
            exchange.say(Verdict::RequestBody(nothing)).await?;
            if chunk.end_of_stream {
                return exchange.pass_response().await;
            }
        }
    });
    for length in [1, 62_000, 500_000] {
        let body: Vec<u8> = (0..length).map(|index: u32| index.to_le_bytes()[0]).collect();
        let request = Request::new(Method::POST, "/?back=yes").body(body.clone());
        let answer = pool.send(request).await?;
        assert_eq!(answer.status, 200, "{answer}");
        assert!(
            answer.body == body,
            "{length} bytes came back as {}",
            answer.body.len()
        );
    }
    Ok(())
}

#[tokio::test]
async fn control_headers_of_clients_reach_neither_picker_nor_pod() -> Result<()> {
    let pool = ServedPool::start().await?;
    let heard = remember(&pool);
    let forged = pool.pod(1).to_string();
    let names = [
        "x-gateway-destination-endpoint",
        "x-gateway-destination-endpoint-subset",
        "x-gateway-destination-endpoint-served",
        "x-llm-d-request-dropped-reason",
        "x-flotilla-leg",
    ];
    let request = names
        .iter()
        .fold(post("{}"), |request, name| request.header(name, &forged));
    let seen = pool.send(request).await?.seen()?;
    assert_eq!(seen.backend, "pod-0");
    let asked = heard.lock().pop().context("the picker was asked")?;
    for name in names {
        assert_eq!(asked.header(name), "", "the picker was told {name}");
        let at_pod = seen.headers.iter().filter(|(its, _)| its == name);
        assert!(
            at_pod.clone().all(|(_, value)| *value != forged),
            "the pod got {:?}",
            at_pod.collect::<Vec<_>>()
        );
    }
    Ok(())
}
