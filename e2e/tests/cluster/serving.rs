//! How soon what is applied serves.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use e2e::{
    client::{Request, Target},
    load::{Load, Report, Running},
    standalone::eventually,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::{Kind, Setting, alone, limit, served};

/// A Service whose endpoints stay.
const STILL: &str = "still";

#[tokio::test]
async fn a_new_gateway_serves_within_three_seconds() -> Result<()> {
    alone("new-gateway", async |setting: &Setting| {
        setting.echo(1).await?;
        let started = Instant::now();
        setting.apply_gateway("edge").await?;
        setting.route("shop", "shop.example").await?;
        let services = setting.namespace(Kind::SERVICE);
        let has_address = |service: &Value| !service["status"]["loadBalancer"]["ingress"].is_null();
        let service = services
            .until("flotilla-edge", "it has an address", has_address)
            .await?;
        let address = service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str();
        let address = address.expect("the cluster gives IP addresses").parse()?;
        let target = Target::http(SocketAddr::new(address, 80));
        served(&target, "shop.example").await?;
        let took = started.elapsed();
        println!("a new Gateway served {took:.1?} after the start of the apply");
        setting.programmed("edge").await?;
        println!("and was programmed after {:.1?}", started.elapsed());
        assert!(took < limit(Duration::from_secs(3)), "{took:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn endpoints_come_and_go_under_load_without_failures_or_reloads() -> Result<()> {
    alone("endpoints", async |setting: &Setting| {
        setting.echo(2).await?;
        setting.backends(STILL, 1).await?;
        // As much as is the default: with what the fleet of tests asks for, operators would go before it.
        let fleet = json!({"container": {"resources": {"requests": {"cpu": "100m"}}}});
        let edge = setting.gateway_of_fleet("edge", fleet).await?;
        setting.route("shop", "shop.example").await?;
        served(&edge.http(), "shop.example").await?;
        let labels = format!("app={STILL}");
        let [still] = &setting.pods(&setting.namespace, &labels).await?[..] else {
            anyhow::bail!("it has one pod");
        };
        let still = Target::http(SocketAddr::new(still.address, 3000));
        // The second has nothing to do with what changes: how slow it becomes is the machine's doing.
        let loads = || {
            [
                edge.load("shop.example").rate(200).start(),
                Load::new(still.clone(), Request::get("/")).rate(200).start(),
            ]
        };
        let quiet = loads();
        sleep(Duration::from_secs(5)).await;
        let quiet = reports(quiet).await;
        let reloads = edge.reloads().await?;
        let changing = loads();
        let deployments = setting.namespace(Kind::DEPLOYMENT);
        for replicas in [10, 2] {
            deployments
                .merge("echo", json!({"spec": {"replicas": replicas}}))
                .await?;
            setting.settled("echo").await?;
            has_endpoints(setting, "echo", replicas).await?;
        }
        let changing = reports(changing).await;
        for (when, [gateway, pod]) in [("quiet", &quiet), ("2 to 10 to 2 endpoints", &changing)] {
            println!("{when}: {gateway}\n  meanwhile, of another pod, without a gateway: {pod}");
        }
        let [report, _] = changing;
        assert_eq!(report.failed(), 0, "{report}");
        assert_eq!(edge.reloads().await?, reloads, "endpoints have reloaded NGINX");
        Ok(())
    })
    .await
}

/// Waits until a Service has this many endpoints.
async fn has_endpoints(setting: &Setting, service: &str, number: usize) -> Result<()> {
    let slices = setting.namespace(Kind::new("discovery.k8s.io/v1", "EndpointSlice"));
    let labels = format!("kubernetes.io/service-name={service}");
    eventually(async || {
        let slices = slices.list(&labels).await?;
        let endpoints: usize = slices
            .iter()
            .map(|slice| slice["endpoints"].as_array().map_or(0, Vec::len))
            .sum();
        ensure!(endpoints == number, "there are {endpoints} endpoints");
        Ok(())
    })
    .await
}

/// Ends loads, and says what became of them.
async fn reports([first, second]: [Running; 2]) -> [Report; 2] {
    [first.stop().await, second.stop().await]
}
