//! What an `NginxFleet` says of the objects that run a gateway is so, and stays so.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, Result, ensure};
use e2e::{client::Target, standalone::eventually};
use serde_json::{Value, json};

use crate::harness::{Gateway, Kind, Setting, beside_others, condition, served};

/// An address of the load balancer's range that it has not come to when tests run.
const FIXED: &str = "198.19.31.1";

/// A port of the node that is not handed out by itself.
const NODE_PORT: u16 = 30_080;

#[tokio::test]
async fn a_service_is_of_the_type_and_with_the_settings_that_it_is_to_have() -> Result<()> {
    beside_others("service-settings", async |setting: &Setting| {
        setting.echo(1).await?;
        let balanced = json!({"service": {
            "labels": {"team": "web"},
            "annotations": {"example.com/scheme": "internal"},
            "externalTrafficPolicy": "Local",
            "loadBalancerSourceRanges": ["198.18.0.0/15"],
        }});
        setting.apply_gateway_of_fleet("edge", balanced).await?;
        let addresses = json!({"spec": {"addresses": [{"type": "IPAddress", "value": FIXED}]}});
        let gateways = setting.namespace(Kind::GATEWAY);
        gateways.merge("edge", addresses).await?;
        setting.route("shop", "shop.example").await?;
        // It may have had another before it asked for that one.
        gateways
            .until("edge", "it has the address that it asks for", has_address(FIXED))
            .await?;
        let edge = setting.programmed("edge").await?;
        assert_eq!(edge.address.to_string(), FIXED);
        served(&edge.http(), "shop.example").await?;
        let services = setting.namespace(Kind::SERVICE);
        let service = services.get(&edge.objects()).await?;
        for (path, wanted) in [
            ("/spec/type", json!("LoadBalancer")),
            ("/spec/externalTrafficPolicy", json!("Local")),
            ("/spec/loadBalancerSourceRanges", json!(["198.18.0.0/15"])),
            ("/metadata/labels/team", json!("web")),
            ("/metadata/annotations/example.com~1scheme", json!("internal")),
        ] {
            assert_eq!(service.pointer(path), Some(&wanted), "{path}: {service}");
        }

        // The other types, of the same Service: what is only for the type before goes.
        let none = json!({"spec": {"addresses": null}});
        gateways.merge("edge", none).await?;
        let is = |kind: &'static str| move |service: &Value| service["spec"]["type"] == kind;
        let on_nodes = json!({"service": {
            "type": "NodePort",
            "externalTrafficPolicy": "Local",
            "nodePorts": [{"port": 80, "nodePort": NODE_PORT}],
        }});
        setting.apply_fleet("edge", on_nodes).await?;
        let service = services
            .until(&edge.objects(), "it has node ports", is("NodePort"))
            .await?;
        assert_eq!(service["spec"]["ports"][0]["nodePort"], NODE_PORT, "{service}");
        assert_eq!(
            service["spec"]["loadBalancerSourceRanges"],
            Value::Null,
            "{service}"
        );
        assert_eq!(service["metadata"]["labels"]["team"], Value::Null, "{service}");
        let on_node = SocketAddr::new(node_address(setting).await?, NODE_PORT);
        served(&Target::http(on_node), "shop.example").await?;

        setting
            .apply_fleet("edge", json!({"service": {"type": "ClusterIP"}}))
            .await?;
        let service = services
            .until(&edge.objects(), "it is the cluster's", is("ClusterIP"))
            .await?;
        assert_eq!(service["spec"]["ports"][0]["nodePort"], Value::Null, "{service}");
        let address = service["spec"]["clusterIP"]
            .as_str()
            .context("it has an address")?;
        gateways
            .until("edge", "it has the Service's address", has_address(address))
            .await?;
        let edge = setting.programmed("edge").await?;
        served(&edge.http(), "shop.example").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_load_balancer_of_another_class_is_left_to_give_the_address() -> Result<()> {
    beside_others("load-balancer-class", async |setting: &Setting| {
        let fleet = |class: &str| json!({"service": {"loadBalancerClass": class}});
        setting
            .apply_gateway_of_fleet("edge", fleet("example.com/mine"))
            .await?;
        let services = setting.namespace(Kind::SERVICE);
        let has_class = |service: &Value| service["spec"]["loadBalancerClass"] == "example.com/mine";
        services
            .until("flotilla-edge", "it has the class", has_class)
            .await?;
        reason(setting, "AddressNotAssigned").await?;
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "198.18.31.1"}]}}});
        services.merge_status("flotilla-edge", status).await?;
        let edge = setting.programmed("edge").await?;
        assert_eq!(edge.address.to_string(), "198.18.31.1");
        // A class is for ever, and whoever wants another one is told that.
        setting.apply_fleet("edge", fleet("example.com/another")).await?;
        let message = reason(setting, "NoResources").await?;
        assert!(message.contains("loadBalancerClass"), "{message}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn policies_and_patches_are_as_given_and_drift_of_them_heals() -> Result<()> {
    beside_others("patched", async |setting: &Setting| {
        let fleet = json!({
            "workload": {"replicas": 1, "disruptionBudget": {"minAvailable": "50%"}},
            "networkPolicy": {"enabled": true, "metricsFrom": [{"podSelector": {"matchLabels": {"app": "metrics"}}}]},
            "pod": {
                "labels": {"tier": "edge"},
                "drain": {"delay": "1s", "timeout": "2s"},
                "patch": {
                    "metadata": {"annotations": {"example.com/patched": "yes"}},
                    "spec": {
                        "hostAliases": [{"ip": "198.18.31.2", "hostnames": ["patched.example"]}],
                        "topologySpreadConstraints": null,
                        "volumes": [{"name": "more", "emptyDir": {}}],
                    },
                },
            },
            "container": {
                "patch": {
                    "env": [{"name": "PATCHED", "value": "yes"}],
                    "volumeMounts": [{"name": "more", "mountPath": "/more"}],
                },
            },
        });
        let edge = setting.gateway_of_fleet("edge", fleet).await?;
        let wanted: [Wanted<'_>; 3] = [
            (
                Kind::DISRUPTION_BUDGET,
                &[
                    ("/spec/minAvailable", json!("50%")),
                    ("/spec/maxUnavailable", Value::Null),
                ],
                json!({"spec": {"minAvailable": 0}}),
            ),
            (
                Kind::NETWORK_POLICY,
                &[
                    ("/spec/ingress/0/ports/0/port", json!(80)),
                    ("/spec/ingress/1/from/0/podSelector/matchLabels/app", json!("metrics")),
                ],
                json!({"spec": {"ingress": null}}),
            ),
            (
                Kind::DEPLOYMENT,
                &[
                    ("/spec/replicas", json!(1)),
                    ("/spec/template/metadata/labels/tier", json!("edge")),
                    ("/spec/template/metadata/annotations/example.com~1patched", json!("yes")),
                    ("/spec/template/spec/hostAliases/0/ip", json!("198.18.31.2")),
                    ("/spec/template/spec/topologySpreadConstraints", Value::Null),
                    ("/spec/template/spec/volumes/2/name", json!("more")),
                    ("/spec/template/spec/containers/0/env/1/name", json!("PATCHED")),
                ],
                json!({"spec": {"replicas": 2, "template": {"spec": {"hostAliases": null}}}}),
            ),
        ];
        let name = edge.objects();
        for (kind, fields, drift) in wanted {
            let objects = setting.namespace(kind);
            let is_as_wanted = |object: &Value| {
                let mut fields = fields.iter();
                fields.all(|(path, wanted)| object.pointer(path).unwrap_or(&Value::Null) == wanted)
            };
            objects.until(&name, "it is as wanted", is_as_wanted).await?;
            objects.merge(&name, drift).await?;
            objects.until(&name, "drift heals", is_as_wanted).await?;
            objects.delete(&name).await?;
            objects.until(&name, "it is made again", is_as_wanted).await?;
        }
        setting.settled(&name).await?;
        assert!(environment(&edge).await?.contains("PATCHED=yes"));
        Ok(())
    })
    .await
}

/// Whether a Gateway has this address.
fn has_address(wanted: &str) -> impl Fn(&Value) -> bool {
    move |gateway| gateway["status"]["addresses"][0]["value"] == *wanted
}

/// A kind of objects, what is in one of them by path, and a patch that is not wanted.
type Wanted<'a> = (Kind, &'a [(&'a str, Value)], Value);

/// Why the Gateway `edge` is not programmed, once that is the reason.
async fn reason(setting: &Setting, reason: &str) -> Result<String> {
    let gateways = setting.namespace(Kind::GATEWAY);
    let gateway = gateways
        .until("edge", reason, |gateway| {
            condition(&gateway["status"], "Programmed")["reason"] == reason
        })
        .await?;
    let message = condition(&gateway["status"], "Programmed")["message"].as_str();
    Ok(message.unwrap_or_default().to_owned())
}

/// Where the node can be reached.
async fn node_address(setting: &Setting) -> Result<IpAddr> {
    let nodes = setting.everywhere(Kind::new("v1", "Node")).list("").await?;
    let node = nodes.first().context("there is a node")?;
    let address = node["status"]["addresses"][0]["address"].as_str();
    Ok(address.context("a node has an address")?.parse()?)
}

/// The environment of the agent in the only pod of a gateway.
async fn environment(gateway: &Gateway<'_>) -> Result<String> {
    eventually(async || {
        let pods = gateway.pods().await?;
        let [pod] = &pods[..] else {
            anyhow::bail!("{pods:?} run");
        };
        let agents = pod.processes_of("flotilla-agent supervise");
        let agent = agents.first().context("no agent runs")?;
        let environment = fs::read(format!("/proc/{}/environ", agent.id()))?;
        let environment = String::from_utf8_lossy(&environment).replace('\0', "\n");
        ensure!(!environment.is_empty(), "it has ended");
        Ok(environment)
    })
    .await
}
