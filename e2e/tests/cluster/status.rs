//! What objects are told, and that nobody else's word is touched.

use anyhow::Result;
use e2e::standalone::eventually;
use serde_json::{Value, json};

use crate::harness::{Kind, Setting, alone, beside_others, condition, served};

#[tokio::test]
async fn the_class_says_which_features_it_has() -> Result<()> {
    beside_others("class", async |setting: &Setting| {
        let classes = setting.namespace(Kind::GATEWAY_CLASS);
        let class = classes
            .until("flotilla", "it is accepted", |class| {
                condition(&class["status"], "Accepted")["status"] == "True"
            })
            .await?;
        assert_eq!(condition(&class["status"], "SupportedVersion")["status"], "True");
        let features = class["status"]["supportedFeatures"].as_array().cloned();
        let features: Vec<String> = features
            .into_iter()
            .flatten()
            .map(|feature| feature["name"].as_str().unwrap_or_default().to_owned())
            .collect();
        for core in ["Gateway", "HTTPRoute", "ReferenceGrant"] {
            assert!(features.contains(&core.to_owned()), "{features:?}");
        }
        // As the specification wants it, so that a difference can be seen.
        assert!(features.is_sorted(), "{features:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_other_controllers_say_of_a_route_stays() -> Result<()> {
    beside_others("foreign-status", async |setting: &Setting| {
        setting.echo(1).await?;
        let edge = setting.gateway("edge").await?;
        setting.route("shop", "shop.example").await?;
        let routes = setting.namespace(Kind::HTTP_ROUTE);
        let accepted = |generation: u64| {
            move |route: &Value| {
                let parents = route["status"]["parents"].as_array();
                let ours = parents
                    .into_iter()
                    .flatten()
                    .find(|parent| parent["controllerName"] == "flotilla.dev/gateway-controller");
                let accepted = ours.map(|parent| condition(parent, "Accepted")["observedGeneration"].clone());
                accepted == Some(json!(generation))
            }
        };
        let route = routes.until("shop", "it is judged", accepted(1)).await?;
        let foreign = json!({
            "controllerName": "example.com/other",
            "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "theirs"},
            "conditions": [{
                "type": "Accepted",
                "status": "False",
                "reason": "NoMatchingParent",
                "message": "not ours to judge",
                "observedGeneration": 1,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        });
        let mut parents = route["status"]["parents"].as_array().cloned().unwrap_or_default();
        parents.insert(0, foreign.clone());
        routes
            .merge_status("shop", json!({"status": {"parents": parents}}))
            .await?;
        let spec = json!({"spec": {"hostnames": ["other.example"]}});
        routes.merge("shop", spec).await?;
        let route = routes.until("shop", "it is judged again", accepted(2)).await?;
        let parents = route["status"]["parents"].as_array().cloned().unwrap_or_default();
        assert!(parents.contains(&foreign), "{parents:#?}");
        served(&edge.http(), "other.example").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nothing_is_written_when_nothing_has_changed() -> Result<()> {
    alone("unchanged", async |setting: &Setting| {
        setting.echo(1).await?;
        let edge = setting.gateway("edge").await?;
        setting.route("shop", "shop.example").await?;
        served(&edge.http(), "shop.example").await?;
        setting.programmed("edge").await?;
        let is_accepted =
            |route: &Value| condition(&route["status"]["parents"][0], "Accepted")["status"] == "True";
        let routes = setting.namespace(Kind::HTTP_ROUTE);
        routes.until("shop", "it is accepted", is_accepted).await?;
        let has_it = |gateway: &Value| gateway["status"]["listeners"][0]["attachedRoutes"] == 1;
        let gateways = setting.namespace(Kind::GATEWAY);
        gateways.until("edge", "it has the route", has_it).await?;
        let versions = async || {
            let mut versions = Vec::new();
            for (kind, name) in [
                (Kind::GATEWAY_CLASS, "flotilla"),
                (Kind::GATEWAY, "edge"),
                (Kind::HTTP_ROUTE, "shop"),
                (Kind::SERVICE, "flotilla-edge"),
                (Kind::CONFIG_MAP, "flotilla-edge"),
                (Kind::SERVICE_ACCOUNT, "flotilla-edge"),
            ] {
                let object = setting.namespace(kind).get(name).await?;
                versions.push((name, kind, object["metadata"]["resourceVersion"].clone()));
            }
            let deployment = setting.namespace(Kind::DEPLOYMENT).get("flotilla-edge").await?;
            versions.push((
                "flotilla-edge",
                Kind::DEPLOYMENT,
                deployment["metadata"]["generation"].clone(),
            ));
            anyhow::Ok(versions)
        };
        // The last of what was written may still be on its way.
        let before = eventually(async || {
            let (one, other) = (versions().await?, versions().await?);
            anyhow::ensure!(one == other, "something is being written");
            Ok(other)
        })
        .await?;
        // New operators look at everything anew, and what they serve shows that they have.
        setting
            .in_background(|cluster| cluster.install(&["podAnnotations.again=yes"]))
            .await?;
        setting.leader_and_others().await?;
        setting.apply_gateway("another").await?;
        setting.programmed("another").await?;
        assert_eq!(versions().await?, before);
        setting
            .in_background(|cluster| cluster.install::<&str>(&[]))
            .await
    })
    .await
}

#[tokio::test]
async fn a_gateway_that_cannot_run_says_what_keeps_it() -> Result<()> {
    beside_others("hindered", async |setting: &Setting| {
        let node = "spec.container.resources, spec.pod.nodeSelector";
        for (name, fleet, expected) in [
            (
                "homeless",
                json!({"pod": {"nodeSelector": {"example.com/nowhere": "yes"}}}),
                [" cannot be scheduled: 0/1 nodes are available: ", node],
            ),
            (
                "greedy",
                json!({"container": {"resources": {"limits": {"nvidia.com/gpu": 1000}}}}),
                ["Insufficient nvidia.com/gpu; ", node],
            ),
            (
                "imageless",
                json!({"container": {"image": "flotilla.test/none:1", "imagePullPolicy": "Never"}}),
                [
                    " cannot get its image flotilla.test/none:1: ",
                    "spec.container.image",
                ],
            ),
            (
                "short-lived",
                json!({"container": {"patch": {"command": ["flotilla-agent", "--no-such-option"]}}}),
                [" cannot stay up: its container gateway ends ", "exit code 2; "],
            ),
        ] {
            setting.apply_gateway_of_fleet(name, fleet).await?;
            is_hindered(setting, name, &expected).await?;
        }
        // Whoever mends it sees it run.
        setting
            .apply_fleet("homeless", json!({"workload": {"replicas": 1}}))
            .await?;
        setting.programmed("homeless").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_gateway_whose_pods_are_refused_says_why() -> Result<()> {
    beside_others("no-quota", async |setting: &Setting| {
        setting
            .apply_value(json!({
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "none"},
                "spec": {"hard": {"pods": "0"}},
            }))
            .await?;
        setting.apply_gateway("edge").await?;
        is_hindered(setting, "edge", &["Pods are missing: ", "exceeded quota: none"]).await
    })
    .await
}

/// Waits until a Gateway is not programmed for want of something, in a message that has these parts.
async fn is_hindered(setting: &Setting, name: &str, expected: &[&str]) -> Result<()> {
    let is_told = |gateway: &Value| {
        let programmed = condition(&gateway["status"], "Programmed");
        let message = programmed["message"].as_str().unwrap_or_default();
        programmed["status"] == "False"
            && programmed["reason"] == "NoResources"
            && expected.iter().all(|part| message.contains(part))
    };
    let gateways = setting.namespace(Kind::GATEWAY);
    let gateway = gateways.until(name, "it says what keeps it", is_told).await?;
    println!("{}", condition(&gateway["status"], "Programmed")["message"]);
    Ok(())
}
