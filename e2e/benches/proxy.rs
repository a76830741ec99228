//! What Flotilla's configuration costs: requests per second through a gateway of ours, against the same NGINX
//! with the least a person would write by hand. Then, the memory of the agent.
//!
//! `cargo bench -p e2e` runs it. Rounds alternate, so that whatever else the machine does meets both alike.

use std::{
    env,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    loopback::Loopback,
    manifests::{EDGE, route_to, service},
    plain::Plain,
    standalone::{Standalone, eventually},
};
use futures::future::try_join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_secs(1);
const CONNECTIONS: usize = 32;
/// NGINX closes a connection after a thousand requests unless told otherwise; with the last it says so.
const REQUESTS_PER_CONNECTION: usize = 900;
const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // `cargo test --benches` has nothing to learn here.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let loopback = Loopback::lease()?;
    let (backend, by_hand) = (loopback.socket(100, 3000), loopback.socket(101, 8080));
    let _backend = Plain::start(&backend_configuration(backend), backend).await?;
    let _by_hand = Plain::start(&minimal_configuration(by_hand, backend), by_hand).await?;
    let manifests = [
        ("edge.yaml", EDGE),
        ("route.yaml", &route_to("shop.example", "shop")),
        ("service.yaml", &service("shop", &[backend])),
    ];
    let standalone = Standalone::start_with(loopback, &manifests).await?;
    let ours = standalone.gateway("default", "edge", 8080).await?;
    eventually(async || {
        let answer = standalone.edge().await?.get("shop.example", "/").await?;
        ensure!(answer.status == 200, "{answer}");
        Ok(())
    })
    .await?;

    let (mut rates, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
    for round in 0..=ROUNDS {
        let first = [by_hand, ours][round % 2];
        let second = [by_hand, ours][(round + 1) % 2];
        let pair = [
            requests_per_second(first).await?,
            requests_per_second(second).await?,
        ];
        let [by_hand, ours] = if round % 2 == 0 { pair } else { [pair[1], pair[0]] };
        // The first round warms up.
        if round > 0 {
            rates[0].push(by_hand);
            rates[1].push(ours);
            ratios.push(ours / by_hand);
        }
    }
    let [by_hand, ours] = rates.map(median);
    println!("written by hand   {by_hand:>8.0} requests per second, median of {ROUNDS} rounds");
    println!("Flotilla          {ours:>8.0}");
    println!(
        "ratio             {:>8.3} (median of the rounds' ratios)",
        median(ratios)
    );
    for process in standalone.gateway_processes() {
        let command = process.command_line();
        if let Some((_, arguments)) = command.split_once("flotilla-agent ") {
            let role = arguments.split(' ').next().unwrap_or_default();
            let tenths = process.resident() * 10 / 1024;
            println!("agent {role:<11} {:>6}.{} MiB resident", tenths / 10, tenths % 10);
        }
    }
    Ok(())
}

/// Sends requests as fast as they are answered for one round.
async fn requests_per_second(address: SocketAddr) -> Result<f64> {
    let answered = AtomicU64::new(0);
    let started = Instant::now();
    try_join_all((0..CONNECTIONS).map(|_| ask(address, started + ROUND, &answered))).await?;
    let answered = u32::try_from(answered.into_inner()).context("a round has fewer requests")?;
    Ok(f64::from(answered) / started.elapsed().as_secs_f64())
}

/// Asks on one connection after another.
async fn ask(address: SocketAddr, until: Instant, answered: &AtomicU64) -> Result<()> {
    while Instant::now() < until {
        ask_on_one_connection(address, until, answered).await?;
    }
    Ok(())
}

/// All answers are as long as the first, which makes this client cheap enough for its job.
async fn ask_on_one_connection(address: SocketAddr, until: Instant, answered: &AtomicU64) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut answer = vec![0; 8192];
    stream.write_all(REQUEST).await?;
    let mut length = stream.read(&mut answer).await?;
    for _ in 0..REQUESTS_PER_CONNECTION {
        let answer = &mut answer[..length];
        ensure!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(answer)
        );
        answered.fetch_add(1, Ordering::Relaxed);
        if Instant::now() > until {
            break;
        }
        stream.write_all(REQUEST).await?;
        length = stream.read_exact(answer).await?;
    }
    Ok(())
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn backend_configuration(address: SocketAddr) -> String {
    let body = "x".repeat(1024);
    format!(
        "worker_processes 1;\npid nginx.pid;\nevents {{}}\nhttp {{\n  access_log off;\n  keepalive_requests 1000000000;\n  \
         server {{ listen {address}; location / {{ return 200 {body}; }} }}\n}}\n"
    )
}

/// What a person would write for one Service: a pool of kept connections, and the host passed on.
fn minimal_configuration(address: SocketAddr, backend: SocketAddr) -> String {
    format!(
        "worker_processes auto;\npid nginx.pid;\nevents {{}}\nhttp {{\n  access_log off;\n  \
         upstream shop {{ server {backend}; keepalive 32; }}\n  \
         server {{\n    listen {address};\n    location / {{\n      proxy_pass http://shop;\n      \
         proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      proxy_set_header Host $host;\n    \
         }}\n  }}\n}}\n"
    )
}
