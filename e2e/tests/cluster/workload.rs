//! Gateways that run in other ways than as a Deployment of a fixed size.

use anyhow::{Result, ensure};
use e2e::standalone::eventually;
use serde_json::{Value, json};

use crate::harness::{Gateway, Kind, Setting, beside_others, served};

#[tokio::test]
async fn no_request_fails_while_the_kind_of_workload_changes() -> Result<()> {
    beside_others("daemon-set", async |setting: &Setting| {
        setting.echo(1).await?;
        let daemon_set = json!({"workload": {"kind": "DaemonSet"}});
        let edge = setting.gateway_of_fleet("edge", daemon_set.clone()).await?;
        setting.route("shop", "shop.example").await?;
        served(&edge.http(), "shop.example").await?;
        let name = edge.objects();
        let daemon_sets = setting.namespace(Kind::DAEMON_SET);
        daemon_sets
            .until(&name, "a pod is on each node", is_on_each_node)
            .await?;
        setting.namespace(Kind::DEPLOYMENT).gone(&name).await?;

        let load = edge.load("shop.example").start();
        for (kind, fleet) in [
            (Kind::DAEMON_SET, json!({"workload": {"kind": "Deployment"}})),
            (Kind::DEPLOYMENT, daemon_set),
        ] {
            let before = edge.pods().await?;
            setting.apply_fleet("edge", fleet).await?;
            setting.namespace(kind).gone(&name).await?;
            eventually(async || {
                let pods = edge.pods().await?;
                ensure!(pods.len() == 1 && before != pods, "{pods:?} run");
                Ok(())
            })
            .await?;
            setting.programmed("edge").await?;
        }
        // Those that were told to stop serve on until nobody connects to them any more.
        ended(setting, &edge).await?;
        let report = load.stop().await;
        println!("DaemonSet to Deployment to DaemonSet: {report}");
        assert_eq!(report.failed(), 0, "{report}");

        setting.delete(Kind::GATEWAY, "edge").await?;
        daemon_sets.gone(&name).await
    })
    .await
}

#[tokio::test]
async fn an_autoscaler_says_how_many_pods_there_are_and_nobody_else() -> Result<()> {
    beside_others("autoscaled", async |setting: &Setting| {
        let between = |least: usize, most: usize| {
            json!({"workload": {"autoscaling": {
                "minReplicas": least,
                "maxReplicas": most,
                "targetCPUUtilizationPercentage": 60,
            }}})
        };
        let edge = setting.gateway_of_fleet("edge", between(2, 4)).await?;
        let name = edge.objects();
        let autoscalers = setting.namespace(Kind::AUTOSCALER);
        let limits = |least: usize, most: usize| {
            move |autoscaler: &Value| {
                let spec = &autoscaler["spec"];
                spec["minReplicas"] == least && spec["maxReplicas"] == most
            }
        };
        let autoscaler = autoscalers.until(&name, "it has limits", limits(2, 4)).await?;
        let target = &autoscaler["spec"]["metrics"][0]["resource"];
        assert_eq!(target["target"]["averageUtilization"], 60, "{autoscaler}");
        // A Deployment has one pod at first: that there are two is the autoscaler's doing.
        let deployments = setting.namespace(Kind::DEPLOYMENT);
        let has = |pods: usize| move |deployment: &Value| deployment["status"]["readyReplicas"] == pods;
        deployments.until(&name, "it is scaled up", has(2)).await?;

        deployments.scale(&name, 3).await?;
        deployments.until(&name, "it has three pods", has(3)).await?;
        let quick_end = json!({"drain": {"delay": "1s", "timeout": "2s"}});
        let mut fleet = between(2, 5);
        fleet["pod"] = quick_end.clone();
        setting.apply_fleet("edge", fleet).await?;
        autoscalers
            .until(&name, "it has other limits", limits(2, 5))
            .await?;
        let ends_quickly = |deployment: &Value| {
            deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 13
        };
        let deployment = deployments
            .until(&name, "it is applied anew", ends_quickly)
            .await?;
        assert_eq!(deployment["spec"]["replicas"], 3, "{deployment}");

        autoscalers
            .merge(&name, json!({"spec": {"maxReplicas": 9}}))
            .await?;
        autoscalers.until(&name, "drift heals", limits(2, 5)).await?;
        autoscalers.delete(&name).await?;
        autoscalers.until(&name, "it is made again", limits(2, 5)).await?;

        // Without an autoscaler there are as many pods as before.
        setting.apply_fleet("edge", json!({"pod": quick_end})).await?;
        autoscalers.gone(&name).await?;
        setting.programmed("edge").await?;
        let deployment = deployments.get(&name).await?;
        assert_eq!(deployment["spec"]["replicas"], 3, "{deployment}");
        Ok(())
    })
    .await
}

fn is_on_each_node(daemon_set: &Value) -> bool {
    let status = &daemon_set["status"];
    status["desiredNumberScheduled"].as_u64() > Some(0)
        && status["numberReady"] == status["desiredNumberScheduled"]
}

/// Waits until no pod of the gateway is on its way out.
async fn ended(setting: &Setting, gateway: &Gateway<'_>) -> Result<()> {
    let running = gateway.pods().await?.len();
    let selector = "gateway.networking.k8s.io/gateway-name=edge";
    eventually(async || {
        let all = setting.namespace(Kind::POD).list(selector).await?.len();
        ensure!(all == running, "{all} pods are there, of which {running} stay");
        Ok(())
    })
    .await
}
