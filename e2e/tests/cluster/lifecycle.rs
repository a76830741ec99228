//! What the operator makes is as it should be, from the first moment to the last.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{
    cluster::Cluster,
    standalone::{eventually, eventually_within},
};
use serde_json::{Value, json};

use crate::harness::{Kind, Setting, alone, beside_others, condition, served};

/// Kinds of the objects that run gateways.
const OWNED: [Kind; 5] = [
    Kind::SERVICE_ACCOUNT,
    Kind::CONFIG_MAP,
    Kind::SERVICE,
    Kind::DEPLOYMENT,
    Kind::DISRUPTION_BUDGET,
];

/// What all objects have that the operator makes.
const OURS: &str = "app.kubernetes.io/managed-by=flotilla";

#[tokio::test]
async fn a_deleted_gateway_takes_along_all_that_ran_it() -> Result<()> {
    beside_others("deleted-gateway", async |setting: &Setting| {
        let edge = setting.gateway("edge").await?;
        for kind in OWNED {
            ensure!(
                !setting.namespace(kind).list(OURS).await?.is_empty(),
                "no {kind:?}"
            );
        }
        setting.delete(Kind::GATEWAY, "edge").await?;
        for kind in OWNED {
            setting.namespace(kind).gone(&edge.objects()).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn drift_heals() -> Result<()> {
    beside_others("drift", async |setting: &Setting| {
        let edge = setting.gateway("edge").await?;
        let name = edge.objects();
        for kind in OWNED {
            let objects = setting.namespace(kind);
            let before = objects.get(&name).await?;
            objects.delete(&name).await?;
            objects
                .until(&name, "it is made again", |object| {
                    !object.is_null() && object["metadata"]["uid"] != before["metadata"]["uid"]
                })
                .await?;
        }
        let is_as_before = |before: Value, path: &'static str| {
            move |object: &Value| object.pointer(path) == before.pointer(path)
        };
        for (kind, path, drift) in [
            (
                Kind::DEPLOYMENT,
                "/spec/template/spec/terminationGracePeriodSeconds",
                json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}),
            ),
            (
                Kind::SERVICE,
                "/spec/selector",
                json!({"spec": {"selector": {"app": "other"}}}),
            ),
            (Kind::CONFIG_MAP, "/data", json!({"data": {"ca.crt": "other"}})),
        ] {
            let objects = setting.namespace(kind);
            let before = objects.get(&name).await?;
            ensure!(before.pointer(path).is_some(), "{before} has no {path}");
            objects.merge(&name, drift).await?;
            objects
                .until(&name, "it is as it was", is_as_before(before, path))
                .await?;
        }
        setting.programmed("edge").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_gateway_with_the_longest_name_serves() -> Result<()> {
    beside_others("longest-name", async |setting: &Setting| {
        let name = "long-".repeat(50) + "end";
        assert_eq!(name.len(), 253);
        let gateway = setting.gateway(&name).await?;
        setting.echo(1).await?;
        setting.route("shop", "shop.example").await?;
        let to_it = json!({"spec": {"parentRefs": [{"name": name}]}});
        setting.namespace(Kind::HTTP_ROUTE).merge("shop", to_it).await?;
        served(&gateway.http(), "shop.example").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_kind_that_comes_later_is_served_without_a_restart() -> Result<()> {
    alone("later-kind", async |setting: &Setting| {
        setting.gateway("edge").await?;
        let definition = "listenersets.gateway.networking.k8s.io";
        setting.delete(Kind::DEFINITION, definition).await?;
        setting.in_background(|_| Cluster::up().map(drop)).await?;
        let established =
            |definition: &Value| condition(&definition["status"], "Established")["status"] == "True";
        let definitions = setting.namespace(Kind::DEFINITION);
        definitions.until(definition, "it is served", established).await?;
        let set = json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "ListenerSet",
            "metadata": {"name": "more"},
            "spec": {
                "parentRef": {"name": "edge"},
                "listeners": [{"name": "more", "port": 8080, "protocol": "HTTP"}],
            },
        });
        eventually(async || setting.apply_value(set.clone()).await).await?;
        let sets = setting.namespace(Kind::LISTENER_SET);
        sets.until("more", "it is judged", |set| {
            !condition(&set["status"], "Accepted").is_null()
        })
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nothing_but_definitions_outlives_gateways_and_release() -> Result<()> {
    alone("uninstalled", async |setting: &Setting| {
        setting.gateway("edge").await?;
        setting.delete(Kind::GATEWAY, "edge").await?;
        // What is in a namespace of another test goes after its pods, of which a picker may take two minutes to end.
        for kind in OWNED.into_iter().chain([Kind::POD]) {
            eventually_within(Duration::from_mins(5), async || {
                let left = setting.everywhere(kind).list(OURS).await?.len();
                ensure!(left == 0, "{left} {kind:?} of ours are left");
                Ok(())
            })
            .await?;
        }
        setting.in_background(Cluster::uninstall).await?;
        // What others make of our objects, such as an EndpointSlice, goes after them.
        let gone = eventually(async || {
            let left = setting.in_background(all_that_is_called_flotilla).await?;
            ensure!(left == ["namespace/flotilla-system"], "{left:?} are left");
            Ok(())
        })
        .await;
        setting
            .in_background(|cluster| cluster.install::<&str>(&[]))
            .await?;
        gone
    })
    .await
}

/// Every object of the cluster, of whatever kind, with our name in its own, but for events, which end by themselves, and
/// definitions, which stay.
fn all_that_is_called_flotilla(cluster: &Cluster) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for scope in ["--namespaced=true", "--namespaced=false"] {
        let kinds = cluster.kubectl(&["api-resources", "--verbs=list", "--output=name", scope])?;
        for kind in kinds.lines().filter(|kind| !kind.starts_with("events")) {
            let objects = cluster.kubectl(&["get", kind, "--all-namespaces", "--output=name"])?;
            let stays = |object: &str| {
                object.starts_with("customresourcedefinition") || object.starts_with("apiservice")
            };
            let ours = objects
                .lines()
                .filter(|object| object.contains("flotilla") && !stays(object));
            all.extend(ours.map(str::to_owned));
        }
    }
    all.sort();
    all.dedup();
    Ok(all)
}
