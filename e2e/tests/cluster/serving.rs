//! How soon what is applied serves.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use e2e::{client::Target, standalone::eventually};
use serde_json::{Value, json};

use crate::harness::{Kind, Setting, alone, served};

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
        assert!(took < Duration::from_secs(3), "{took:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn endpoints_come_and_go_under_load_without_failures_or_reloads() -> Result<()> {
    alone("endpoints", async |setting: &Setting| {
        setting.echo(2).await?;
        let edge = setting.gateway("edge").await?;
        setting.route("shop", "shop.example").await?;
        served(&edge.http(), "shop.example").await?;
        let quiet = edge
            .load("shop.example")
            .rate(200)
            .run(Duration::from_secs(5))
            .await;
        let reloads = edge.reloads().await?;
        let load = edge.load("shop.example").rate(200).start();
        let deployments = setting.namespace(Kind::DEPLOYMENT);
        for replicas in [10, 2] {
            deployments
                .merge("echo", json!({"spec": {"replicas": replicas}}))
                .await?;
            setting.settled("echo").await?;
            let slices = setting.namespace(Kind::new("discovery.k8s.io/v1", "EndpointSlice"));
            eventually(async || {
                let slices = slices.list("kubernetes.io/service-name=echo").await?;
                let endpoints: usize = slices
                    .iter()
                    .map(|slice| slice["endpoints"].as_array().map_or(0, Vec::len))
                    .sum();
                ensure!(endpoints == replicas, "there are {endpoints} endpoints");
                Ok(())
            })
            .await?;
        }
        let report = load.stop().await;
        println!("quiet: {quiet}\n2 to 10 to 2 endpoints: {report}");
        assert_eq!(report.failed(), 0, "{report}");
        assert_eq!(edge.reloads().await?, reloads, "endpoints have reloaded NGINX");
        Ok(())
    })
    .await
}
