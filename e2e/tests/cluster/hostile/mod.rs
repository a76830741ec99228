//! Objects that nobody would write, given to the API server.

mod corpus;

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use e2e::{
    certificates::{Authority, Certificate},
    cluster::NAMESPACE,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use crate::harness::{Kind, Pod, Setting, alone, number, served};

/// How many cases are given to the API server at once.
const AT_ONCE: usize = 8;

/// Where operators tell their figures.
const METRICS_PORT: u16 = 8080;

/// What operators count that must not become more.
const FAILURES: [&str; 2] = [
    "flotilla_reconcile_failures_total",
    "flotilla_generations_rejected_total",
];

#[tokio::test]
async fn objects_that_schemas_admit_stop_nobody() -> Result<()> {
    alone("hostile", async |setting: &Setting| {
        setting.echo(1).await?;
        setting
            .apply_fleet("none", json!({"workload": {"replicas": 0}}))
            .await?;
        let certificate = Certificate::self_signed(&["hostile.example"]);
        setting
            .apply(&certificate.secret(&setting.namespace, "certificate"))
            .await?;
        let authority = Authority::new("hostile");
        setting
            .apply(&authority.config_map(&setting.namespace, "authorities"))
            .await?;
        let edge = setting.gateway("edge").await?;
        let everybodys = json!({"spec": {"allowedListeners": {"namespaces": {"from": "All"}}}});
        setting.namespace(Kind::GATEWAY).merge("edge", everybodys).await?;
        setting.route("shop", "shop.example").await?;
        served(&edge.http(), "shop.example").await?;

        let operators = setting.operators().await?;
        let before = state(setting, &operators).await?;
        let admitted: Vec<(String, bool)> = stream::iter(corpus::cases(number("HOSTILE", 40))?)
            .map(|case| give(setting, case))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let mut by_kind = BTreeMap::<&str, (usize, usize)>::new();
        for (kind, admitted) in &admitted {
            let (some, all) = by_kind.entry(kind).or_default();
            *some += usize::from(*admitted);
            *all += 1;
        }
        for (kind, (some, all)) in by_kind {
            println!("{some} of {all} hostile objects of kind {kind} were admitted");
            assert!(some > 0, "{kind}");
        }

        setting.route("after", "after.example").await?;
        for host in ["after.example", "shop.example"] {
            served(&edge.http(), host).await?;
        }
        assert_eq!(setting.operators().await?, operators);
        assert_eq!(state(setting, &operators).await?, before);
        Ok(())
    })
    .await
}

/// Creates the objects of a case, the others only if the first is admitted: says its kind, and whether it was.
async fn give(setting: &Setting, case: Vec<Value>) -> Result<(String, bool)> {
    let kind = case[0]["kind"].as_str().unwrap_or_default().to_owned();
    for (index, object) in case.into_iter().enumerate() {
        match (index, setting.create(object).await) {
            (_, Ok(_)) => {}
            (0, Err(error)) if is_refusal(&error) => return Ok((kind, false)),
            (_, Err(error)) => return Err(error),
        }
    }
    Ok((kind, true))
}

/// Whether the API server answered, and did not want an object.
fn is_refusal(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.code < 500)
}

/// How often operators were started again, and what failed in them.
async fn state(setting: &Setting, operators: &[Pod]) -> Result<Vec<(Value, Vec<String>)>> {
    let pods = setting.namespace_of(Kind::POD, NAMESPACE);
    let mut state = Vec::new();
    for operator in operators {
        let pod = pods.get(&operator.name).await?;
        let restarts = pod.pointer("/status/containerStatuses/0/restartCount");
        let mut failures = Vec::new();
        for name in FAILURES {
            failures.push(format!("{name} {}", operator.figure(METRICS_PORT, name).await?));
        }
        state.push((
            restarts.cloned().ok_or_else(|| anyhow!("{pod} does not run"))?,
            failures,
        ));
    }
    Ok(state)
}
