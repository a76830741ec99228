//! Two operators: all serve, one writes.

use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::cluster::NAMESPACE;
use kube::api::DeleteParams;

use crate::harness::{Kind, Setting, alone, limit, served};

#[tokio::test]
async fn another_operator_leads_when_the_leader_is_gone() -> Result<()> {
    alone("leader", async |setting: &Setting| {
        setting.operators_settled().await?;
        setting.echo(1).await?;
        let edge = setting.gateway("edge").await?;
        let (leader, others) = setting.leader_and_others().await?;
        assert_eq!(others.len(), 1, "{others:?}");

        let gone = Instant::now();
        let pods = setting.namespace_of(Kind::POD, NAMESPACE);
        pods.delete_with(&leader.name, &DeleteParams::default().grace_period(0))
            .await?;
        // Agents need no leader.
        setting.route("shop", "shop.example").await?;
        let took = served(&edge.http(), "shop.example").await?;
        println!("a route served {took:.1?} after its apply, without a leader");
        // What is written waits for one.
        setting.gateway("second").await?;
        println!(
            "a Gateway was programmed {:.1?} after the leader was gone",
            gone.elapsed()
        );
        let (next, _) = setting.leader_and_others().await?;
        assert_ne!(next.name, leader.name);
        assert!(
            gone.elapsed() < limit(Duration::from_secs(30)),
            "{:?}",
            gone.elapsed()
        );
        setting.operators_settled().await
    })
    .await
}

/// As where whatever applied the chart has left the Lease out.
#[tokio::test]
async fn a_lease_that_is_not_there_is_made() -> Result<()> {
    alone("lease", async |setting: &Setting| {
        let leases = setting.namespace_of(Kind::LEASE, NAMESPACE);
        leases.delete("flotilla").await?;
        leases
            .until("flotilla", "somebody holds it", |lease| {
                lease["spec"]["holderIdentity"].is_string()
            })
            .await?;
        setting.gateway("edge").await?;
        setting.operators_settled().await
    })
    .await
}
