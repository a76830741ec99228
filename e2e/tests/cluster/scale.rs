//! Many of everything: what it costs, and that nobody waits for it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use e2e::{client::Target, cluster::NAMESPACE, process::Process};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::DeleteParams;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Kind, Pod, Setting, Usage, alone, limit, number, route, served};

const KIB: u64 = 1024;

/// How many objects are applied at once where their number is all that counts.
const AT_ONCE: usize = 16;

#[tokio::test]
async fn routes_that_are_added_one_by_one_serve_at_once() -> Result<()> {
    alone("added-routes", async |setting: &Setting| {
        setting.echo(1).await?;
        let edge = setting.gateway("edge").await?;
        let [gateway] = &edge.pods().await?[..] else {
            anyhow::bail!("a new gateway has one pod");
        };
        let (leader, _) = setting.leader_and_others().await?;
        let usages = async || anyhow::Ok((setting.usage(&leader).await?, setting.usage(gateway).await?));

        let routes = number("ROUTES", 60);
        // What the last tenth costs, when all the others are there.
        let last = routes - routes / 10;
        let (mut from_start, mut from_end) = (Vec::new(), Vec::new());
        let mut before = usages().await?;
        println!("no route: operator {}, gateway {}", before.0, before.1);
        for number in 0..routes {
            if number == last {
                before = usages().await?;
            }
            let host = format!("host-{number}.example");
            let started = Instant::now();
            setting.route(&format!("route-{number}"), &host).await?;
            from_end.push(served(&edge.http(), &host).await?);
            from_start.push(started.elapsed());
        }
        let after = usages().await?;
        println!("{routes} routes: operator {}, gateway {}", after.0, after.1);
        let each = |before: Usage, after: Usage| {
            after.processor.saturating_sub(before.processor)
                / u32::try_from(routes - last).unwrap_or(u32::MAX)
        };
        println!(
            "per route of the last {}: operator {:.0?}, gateway {:.0?} of processor time",
            routes - last,
            each(before.0, after.0),
            each(before.1, after.1),
        );
        for (what, times) in [("start", &from_start), ("end", &from_end)] {
            println!("served from the {what} of the apply: {}", spread(times));
            println!("  and the last {}: {}", routes - last, spread(&times[last..]));
        }
        let median = median(&from_end);
        assert!(median < limit(Duration::from_millis(500)), "{median:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn operators_that_restart_with_many_routes_serve_changes_within_five_seconds() -> Result<()> {
    alone("restart-with-routes", async |setting: &Setting| {
        setting.echo(1).await?;
        let edge = setting.gateway("edge").await?;
        let routes = (0..150).map(|number| {
            let (name, host) = (format!("route-{number}"), format!("host-{number}.example"));
            route("edge", &name, &host)
        });
        apply_all(setting, routes).await?;
        served(&edge.http(), "host-149.example").await?;
        let pods = setting.namespace_of(Kind::POD, NAMESPACE);
        let restarted = Instant::now();
        for operator in setting.operators().await? {
            pods.delete_with(&operator.name, &DeleteParams::default().grace_period(0))
                .await?;
        }
        setting.route("after", "after.example").await?;
        served(&edge.http(), "after.example").await?;
        let took = restarted.elapsed();
        println!("a change served {took:.1?} after the restart of all operators, with 150 routes");
        assert!(took < limit(Duration::from_secs(5)), "{took:?}");
        setting.operators_settled().await
    })
    .await
}

#[tokio::test]
async fn objects_that_nobody_refers_to_take_no_memory() -> Result<()> {
    alone("strangers", async |setting: &Setting| {
        setting.echo(1).await?;
        let edge = setting.gateway("edge").await?;
        let operators = setting.operators().await?;
        // Not as the kubelet says, whose figures may be older than the strangers.
        let memory = || {
            let of = |operator: &Pod| {
                let processes = operator.processes_of("flotilla operator");
                processes.iter().map(Process::anonymous).sum::<u64>()
            };
            operators.iter().map(of).collect::<Vec<_>>()
        };
        setting.route("before", "before.example").await?;
        served(&edge.http(), "before.example").await?;
        let before = memory();
        assert!(before.iter().all(|memory| *memory > 0), "{before:?}");
        let strangers = number("STRANGERS", 2000);
        let content = "x".repeat(1024);
        let objects = (0..strangers / 2).flat_map(|number| {
            ["Secret", "ConfigMap"].map(|kind| {
                let data = if kind == "Secret" { "stringData" } else { "data" };
                let metadata = json!({"name": format!("stranger-{number}")});
                json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, (data): {"content": content}})
            })
        });
        apply_all(setting, objects).await?;
        setting.route("after", "after.example").await?;
        served(&edge.http(), "after.example").await?;
        let after = memory();
        println!("{strangers} Secrets and ConfigMaps: operators have {after:?} KiB, {before:?} before");
        for (before, after) in before.iter().zip(&after) {
            assert!(*after < before + 5 * KIB, "{before} KiB, then {after}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_frozen_agent_delays_nobody_else() -> Result<()> {
    alone("frozen-agent", async |setting: &Setting| {
        setting.echo(1).await?;
        let names: Vec<String> = (0..number("GATEWAYS", 6))
            .map(|number| format!("edge-{number}"))
            .collect();
        for name in &names {
            setting.apply_gateway(name).await?;
        }
        let mut gateways = Vec::new();
        for name in &names {
            gateways.push(setting.programmed(name).await?);
        }
        let (frozen, others) = gateways.split_first().context("there are gateways")?;
        let pods = frozen.pods().await?;
        let supervisors = || {
            pods.iter()
                .flat_map(|pod: &Pod| pod.processes_of("flotilla-agent supervise"))
        };
        supervisors().for_each(|supervisor| supervisor.signal(Signal::STOP));
        let routes = names.iter().map(|name| route(name, name, "shop.example"));
        let started = Instant::now();
        apply_all(setting, routes).await?;
        for other in others {
            served(&other.http(), "shop.example").await?;
        }
        let took = started.elapsed();
        println!(
            "{} others served {took:.1?} after the start of the apply",
            others.len()
        );
        // Not by its Service: it may lose a pod whose agent does not answer probes any more.
        let [pod] = &pods[..] else {
            anyhow::bail!("a new gateway has one pod");
        };
        let direct = Target::http(SocketAddr::new(pod.address, 80));
        let answer = direct.get("shop.example", "/").await;
        supervisors().for_each(|supervisor| supervisor.signal(Signal::CONT));
        let none_yet = answer.as_ref().is_ok_and(|answer| answer.status == 404);
        assert!(none_yet, "the frozen agent is not frozen: {answer:?}");
        served(&frozen.http(), "shop.example").await?;
        assert!(took < limit(Duration::from_secs(3)), "{took:?}");
        Ok(())
    })
    .await
}

async fn apply_all(setting: &Setting, objects: impl Iterator<Item = Value>) -> Result<()> {
    stream::iter(objects)
        .map(|object| setting.apply_value(object))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// The middle one of some times, of which there is one at least.
pub(crate) fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

fn spread(times: &[Duration]) -> String {
    let most = times.iter().max().copied().unwrap_or_default();
    format!("{:.0?} (median), {most:.0?} at most", median(times))
}
