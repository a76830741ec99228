//! No request fails, whatever happens to the parts: a hundred requests a second on connections that are kept alive, to
//! a gateway of one pod.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    certificates::Certificate,
    client::Request,
    cluster::NAMESPACE,
    load::{Load, Running},
    standalone::{eventually, eventually_within},
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::sleep_until;

use crate::harness::{Gateway, Kind, PROJECTION, Pod, Setting, alone, beside_others, number, served};

/// Puts the load on the gateway while something happens to it, and until it has been enough requests. A route that is
/// added afterwards is served: nothing is left broken.
async fn none_fails(
    setting: &Setting,
    disrupt: impl AsyncFnOnce(&Setting, &Gateway<'_>) -> Result<()>,
) -> Result<()> {
    setting.echo(2).await?;
    let edge = setting.gateway("edge").await?;
    setting.route("shop", "shop.example").await?;
    served(&edge.http(), "shop.example").await?;
    let loads = [edge.load("shop.example").start()];
    disrupt(setting, &edge).await?;
    end(setting, loads).await?;
    setting.route("after", "after.example").await?;
    served(&edge.http(), "after.example").await?;
    Ok(())
}

/// Ends the load when it has been enough, and says what became of it.
pub(crate) async fn end<const N: usize>(setting: &Setting, loads: [Running; N]) -> Result<()> {
    let requests = number("REQUESTS", 1000) as u64;
    for load in loads {
        sleep_until(load.started() + Duration::from_secs(requests) / 100).await;
        let report = load.stop().await;
        println!("{}: {report}", setting.namespace);
        ensure!(report.failed() == 0, "{report}");
        ensure!(report.total() >= requests, "{report}");
    }
    Ok(())
}

#[tokio::test]
async fn no_request_fails_while_helm_upgrades_operator_and_gateways() -> Result<()> {
    alone("helm-upgrade", async |setting: &Setting| {
        none_fails(setting, async |setting, edge| {
            let before = pods_of(edge).await?;
            setting
                .in_background(|cluster| {
                    cluster.tag("flotilla.test/gateway:dev", "flotilla.test/gateway:next")?;
                    cluster.install(&["gatewayImage.tag=next", "logLevel=debug"])
                })
                .await?;
            replaced(edge, &before).await?;
            setting
                .in_background(|cluster| cluster.install::<&str>(&[]))
                .await?;
            setting.operators_settled().await
        })
        .await
    })
    .await
}

#[tokio::test]
async fn no_request_fails_while_all_operators_are_killed() -> Result<()> {
    alone("killed-operators", async |setting: &Setting| {
        none_fails(setting, async |setting, _| {
            let operators = setting.operators().await?;
            ensure!(!operators.is_empty(), "there are operators");
            let pods = setting.namespace_of(Kind::POD, NAMESPACE);
            let mut starts = Vec::new();
            for operator in &operators {
                starts.push(restarts(&pods.get(&operator.name).await?));
            }
            for operator in &operators {
                kill(operator, "flotilla operator")?;
            }
            for (operator, before) in operators.iter().zip(starts) {
                let runs_again = |pod: &Value| {
                    restarts(pod) > before && pod["status"]["containerStatuses"][0]["ready"] == true
                };
                pods.until(&operator.name, "it runs again", runs_again).await?;
            }
            setting.operators_settled().await
        })
        .await
    })
    .await
}

#[tokio::test]
async fn no_request_fails_while_the_gateway_is_restarted() -> Result<()> {
    beside_others("restarted-gateway", async |setting: &Setting| {
        none_fails(setting, async |setting, edge| {
            let before = pods_of(edge).await?;
            let restart = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"});
            let restart = json!({"spec": {"template": {"metadata": {"annotations": restart}}}});
            let deployments = setting.namespace(Kind::DEPLOYMENT);
            deployments.merge(&edge.objects(), restart).await?;
            replaced(edge, &before).await
        })
        .await
    })
    .await
}

#[tokio::test]
async fn no_request_fails_while_the_gateway_is_scaled_up_and_down() -> Result<()> {
    beside_others("scaled-gateway", async |setting: &Setting| {
        none_fails(setting, async |_, edge| {
            edge.scale(5).await?;
            edge.scale(1).await
        })
        .await
    })
    .await
}

#[tokio::test]
async fn no_request_fails_while_the_supervisor_is_killed() -> Result<()> {
    beside_others("killed-supervisor", async |setting: &Setting| {
        none_fails(setting, async |_, edge| {
            let reloads = edge.reloads().await?;
            kill_supervisors(edge).await?;
            ensure!(
                edge.reloads().await? == reloads,
                "NGINX was restarted or reloaded"
            );
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn no_request_fails_while_every_certificate_is_rotated() -> Result<()> {
    alone("certificates", async |setting: &Setting| {
        setting.echo(2).await?;
        let [old, new] = [(); 2].map(|()| Certificate::self_signed(&["shop.example"]));
        setting.apply(&old.secret(&setting.namespace, "shop")).await?;
        setting
            .apply(
                "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: flotilla
  listeners:
    - { name: http, port: 80, protocol: HTTP }
    - { name: https, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: shop }] } }",
            )
            .await?;
        let edge = setting.programmed("edge").await?;
        setting.route("shop", "shop.example").await?;
        let target = edge.https("shop.example");
        served(&target, "shop.example").await?;
        let served_certificate = async || anyhow::Ok(target.connect().await?.certificate().cloned());
        let before = served_certificate().await?;

        let load = Load::new(target.clone(), Request::get("/").host("shop.example"));
        let loads = [load.clone().start(), load.without_keep_alive().start()];
        setting.apply(&new.secret(&setting.namespace, "shop")).await?;
        let rotated = Instant::now();
        // All authorities at once, as after a theft: the operators make another, and agents hear of it.
        let authorities = setting.namespace_of(Kind::SECRET, NAMESPACE);
        let maps = setting.namespace(Kind::CONFIG_MAP);
        let trusted = maps.get(&edge.objects()).await?["data"].clone();
        authorities
            .merge("flotilla-authorities", json!({"data": null}))
            .await?;
        maps.until(&edge.objects(), "agents trust another authority", |map| {
            map["data"] != trusted
        })
        .await?;
        println!(
            "agents were told of another authority after {:.1?}",
            rotated.elapsed()
        );
        eventually_within(PROJECTION, async || {
            ensure!(
                served_certificate().await? != before,
                "the old certificate is served"
            );
            Ok(())
        })
        .await?;
        println!("another certificate was served after {:.1?}", rotated.elapsed());
        // A supervisor that starts anew has to trust the new authority, which the kubelet brings in its own time.
        kill_supervisors(&edge).await?;
        end(setting, loads).await?;
        setting.route("after", "after.example").await?;
        eventually_within(PROJECTION, async || served(&edge.http(), "after.example").await)
            .await
            .context("the agent does not trust the operators")?;
        println!(
            "the new supervisor was told of a route after {:.1?}",
            rotated.elapsed()
        );
        Ok(())
    })
    .await
}

/// How often the container of a pod was started again.
fn restarts(pod: &Value) -> Option<u64> {
    pod["status"]["containerStatuses"][0]["restartCount"].as_u64()
}

async fn pods_of(edge: &Gateway<'_>) -> Result<BTreeSet<String>> {
    Ok(edge.pods().await?.into_iter().map(|pod| pod.name).collect())
}

/// Waits until a gateway runs on other pods alone.
async fn replaced(edge: &Gateway<'_>, before: &BTreeSet<String>) -> Result<()> {
    eventually(async || {
        let now = pods_of(edge).await?;
        ensure!(
            !now.is_empty() && now.is_disjoint(before),
            "{before:?} runs, {now:?}"
        );
        Ok(())
    })
    .await
}

/// Kills the supervisors of a gateway, and waits until there are others.
async fn kill_supervisors(edge: &Gateway<'_>) -> Result<()> {
    for pod in edge.pods().await? {
        let killed = kill(&pod, "flotilla-agent supervise")?;
        eventually(async || {
            let supervisors = pod.processes_of("flotilla-agent supervise");
            let others = supervisors.iter().filter(|supervisor| supervisor.id() != killed);
            ensure!(others.count() > 0, "no supervisor runs in {}", pod.name);
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Kills the process of a pod with these words in its command line, and returns its number.
fn kill(pod: &Pod, words: &str) -> Result<i32> {
    let processes = pod.processes_of(words);
    let process = processes
        .first()
        .with_context(|| format!("{} runs no {words}", pod.name))?;
    process.signal(Signal::KILL);
    Ok(process.id())
}
