//! What an endpoint picker costs: requests to an `InferencePool`, against the same NGINX with a configuration written by
//! hand that leads to the same pod.
//!
//! `cargo bench -p e2e --bench inference` runs it, and with `-- memory`, `latency` or `processor` only that part. All
//! figures are of one run, and rounds alternate, so that whatever else the machine does meets both alike. The picker
//! chooses at once; what an exchange with it takes by itself is measured too. Its own work and the client's are in the
//! process of the bench and not counted.

use std::{
    env, fs,
    net::SocketAddr,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    client::{Request, Target},
    inference::{
        manifests::{self, backend, picked_by},
        model_server::{MODEL, ModelServer, Pace},
        picker::Picker,
    },
    load::{Load, Report},
    loopback::Loopback,
    manifests::{EDGE, route},
    plain::Plain,
    process::Process,
    standalone::{Standalone, eventually},
};
use futures::{StreamExt, future::try_join_all};
use http_body_util::BodyExt;
use hyper::Method;
use proto::envoy::service::ext_proc::v3::{
    HttpBody, HttpHeaders, ProcessingRequest, external_processor_client::ExternalProcessorClient,
    processing_request::Request as Part,
};
use tokio::{sync::Semaphore, time::sleep};
use tokio_stream::wrappers::ReceiverStream;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
/// Streams that are opened to see what one of them takes.
const STREAMS: usize = 1000;
/// A few per connection group, so that no round of them waits for the next.
const STREAMS_AT_A_TIME: usize = 50;

/// Lengths of bodies, with how many requests per second there are of them.
const LOADS: [(usize, u32); 2] = [(1024, 1000), (64 * 1024, 300)];

/// A way to the model server, and the processes that are on it.
struct Way {
    name: &'static str,
    target: Target,
    processes: Vec<Process>,
}

impl Way {
    /// The agent's proxy; nothing where there is none.
    fn proxy(&self) -> Vec<Process> {
        let mut processes = self.processes.clone();
        processes.retain(|process| process.command_line().contains("flotilla-agent proxy"));
        processes
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    // `cargo test --benches` has nothing to learn here.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let loopback = Loopback::lease()?;
    let (pod, by_hand) = (loopback.socket(100, 8000), loopback.socket(101, 8080));
    let pace = Pace {
        first: Duration::ZERO,
        next: Duration::from_secs(1),
        slots: Semaphore::MAX_PERMITS,
    };
    let server = ModelServer::start("pod", pod, pace).await?;
    let picker = Picker::choosing(loopback.socket(200, 9002), &pod.to_string()).await?;
    let by_hand = Plain::start(&configuration(by_hand, pod), by_hand).await?;
    let (standalone, edge) = gateway(loopback, &picker).await?;
    let ways = [
        Way {
            name: "by hand",
            target: by_hand.target(),
            processes: by_hand.processes(),
        },
        Way {
            name: "picked",
            target: edge,
            processes: standalone.gateway_processes(),
        },
    ];
    for process in &ways[1].processes {
        if let Some((_, role)) = process.command_line().split_once("flotilla-agent ") {
            let role = role.split(' ').next().unwrap_or_default();
            println!("agent {role:<10} {:>8} at rest", mebibytes(process.resident()));
        }
    }
    let chosen: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let is_chosen = |part: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == part);
    if is_chosen("processor") {
        processor_time(&ways).await?;
    }
    if is_chosen("latency") {
        latency(&ways, picker.address()).await?;
        first_word(&ways).await?;
    }
    if is_chosen("memory") {
        memory(&ways, &server).await?;
    }
    Ok(())
}

/// Processor time per request.
async fn processor_time(ways: &[Way; 2]) -> Result<()> {
    for (length, rate) in LOADS {
        let mut costs = [Vec::new(), Vec::new()];
        let mut proxy = Vec::new();
        for round in 0..=ROUNDS {
            for way in order(round) {
                let before = (spent(&ways[way].processes), spent(&ways[way].proxy()));
                let report = load(&ways[way], length, rate).await?;
                let after = (spent(&ways[way].processes), spent(&ways[way].proxy()));
                // The first round warms up.
                if round > 0 {
                    let requests = f64::from(u32::try_from(report.total())?);
                    costs[way].push(after.0.saturating_sub(before.0).as_secs_f64() / requests * 1e6);
                    if way == 1 {
                        proxy.push(after.1.saturating_sub(before.1).as_secs_f64() / requests * 1e6);
                    }
                }
            }
        }
        let [by_hand, picked] = costs.map(median);
        println!(
            "{:>3} KiB: {by_hand:>6.1} us of processor per request by hand, {picked:>6.1} us picked ({:.1} of them the \
             proxy's), ratio {:.2}",
            length / 1024,
            median(proxy),
            picked / by_hand,
        );
    }
    Ok(())
}

/// Time of a request beyond that of an exchange with the picker.
async fn latency(ways: &[Way; 2], picker: SocketAddr) -> Result<()> {
    let mut medians = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for way in order(round) {
            let report = load(&ways[way], 1024, 300).await?;
            if round > 0 {
                medians[way].push(report.percentile(50).as_secs_f64() * 1e3);
            }
        }
    }
    let [by_hand, through] = medians.map(median);
    let exchange = exchange(picker).await?.as_secs_f64() * 1e3;
    println!(
        "300 requests a second: median {by_hand:.2} ms by hand, {through:.2} ms picked, {exchange:.2} ms for the exchange \
         alone; added beyond it {:.2} ms",
        through - by_hand - exchange
    );
    Ok(())
}

/// Time to the first event of a stream, on a connection that is there.
async fn first_word(ways: &[Way; 2]) -> Result<()> {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..100 {
        for way in order(round) {
            let mut connection = ways[way].target.connect().await?;
            sleep(Duration::from_millis(3)).await;
            let asked = Instant::now();
            let response = connection.open(stream(2)).await?;
            response
                .into_body()
                .frame()
                .await
                .context("a stream has an event")??;
            if round >= 10 {
                times[way].push(asked.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let [by_hand, picked] = times.map(median);
    println!("first word: {by_hand:.2} ms by hand, {picked:.2} ms picked");
    Ok(())
}

/// Memory of a stream that is open.
async fn memory(ways: &[Way; 2], server: &ModelServer) -> Result<()> {
    for way in ways {
        let resident = || way.processes.iter().map(Process::resident).sum::<u64>();
        let resident_proxy = || way.proxy().iter().map(Process::resident).sum::<u64>();
        let (before, proxy_before) = (resident(), resident_proxy());
        let mut streams = Vec::new();
        while streams.len() < STREAMS {
            let open = async |_| {
                let mut connection = way.target.connect().await?;
                let response = connection.open(stream(1_000_000)).await?;
                let mut body = response.into_body();
                body.frame().await.context("a stream has an event")??;
                anyhow::Ok((connection, body))
            };
            streams.extend(try_join_all((0..STREAMS_AT_A_TIME).map(open)).await?);
        }
        ensure!(
            server.running() == STREAMS,
            "{} streams are open",
            server.running()
        );
        sleep(Duration::from_secs(2)).await;
        let each = |kibibytes: u64| kibibytes / STREAMS as u64;
        println!(
            "{STREAMS} streams {:<8} {:>4} KiB each, {} of them the proxy's",
            way.name,
            each(resident() - before),
            each(resident_proxy() - proxy_before),
        );
        drop(streams);
        eventually(async || {
            ensure!(server.running() == 0, "{} streams are open", server.running());
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Puts a load on a way for one round.
async fn load(way: &Way, length: usize, rate: u32) -> Result<Report> {
    let mut body = format!(r#"{{"model":"{MODEL}","max_tokens":1,"prompt":""#);
    body.push_str(&"x".repeat(length - body.len() - 2));
    body.push_str("\"}");
    let request = Request::new(Method::POST, "/v1/completions").body(body);
    let rate = NonZeroU32::new(rate).context("a load has requests")?.get();
    let load = Load::new(way.target.clone(), request).rate(rate).connections(32);
    let report = load.run(ROUND).await;
    ensure!(report.failed() == 0, "{}: {report}", way.name);
    Ok(report)
}

/// The median time from the first message to the choice, without a gateway.
async fn exchange(picker: SocketAddr) -> Result<Duration> {
    let mut client = ExternalProcessorClient::connect(format!("http://{picker}")).await?;
    let mut times = Vec::new();
    for _ in 0..300 {
        let (sender, messages) = tokio::sync::mpsc::channel(4);
        let message = |part| ProcessingRequest {
            request: Some(part),
            ..ProcessingRequest::default()
        };
        let asked = Instant::now();
        sender
            .send(message(Part::RequestHeaders(HttpHeaders::default())))
            .await?;
        sender
            .send(message(Part::RequestBody(HttpBody {
                body: vec![b'x'; 1024].into(),
                end_of_stream: true,
            })))
            .await?;
        let mut verdicts = client.process(ReceiverStream::new(messages)).await?.into_inner();
        for _ in ["headers", "body"] {
            verdicts.next().await.context("the picker answers")??;
        }
        times.push(asked.elapsed().as_secs_f64());
        drop(sender);
        while verdicts.message().await?.is_some() {}
        sleep(Duration::from_millis(3)).await;
    }
    Ok(Duration::from_secs_f64(median(times)))
}

fn stream(tokens: usize) -> Request {
    let body = format!(r#"{{"model":"{MODEL}","stream":true,"max_tokens":{tokens}}}"#);
    Request::new(Method::POST, "/v1/completions").body(body)
}

async fn gateway(loopback: Loopback, picker: &Picker) -> Result<(Standalone, Target)> {
    let pods = manifests::pods("models", &[loopback.address(100)]);
    let spec = format!(
        "targetPorts: [{{ number: 8000 }}], {}",
        picked_by("picker", "FailClose")
    );
    let yaml = [
        EDGE.to_owned(),
        route(
            "models",
            &format!("rules: [{{ backendRefs: [{}] }}]", backend("models")),
        ),
        manifests::pool("models", &spec),
        pods,
        manifests::picker("picker", picker.address()),
    ];
    let standalone = Standalone::start_with(loopback, &[("all.yaml", &yaml.join("---\n"))]).await?;
    let edge = standalone.edge().await?;
    eventually(async || {
        let answer = edge.get("models.example", "/v1/models").await?;
        ensure!(answer.status == 200, "{answer}");
        Ok(())
    })
    .await?;
    Ok((standalone, edge))
}

/// Which way goes first in a round.
fn order(round: usize) -> [usize; 2] {
    if round.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

/// What processors have spent on processes, exactly: `/proc/<pid>/stat` counts in steps of 10 ms, which are a tenth of
/// a round. See <https://docs.kernel.org/scheduler/sched-stats.html>.
fn spent(processes: &[Process]) -> Duration {
    let threads = processes
        .iter()
        .filter_map(|process| fs::read_dir(format!("/proc/{}/task", process.id())).ok());
    let nanoseconds = threads.flatten().flatten().filter_map(|thread| {
        let statistics = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        statistics.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn mebibytes(kibibytes: u64) -> String {
    let tenths = kibibytes * 10 / 1024;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// What a person would write for one model server: a pool of kept connections, and nothing buffered.
fn configuration(address: SocketAddr, pod: SocketAddr) -> String {
    format!(
        "worker_processes auto;\npid nginx.pid;\nevents {{ worker_connections 8192; }}\nhttp {{\n  access_log off;\n  \
         upstream models {{ server {pod}; keepalive 64; }}\n  \
         server {{\n    listen {address};\n    location / {{\n      proxy_pass http://models;\n      \
         proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      proxy_set_header Host $host;\n      \
         proxy_buffering off;\n      proxy_request_buffering off;\n    }}\n  }}\n}}\n"
    )
}
