//! Pickers that are away, slow or broken.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use e2e::{
    client::{Answer, Request},
    inference::{
        picker::{Exchange, Picker},
        served_pool::{Options, ServedPool},
    },
    standalone::eventually,
};
use hyper::{Method, body::Bytes};
use proto::envoy::service::ext_proc::v3::processing_request::Request as Part;
use tokio::time::Instant;
use tonic::Status;

/// Longer than one message, so that a picker can leave in the middle.
fn body() -> Bytes {
    Bytes::from(b"0123456789abcdef".repeat(10_000))
}

async fn post(pool: &ServedPool) -> Result<Answer> {
    pool.send(Request::new(Method::POST, "/?back=yes").body(body()))
        .await
}

async fn pool(failure_mode: &str) -> Result<ServedPool> {
    ServedPool::with(Options {
        failure_mode,
        ..Options::default()
    })
    .await
}

/// One whose fleet waits for pickers for a second.
async fn impatient_pool(failure_mode: &str) -> Result<ServedPool> {
    ServedPool::with(Options {
        failure_mode,
        proxy: "{ timeouts: { picker: 1s, pickerConnect: 500ms } }",
        ..Options::default()
    })
    .await
}

/// The gateway's own answer while a pool has no choice: it says so, and when to come again.
#[track_caller]
fn assert_unavailable(answer: &Answer, context: &str) {
    assert_eq!(answer.status, 503, "{context}: {answer}");
    let headers = ["retry-after", "content-type"].map(|name| answer.header(name));
    assert_eq!(headers, ["1", "text/plain"], "{context}: {answer}");
    assert!(!answer.body.is_empty(), "{context}: {answer}");
}

/// Where a picker breaks, in the order of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Boundary {
    Nothing,
    RequestHeaders,
    FirstChunk,
    WholeRequest,
    Choice,
    HalfOfTheBody,
}

const BOUNDARIES: [Boundary; 6] = [
    Boundary::Nothing,
    Boundary::RequestHeaders,
    Boundary::FirstChunk,
    Boundary::WholeRequest,
    Boundary::Choice,
    Boundary::HalfOfTheBody,
];

/// Goes as far as the boundary.
async fn until(boundary: Boundary, exchange: &mut Exchange, pod: &str) -> Result<(), Status> {
    match boundary {
        Boundary::Nothing => {}
        Boundary::RequestHeaders => {
            exchange.next().await?;
        }
        Boundary::FirstChunk => loop {
            let message = exchange.next().await?.and_then(|message| message.request);
            if matches!(message, Some(Part::RequestBody(_)) | None) {
                break;
            }
        },
        Boundary::WholeRequest => {
            exchange.request().await?;
        }
        Boundary::Choice => {
            exchange.request().await?;
            exchange.choose(pod).await?;
        }
        Boundary::HalfOfTheBody => {
            exchange.request().await?;
            exchange.choose(pod).await?;
            let half = Bytes::from_static(b"changed");
            let half = e2e::inference::picker::streamed(half, false);
            exchange
                .say(proto::envoy::service::ext_proc::v3::processing_response::Response::RequestBody(half))
                .await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn fail_open_serves_whatever_the_picker_breaks_at() -> Result<()> {
    let pool = pool("FailOpen").await?;
    for boundary in BOUNDARIES {
        pool.follow(move |mut exchange, pod| async move {
            until(boundary, &mut exchange, &pod).await?;
            Err(Status::internal("the picker is ill"))
        });
        let answer = post(&pool).await?;
        assert_eq!(answer.status, 200, "{boundary:?}: {answer}");
        assert!(answer.body == body(), "{boundary:?}: another body");
    }
    Ok(())
}

#[tokio::test]
async fn fail_close_answers_503_whatever_the_picker_breaks_at() -> Result<()> {
    let pool = pool("FailClose").await?;
    for boundary in BOUNDARIES {
        pool.follow(move |mut exchange, pod| async move {
            until(boundary, &mut exchange, &pod).await?;
            Err(Status::internal("the picker is ill"))
        });
        assert_unavailable(&post(&pool).await?, &format!("{boundary:?}"));
    }
    Ok(())
}

#[tokio::test]
async fn silent_picker_is_waited_for_as_long_as_the_fleet_says() -> Result<()> {
    for (failure_mode, status) in [("FailOpen", 200), ("FailClose", 503)] {
        let pool = impatient_pool(failure_mode).await?;
        for boundary in BOUNDARIES {
            pool.follow(move |mut exchange, pod| async move {
                until(boundary, &mut exchange, &pod).await?;
                std::future::pending().await
            });
            let asked = Instant::now();
            let answer = post(&pool).await?;
            assert_eq!(
                answer.status.as_u16(),
                status,
                "{failure_mode} {boundary:?}: {answer}"
            );
            if status == 503 {
                assert_unavailable(&answer, &format!("silent after {boundary:?}"));
            }
            // No client here waits for as long as is the default, which is a minute.
            let took = asked.elapsed();
            assert!(
                took > Duration::from_millis(900),
                "{failure_mode} {boundary:?}: {took:?}"
            );
        }
        // Nothing waits for the silent picker any longer.
        pool.exchanges_have_ended().await?;
    }
    Ok(())
}

#[tokio::test]
async fn picker_that_is_away_is_asked_again_when_it_is_back() -> Result<()> {
    for (failure_mode, status) in [("FailOpen", 200), ("FailClose", 503)] {
        let mut pool = impatient_pool(failure_mode).await?;
        let address = pool.picker.address();
        let endpoint = pool.pod(1).to_string();
        // The old one stops to listen when it is dropped.
        let elsewhere = pool.standalone.loopback().socket(201, 9002);
        drop(std::mem::replace(
            &mut pool.picker,
            Picker::choosing(elsewhere, &endpoint).await?,
        ));
        for _ in 0..50 {
            let answer = post(&pool).await?;
            assert_eq!(answer.status.as_u16(), status, "{failure_mode}: {answer}");
            if status == 503 {
                assert_unavailable(&answer, "away");
            }
        }
        let log = fs::read_to_string(pool.standalone.gateway_folder()?.join("agent.log"))?;
        let told = log.matches("no choice of the picker").count();
        // Once, and twice a minute while it goes on.
        assert!(
            (1..=3).contains(&told),
            "{failure_mode}: it was said of each request\n{log}"
        );
        pool.picker = eventually(async || Picker::choosing(address, &endpoint).await).await?;
        eventually(async || {
            let answer = post(&pool).await?;
            ensure!(answer.status == 200 && pool.picker.begun() > 0, "{answer}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn picker_that_leaves_in_good_order_has_had_its_say() -> Result<()> {
    for (failure_mode, without_choice) in [("FailOpen", 200), ("FailClose", 503)] {
        let pool = pool(failure_mode).await?;
        for boundary in BOUNDARIES {
            pool.follow(move |mut exchange, pod| async move { until(boundary, &mut exchange, &pod).await });
            let answer = post(&pool).await?;
            let (status, expected) = match boundary {
                Boundary::Choice => (200, body()),
                Boundary::HalfOfTheBody => (200, "changed".into()),
                _ => (without_choice, body()),
            };
            assert_eq!(
                answer.status.as_u16(),
                status,
                "{failure_mode} {boundary:?}: {answer}"
            );
            if status == 200 {
                assert!(
                    answer.body == expected,
                    "{failure_mode} {boundary:?}: another body"
                );
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn picker_that_never_ends_its_headers_or_body_is_cut_off() -> Result<()> {
    let pool = impatient_pool("FailClose").await?;
    pool.follow(async |mut exchange, pod| {
        exchange.request().await?;
        let long = "x".repeat(3_000_000);
        exchange.choose_with(&pod, &[("x-long", &long)]).await?;
        std::future::pending().await
    });
    assert_unavailable(&post(&pool).await?, "headers without end");
    pool.follow(async |mut exchange, pod| {
        exchange.request().await?;
        exchange.choose(&pod).await?;
        let chunk = Bytes::from(vec![b'x'; 62_000]);
        loop {
            let next = e2e::inference::picker::streamed(chunk.clone(), false);
            let verdict =
                proto::envoy::service::ext_proc::v3::processing_response::Response::RequestBody(next);
            exchange.say(verdict).await?;
        }
    });
    assert_unavailable(&post(&pool).await?, "a body without end");
    // Nobody else is hurt, though a choice may take more than a second on a busy machine.
    pool.picker.choose(&pool.pod(1).to_string());
    eventually(async || {
        let answer = post(&pool).await?;
        ensure!(answer.status == 200, "{answer}");
        Ok(())
    })
    .await
}
