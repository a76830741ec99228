//! Every process of a fleet is killed in turn, under load.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::{
    client::{Request, Target},
    echo::Echo,
    load::{Load, Running},
    manifests::{EDGE, route_to},
    standalone::{Standalone, eventually},
};
use rustix::process::Signal;

/// A gateway that serves under load.
async fn under_load() -> Result<(Standalone, Echo, Target, Running)> {
    let route = route_to("shop.example", "shop");
    let standalone = Standalone::start(&[("edge.yaml", EDGE), ("route.yaml", &route)]).await?;
    let backend = standalone.backend("shop", 100).await?;
    let edge = standalone.edge().await?;
    eventually(async || edge.get("shop.example", "/").await?.seen()).await?;
    let load = Load::new(edge.clone(), Request::get("/").host("shop.example"))
        .rate(300)
        .connections(CONNECTIONS);
    Ok((standalone, backend, edge, load.start()))
}

/// As many requests can be in a worker's hands.
const CONNECTIONS: u32 = 8;

/// Waits until an edit is served, which shows that every part works again.
async fn edit_is_served(standalone: &Standalone, edge: &Target, host: &str) -> Result<()> {
    standalone.apply(&format!("{host}.yaml"), &route_to(host, "shop"))?;
    eventually(async || edge.get(host, "/").await?.seen()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_operator_fails_no_request_and_its_successor_takes_over() -> Result<()> {
    let (mut standalone, _backend, edge, load) = under_load().await?;
    let workers = standalone.workers();
    standalone.kill_operator()?;
    standalone.restart_operator().await?;
    standalone.edge().await?;
    assert_eq!(
        standalone.workers(),
        workers,
        "the restart of the operator has reloaded NGINX"
    );
    edit_is_served(&standalone, &edge, "later.example").await?;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_supervisor_fails_no_request_and_its_successor_adopts_nginx() -> Result<()> {
    let (standalone, _backend, edge, load) = under_load().await?;
    let workers = standalone.workers();
    let supervisor = standalone.gateway_process(&["flotilla-agent", "supervis"])?;
    supervisor.signal(Signal::KILL);
    eventually(async || {
        let successor = standalone.gateway_process(&["flotilla-agent", "supervis"])?;
        ensure!(successor != supervisor, "no successor yet");
        Ok(())
    })
    .await?;
    assert_eq!(standalone.workers(), workers, "the successor has reloaded NGINX");
    edit_is_served(&standalone, &edge, "later.example").await?;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_worker_fails_at_most_what_was_in_its_hands() -> Result<()> {
    let (standalone, _backend, edge, load) = under_load().await?;
    let worker = standalone
        .workers()
        .into_iter()
        .next()
        .context("NGINX has workers")?;
    worker.signal(Signal::KILL);
    edit_is_served(&standalone, &edge, "later.example").await?;
    let report = load.stop().await;
    assert!(report.failed() <= u64::from(CONNECTIONS), "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_master_is_back() -> Result<()> {
    let (standalone, _backend, edge, load) = under_load().await?;
    let master = standalone.gateway_process(&["nginx: master process"])?;
    let killed = Instant::now();
    master.signal(Signal::KILL);
    eventually(async || {
        ensure!(
            standalone.gateway_process(&["nginx: master process"])? != master,
            "no new master"
        );
        edge.get("shop.example", "/").await?.seen()
    })
    .await?;
    println!("back after {:.1?}", killed.elapsed());
    edit_is_served(&standalone, &edge, "later.example").await?;
    println!("{}", load.stop().await);
    Ok(())
}
