//! Of several pods of a picker one is asked about all requests, and none fails when that one goes, however it goes. The
//! pool fails closed, so that every request that finds no picker shows.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use e2e::standalone::eventually;
use k8s_openapi::api::core::v1;
use kube::{Api, api::EvictParams};
use rustix::process::Signal;
use serde_json::json;

use super::{PICKER, disruption::load, served};
use crate::{
    disruption::end,
    harness::{Gateway, Pod, Setting, beside_others},
};

/// What pickers count of requests, and where they tell it.
const ASKED: &str = "inference_objective_request_total";
const METRICS_PORT: u16 = 9090;

#[tokio::test]
async fn no_request_fails_when_the_pod_that_is_asked_goes_without_notice() -> Result<()> {
    beside_others("lost-leader", async |setting: &Setting| {
        let edge = served_by_two(setting).await?;
        let loads = [load(&edge).start()];
        let [leader, other] = pods(setting).await?;
        // The gateway may have known one of them before the other.
        eventually(async || {
            let others = other.figure(METRICS_PORT, ASKED).await?;
            asked_again(&leader).await?;
            ensure!(
                other.figure(METRICS_PORT, ASKED).await? <= others,
                "both are asked"
            );
            Ok(())
        })
        .await?;

        let before: BTreeSet<i32> = picker_processes(&leader).map(|process| process.id()).collect();
        for process in picker_processes(&leader) {
            process.signal(Signal::KILL);
        }
        eventually(async || {
            let is_another = picker_processes(&leader).any(|process| !before.contains(&process.id()));
            ensure!(is_another, "it is not started again");
            Ok(())
        })
        .await?;
        setting.settled("tide-picker").await?;

        let (namespace, name) = (setting.namespace.clone(), leader.name.clone());
        setting
            .in_background(move |cluster| {
                let namespace = format!("--namespace={namespace}");
                cluster.kubectl(&[&namespace, "delete", "pod", &name, "--grace-period=0", "--force"])
            })
            .await?;
        replaced(setting, &[&leader]).await?;
        end(setting, loads).await
    })
    .await
}

#[tokio::test]
async fn no_request_fails_when_pods_of_a_picker_are_evicted_and_replaced() -> Result<()> {
    beside_others("moved-pickers", async |setting: &Setting| {
        let edge = served_by_two(setting).await?;
        let loads = [load(&edge).start()];
        let [leader, _] = pods(setting).await?;
        let evictions = Api::<v1::Pod>::namespaced(setting.client.clone(), &setting.namespace);
        // Its disruption budget counts those that are ready in its own time.
        eventually(async || Ok(evictions.evict(&leader.name, &EvictParams::default()).await?)).await?;
        replaced(setting, &[&leader]).await?;

        let before = pods(setting).await?;
        let patch = json!({"spec": {"annotations": {"rolled": "once"}}});
        setting.namespace(PICKER).merge("tide-picker", patch).await?;
        replaced(setting, &before.each_ref()).await?;
        end(setting, loads).await
    })
    .await
}

/// Two model servers and a picker of two pods, which serve by way of the Gateway `edge`.
async fn served_by_two(setting: &Setting) -> Result<Gateway<'_>> {
    let edge = served(setting).await?;
    let patch = json!({"spec": {"replicas": 2}});
    setting.namespace(PICKER).merge("tide-picker", patch).await?;
    eventually(async || pods(setting).await.map(drop)).await?;
    setting.settled("tide-picker").await?;
    Ok(edge)
}

/// The two pods of the picker, the one that is asked first: that is the one with the lowest address.
async fn pods(setting: &Setting) -> Result<[Pod; 2]> {
    let selector = "flotilla.dev/endpoint-picker=tide-picker";
    let mut pods = setting.pods(&setting.namespace, selector).await?;
    pods.sort_by_key(|pod| pod.address);
    let count = pods.len();
    pods.try_into().ok().with_context(|| format!("{count} pods pick"))
}

/// Waits until others pick in place of these pods.
async fn replaced(setting: &Setting, before: &[&Pod]) -> Result<()> {
    eventually(async || {
        let now = pods(setting).await?;
        for pod in before {
            ensure!(now.iter().all(|now| now.name != pod.name), "{} picks", pod.name);
        }
        Ok(())
    })
    .await?;
    setting.settled("tide-picker").await
}

/// Waits until a picker has been asked about fifty requests more.
async fn asked_again(picker: &Pod) -> Result<()> {
    let before = picker.figure(METRICS_PORT, ASKED).await?;
    eventually(async || {
        let now = picker.figure(METRICS_PORT, ASKED).await?;
        ensure!(now >= before + 50.0, "it is not asked");
        Ok(())
    })
    .await
}

fn picker_processes(pod: &Pod) -> impl Iterator<Item = e2e::process::Process> {
    pod.processes_of("--pool-name").into_iter()
}
