//! Streams that go on whatever changes around them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{
    client::{Request, Target},
    inference::{
        manifests,
        picker::Picker,
        served_pool::{FIRST_POD, HOST, PICKER, ServedPool},
    },
    manifests::route_to,
    standalone::{Standalone, eventually},
};
use futures::future::try_join_all;
use http_body_util::BodyExt;
use rustix::process::Signal;
use tokio::{
    task::JoinSet,
    time::{interval, timeout},
};

/// Events of one stream, one each 100 ms.
const EVENTS: usize = 150;

/// Reads a stream to its end, and says how many events it had, all in order.
async fn stream(edge: Target, events: usize) -> Result<usize> {
    let mut connection = edge.connect().await?;
    let response = connection
        .open(Request::get(&format!("/?stream={events}")).host(HOST))
        .await?;
    ensure!(response.status() == 200, "{}", response.status());
    let mut body = response.into_body();
    let mut text = String::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.with_context(|| format!("broken off after {} bytes", text.len()))?;
        text.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap_or_default()));
    }
    let numbers = text.lines().filter_map(|line| line.strip_prefix("id: "));
    for (expected, number) in numbers.clone().enumerate() {
        ensure!(number == expected.to_string(), "{number} in place of {expected}");
    }
    Ok(numbers.count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_stay_whole_while_everything_around_them_changes() -> Result<()> {
    let pool = ServedPool::start().await?;
    let mut streams = JoinSet::new();
    for _ in 0..10 {
        streams.spawn(stream(pool.edge.clone(), EVENTS));
    }
    let ServedPool {
        standalone,
        edge,
        pods,
        mut picker,
    } = pool;
    let address = picker.address();
    let list: Vec<String> = pods.iter().map(|pod| pod.address().to_string()).collect();
    let mut ticks = interval(Duration::from_secs(1));
    let mut round = 0_u8;
    let whole = loop {
        tokio::select! {
            // Streams end at about the same time.
            Some(first) = streams.join_next() => break first??,
            _ = ticks.tick() => {
                change(&standalone, round)?;
                if round == 6 {
                    drop(picker);
                    picker = eventually(async || Picker::choosing(address, &list.join(",")).await).await?;
                }
                round += 1;
            }
        }
    };
    assert!(round > 10, "everything was over after {round} changes");
    assert_eq!(whole, EVENTS);
    while let Some(stream) = streams.join_next().await {
        assert_eq!(stream??, EVENTS);
    }
    eventually(async || edge.get(HOST, "/").await?.seen()).await?;
    drop((picker, pods));
    Ok(())
}

/// Pods each second, routes every other one, and once the supervisor's end.
fn change(standalone: &Standalone, round: u8) -> Result<()> {
    let loopback = standalone.loopback();
    // Two pods that stay, and one of those that there never were.
    let hosts = [0, 1, 2 + round % 5].map(|number| loopback.address(FIRST_POD + number));
    standalone.apply("pods.yaml", &manifests::pods("models", &hosts))?;
    if round.is_multiple_of(2) {
        standalone.apply(
            "more.yaml",
            &route_to(&format!("round-{round}.example"), "nothing"),
        )?;
    }
    if round == 4 {
        let supervisor = standalone.gateway_process(&["flotilla-agent", "supervis"])?;
        supervisor.signal(Signal::KILL);
    }
    if round == 8 {
        let picker = loopback.socket(PICKER, 9002);
        standalone.apply("picker.yaml", &manifests::picker_with_tls("picker", picker))?;
    }
    if round == 9 {
        let picker = loopback.socket(PICKER, 9002);
        standalone.apply("picker.yaml", &manifests::picker("picker", picker))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_streams_are_served_at_once() -> Result<()> {
    let pool = ServedPool::start().await?;
    let begin = async || {
        let mut connection = pool.edge.connect().await?;
        let response = connection
            .open(Request::get("/?stream=1000&each=2000ms").host(HOST))
            .await?;
        ensure!(response.status() == 200, "{}", response.status());
        let mut body = response.into_body();
        body.frame().await.context("the stream has an event")??;
        anyhow::Ok((connection, body))
    };
    let mut streams = Vec::new();
    for _ in 0..40 {
        streams.extend(try_join_all((0..50).map(|_| begin())).await?);
    }
    assert_eq!(pool.picker.open(), 2000);
    // Each of them goes on, and a short request is served beside them.
    let on = try_join_all(streams.iter_mut().map(async |(_, body)| {
        let frame = timeout(Duration::from_secs(10), body.frame()).await?;
        frame.context("the stream has gone on")??;
        anyhow::Ok(())
    }));
    on.await?;
    pool.get("/").await?.seen()?;
    Ok(())
}
