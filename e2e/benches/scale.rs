//! What a route costs where there are many: processor time and memory of operator and gateway, and how long it takes
//! until an added one serves.
//!
//! `cargo bench -p e2e --bench scale` has 1,000 of them, `$ROUTES` another number. The last tenth is added one by one;
//! at first all routes lead to one Service, then each to a Service of its own.

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    client::Target,
    loopback::Loopback,
    manifests::{EDGE, route_to, service},
    process::Process,
    standalone::{Standalone, eventually},
};
use tokio::time::sleep;

/// How long it takes at most until a gateway is at rest after the last route.
const REST: Duration = Duration::from_secs(2);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // `cargo test --benches` has nothing to learn here.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let routes = env::var("ROUTES").map_or(Ok(1000), |routes| routes.parse())?;
    ensure!(routes >= 20, "$ROUTES has to be 20 or more");
    measure("of one Service", routes, 1).await?;
    measure("of a Service each", routes, routes).await
}

async fn measure(what: &str, routes: usize, services: usize) -> Result<()> {
    let host = |number: usize| format!("host-{number}.example");
    let route = |number: usize| route_to(&host(number), &format!("shop-{}", number % services));
    let together = |documents: Vec<String>| documents.join("---\n");

    let loopback = Loopback::lease()?;
    let endpoint = loopback.socket(100, 3000);
    let first = routes - routes / 10;
    let manifests = [
        ("edge.yaml", EDGE.to_owned()),
        ("routes.yaml", together((0..first).map(route).collect())),
        (
            "services.yaml",
            together(
                (0..services)
                    .map(|number| service(&format!("shop-{number}"), &[endpoint]))
                    .collect(),
            ),
        ),
    ];
    let manifests = manifests.each_ref().map(|(file, yaml)| (*file, yaml.as_str()));
    let standalone = Standalone::start_with(loopback, &manifests).await?;
    let _backend = standalone.echo("shop", 100).await?;
    let edge = standalone.edge().await?;
    served(&edge, &host(first - 1)).await?;

    let before = Usage::of(&standalone);
    let mut times = Vec::new();
    for number in first..routes {
        standalone.apply(&format!("route-{number}.yaml"), &route(number))?;
        let applied = Instant::now();
        served(&edge, &host(number)).await?;
        times.push(applied.elapsed());
    }
    sleep(REST).await;
    let after = Usage::of(&standalone);

    times.sort_unstable();
    let added = u32::try_from(times.len()).context("fewer routes than that")?;
    println!("{routes} routes {what}; of each of the last {added}, added one by one:");
    println!(
        "  served after    {:>5.0?} (median), {:.0?} at most",
        times[times.len() / 2],
        times[times.len() - 1]
    );
    for (who, before, after) in [
        ("operator", before.operator, after.operator),
        ("gateway", before.gateway, after.gateway),
    ] {
        println!(
            "  {who:<15} {:>5.0?} of processor time; {:.0} MiB in the end",
            after.processor.saturating_sub(before.processor) / added,
            after.memory
        );
    }
    Ok(())
}

async fn served(edge: &Target, host: &str) -> Result<()> {
    eventually(async || {
        let answer = edge.get(host, "/").await?;
        ensure!(answer.status == 200, "{answer}");
        Ok(())
    })
    .await
}

/// What operator and gateway have used.
struct Usage {
    operator: Share,
    gateway: Share,
}

/// What processes have used.
#[derive(Clone, Copy)]
struct Share {
    processor: Duration,
    /// Anonymous, in MiB.
    memory: f64,
}

impl Usage {
    fn of(standalone: &Standalone) -> Self {
        Self {
            operator: Share::of(&[standalone.operator()]),
            gateway: Share::of(&standalone.gateway_processes()),
        }
    }
}

impl Share {
    fn of(processes: &[Process]) -> Self {
        let kibibytes: u32 = processes.iter().map(Process::own_share).sum();
        // Workers that have ended are their master's; what runs still is counted for itself.
        let own = processes.iter().map(Process::processor_time);
        let ended = processes.iter().map(Process::processor_time_of_ended);
        Self {
            processor: own.chain(ended).sum(),
            memory: f64::from(kibibytes) / 1024.0,
        }
    }
}
