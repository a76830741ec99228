//! Streams that go on whatever changes around them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{
    client::{Protocol, Request, Target},
    environment::number,
    inference::{
        holdings::Holdings,
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

/// How long streams last, in seconds; `SECONDS=600` for as long as the claim is about.
const SECONDS: usize = 15;

/// Events of a stream in a second, see [`e2e::echo`].
const EVENTS: usize = 10;

/// Streams that begin at once, and as many begin after as many changes.
const STREAMS: usize = 5;

/// Changes until the same ones begin again, but for those of each second.
const CYCLE: usize = 20;

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
    let events = number("SECONDS", SECONDS) * EVENTS;
    let pool = ServedPool::start().await?;
    let before = (
        pool.standalone.workers().len(),
        Holdings::of(&pool.standalone).await?,
    );
    let ServedPool {
        standalone,
        edge,
        pods,
        mut picker,
    } = pool;
    let begin = |number: usize| {
        let protocol = [Protocol::Http1, Protocol::Http2][number % 2];
        stream(edge.clone().protocol(protocol), events)
    };
    let mut streams: JoinSet<_> = (0..STREAMS).map(begin).collect();
    let address = picker.address();
    let list: Vec<String> = pods.iter().map(|pod| pod.address().to_string()).collect();
    let mut ticks = interval(Duration::from_secs(1));
    let (mut round, mut whole, mut most) = (0, 0, 0);
    loop {
        tokio::select! {
            stream = streams.join_next() => {
                let Some(stream) = stream else { break };
                let stream = stream?.with_context(|| format!("after {round} changes"))?;
                assert_eq!(stream, events, "after {round} changes");
                whole += 1;
            }
            _ = ticks.tick() => {
                if round % CYCLE == 6 {
                    drop(picker);
                    picker = eventually(async || Picker::choosing(address, &list.join(",")).await).await?;
                }
                change(&standalone, round)?;
                // On workers of another configuration.
                if round < STREAMS {
                    streams.spawn(begin(round));
                }
                most = most.max(processes(&standalone));
                round += 1;
            }
        }
    }
    println!("{whole} streams of {events} events whole after {round} changes, with up to {most} workers");
    assert!(round > 10, "everything was over after {round} changes");
    assert_eq!(whole, 2 * STREAMS);
    eventually(async || edge.get(HOST, "/").await?.seen()).await?;
    // Workers of old configurations have gone with their streams.
    let after = eventually(async || {
        let workers = processes(&standalone);
        ensure!(workers == before.0, "{workers} workers");
        Holdings::of(&standalone).await
    })
    .await?;
    println!("before: {}", before.1);
    println!("after: {after}");
    drop((picker, pods));
    Ok(())
}

/// How many workers NGINX has, those included that only end their streams.
fn processes(standalone: &Standalone) -> usize {
    let processes = standalone.gateway_processes();
    let workers = processes
        .iter()
        .filter(|process| process.command_line().starts_with("nginx: worker"));
    workers.count()
}

/// Pods each second, routes every other one, and now and then the supervisor's end.
fn change(standalone: &Standalone, round: usize) -> Result<()> {
    let loopback = standalone.loopback();
    // Two pods that stay, and one of those that there never were.
    let another = u8::try_from(round % 5).expect("it is less than 5");
    let hosts = [0, 1, 2 + another].map(|number| loopback.address(FIRST_POD + number));
    standalone.apply("pods.yaml", &manifests::pods("models", &hosts))?;
    if round.is_multiple_of(2) {
        standalone.apply(
            "more.yaml",
            &route_to(&format!("round-{round}.example"), "nothing"),
        )?;
    }
    let picker = loopback.socket(PICKER, 9002);
    match round % CYCLE {
        4 => {
            let supervisor = standalone.gateway_process(&["flotilla-agent", "supervise"])?;
            supervisor.signal(Signal::KILL);
        }
        8 => standalone.apply("picker.yaml", &manifests::picker_with_tls("picker", picker))?,
        9 => standalone.apply("picker.yaml", &manifests::picker("picker", picker))?,
        _ => {}
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
        let frame = timeout(Duration::from_mins(1), body.frame()).await?;
        frame.context("the stream has gone on")??;
        anyhow::Ok(())
    }));
    on.await?;
    pool.get("/").await?.seen()?;
    Ok(())
}
