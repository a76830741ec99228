//! What goes through a gateway whose pool has the full picker, run by the operator and asked over TLS that is verified:
//! how much, how fast, and whose work it is.

use std::{
    net::SocketAddr,
    process,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    client::{Request, Target},
    load::{Load, Report},
    process::Process,
};
use hyper::Method;

use super::{picker::Picker, served};
use crate::{
    harness::{Gateway, Pod, Setting, alone, number},
    scale::median,
};

/// Requests at a time.
const CONNECTIONS: u32 = 32;

/// Requests per second at which latency is measured.
const RATES: [u32; 2] = [200, 300];

/// Too short a prompt for pickers to remember who knows it: one server would be asked again and again.
const QUESTION: &str = r#"{"model":"tide-1b","max_tokens":1,"prompt":"When does the fleet leave?"}"#;

/// Where gateways and model servers tell their figures.
const GATEWAY_METRICS: u16 = 9113;
const SERVER_PORT: u16 = 8000;

#[tokio::test]
async fn no_completion_fails_and_all_model_servers_take_part_however_many_there_are() -> Result<()> {
    alone("throughput", async |setting: &Setting| {
        let edge = served(setting).await?;
        let pods = Pods::of(setting, &edge).await?;
        let [server, ..] = &pods.servers[..] else {
            anyhow::bail!("there are model servers");
        };
        let direct = Target::http(SocketAddr::new(server.address, SERVER_PORT));
        let answer = direct.send(question()).await?.body;
        let picker = Picker::connect(&pods.picker, QUESTION.into(), answer).await?;
        let through = Load::new(edge.http(), question()).connections(CONNECTIONS);
        let direct = Load::new(direct, question()).connections(CONNECTIONS);
        let duration = Duration::from_secs(number("SECONDS", 1) as u64);
        let before = pods.served().await?;

        // All that is made on demand is there afterwards.
        good(through.clone().unpaced().run(Duration::from_secs(1)).await)?;
        most(&pods, &through, duration).await?;
        for rate in RATES {
            let through = good(through.clone().rate(rate).run(duration).await)?;
            let direct = good(direct.clone().rate(rate).run(duration).await)?;
            let own = median(&picker.ask_steadily(rate, duration).await?);
            let [through_median, direct_median] = [&through, &direct].map(|report| report.percentile(50));
            println!(
                "{rate} a second: {:.2} ms through the gateway (99 % within {:.1} ms), {:.2} ms from the model server, \
                 {:.2} ms from the picker; beyond both {:.2} ms (medians)",
                milliseconds(through_median),
                milliseconds(through.percentile(99)),
                milliseconds(direct_median),
                milliseconds(own),
                milliseconds(through_median) - milliseconds(direct_median) - milliseconds(own),
            );
        }

        for ((before, after), server) in before.iter().zip(pods.served().await?).zip(&pods.servers) {
            ensure!(after > *before, "{} was asked nothing", server.name);
        }
        Ok(())
    })
    .await
}

/// Asks for as much as there are answers, and says how much that is and what it costs whom.
async fn most(pods: &Pods, load: &Load, duration: Duration) -> Result<()> {
    let picks = async || {
        let figure = async |name| pods.gateway.figure(GATEWAY_METRICS, name).await;
        anyhow::Ok((
            figure("flotilla_proxy_picker_seconds_sum").await?,
            figure("flotilla_proxy_picker_seconds_count").await?,
        ))
    };
    let workers = pods.workers();
    let spent = || workers.iter().map(Worker::processor_time).collect::<Vec<_>>();
    let (before, picks_before, begun) = (spent(), picks().await?, Instant::now());
    let report = good(load.clone().unpaced().run(duration).await)?;
    let (took, after, picks_after) = (begun.elapsed(), spent(), picks().await?);

    let requests = f64::from(u32::try_from(report.total())?);
    println!(
        "{:.0} a second on {CONNECTIONS} connections: {report}",
        requests / took.as_secs_f64()
    );
    println!(
        "  {:.2} ms (mean) until the picker has chosen, as the gateway sees it",
        (picks_after.0 - picks_before.0) / (picks_after.1 - picks_before.1) * 1e3
    );
    for ((worker, before), after) in workers.iter().zip(before).zip(after) {
        println!(
            "  {:>4.0} us of processor per request: {}",
            after.saturating_sub(before).as_secs_f64() / requests * 1e6,
            worker.name
        );
    }
    Ok(())
}

/// The pods that work for a request.
struct Pods {
    gateway: Pod,
    picker: Pod,
    servers: Vec<Pod>,
}

/// Processes that do one part of the work.
struct Worker {
    name: &'static str,
    processes: Vec<Process>,
}

impl Pods {
    async fn of(setting: &Setting, edge: &Gateway<'_>) -> Result<Self> {
        let pods = async |labels| setting.pods(&setting.namespace, labels).await;
        let pickers = pods("flotilla.dev/endpoint-picker=tide-picker").await?;
        Ok(Self {
            gateway: edge.pods().await?.pop().context("a gateway has a pod")?,
            picker: pickers.into_iter().next().context("a picker runs")?,
            servers: pods("app=tide").await?,
        })
    }

    /// How many requests each model server has answered.
    async fn served(&self) -> Result<Vec<f64>> {
        let mut served = Vec::new();
        for server in &self.servers {
            served.push(server.figure(SERVER_PORT, "vllm:request_success_total").await?);
        }
        Ok(served)
    }

    fn workers(&self) -> [Worker; 5] {
        let worker = |name, processes| Worker { name, processes };
        let client = Process::with_id(process::id());
        [
            worker("client", client.into_iter().collect()),
            worker("NGINX", self.gateway.processes_of("nginx:")),
            worker("proxy", self.gateway.processes_of("flotilla-agent proxy")),
            worker("picker", self.picker.processes()),
            worker(
                "model servers",
                self.servers.iter().flat_map(Pod::processes).collect(),
            ),
        ]
    }
}

impl Worker {
    fn processor_time(&self) -> Duration {
        self.processes.iter().map(Process::processor_time).sum()
    }
}

fn question() -> Request {
    Request::new(Method::POST, "/v1/completions")
        .host("tide.example")
        .header("content-type", "application/json")
        .body(QUESTION)
}

fn good(report: Report) -> Result<Report> {
    ensure!(report.failed() == 0, "{report}");
    Ok(report)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
