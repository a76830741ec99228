//! An operator of a few namespaces, beside the one that serves all.

use anyhow::Result;
use serde_json::{Value, json};

use crate::harness::{Kind, Setting, beside_others, manifest, route, served};

/// Where the second operator runs, which is no namespace that it serves.
const NAMESPACE: &str = "neighbours-system";

/// What it calls itself.
const CONTROLLER: &str = "example.com/second-operator";

/// The GatewayClass of its Gateways.
const CLASS: &str = "second";

/// The chart as it takes the least rights; the definitions and the class are others' to make.
const VALUES: [&str; 6] = [
    "watchNamespaces={neighbours}",
    "controllerName=example.com/second-operator",
    "gatewayClass.create=false",
    "crds.install=false",
    "replicas=1",
    "resources.requests.cpu=10m",
];

#[tokio::test]
async fn an_operator_of_a_namespace_serves_it_and_touches_nothing_else() -> Result<()> {
    beside_others("neighbours", async |setting: &Setting| {
        setting.delete(Kind::NAMESPACE, NAMESPACE).await?;
        setting
            .in_background(|cluster| cluster.install_in(NAMESPACE, &VALUES))
            .await?;
        setting
            .apply_fleet(
                "small",
                json!({"container": {"resources": {"requests": {"cpu": "10m"}}}}),
            )
            .await?;
        setting.apply_value(class()).await?;
        setting.echo(1).await?;
        setting.apply_value(gateway("edge")).await?;
        let elsewhere = setting.namespace_of(Kind::GATEWAY, NAMESPACE);
        elsewhere.create(gateway("elsewhere")).await?;

        // A route of Gateways of both operators.
        let mut shop = route("edge", "shop", "shop.example");
        shop["spec"]["parentRefs"] = json!([{"name": "edge"}, {"name": "theirs"}]);
        setting.apply_value(shop).await?;
        let theirs = setting.gateway("theirs").await?;
        let edge = setting.programmed("edge").await?;
        for gateway in [&edge, &theirs] {
            served(&gateway.http(), "shop.example").await?;
        }
        let routes = setting.namespace(Kind::HTTP_ROUTE);
        let of_both = |route: &Value| {
            let mut parents = ["edge", "theirs"].map(|name| parent(route, name));
            parents.sort();
            parents == [Some(CONTROLLER), Some("flotilla.dev/gateway-controller")]
                && route["status"]["parents"]
                    .as_array()
                    .is_some_and(|parents| parents.len() == 2)
        };
        routes.until("shop", "both operators accept it", of_both).await?;

        // What it does not serve it does not see.
        let ignored = elsewhere.get("elsewhere").await?;
        let conditions = ignored["status"]["conditions"].as_array();
        assert!(
            conditions
                .into_iter()
                .flatten()
                .all(|condition| condition["status"] == "Unknown"),
            "{ignored}"
        );
        for (namespace, may_list) in [(NAMESPACE, false), ("kube-system", false), ("neighbours", true)] {
            let account = (NAMESPACE, "flotilla");
            let may = setting.may(account, "list", "secrets", namespace).await?;
            assert_eq!(may, may_list, "{namespace}");
        }
        let log = format!("--namespace={NAMESPACE}");
        let log = setting.cluster.kubectl(&[&log, "logs", "deployment/flotilla"])?;
        // It asks for nothing that it may not do. That an API server is slow at times is said there, too.
        assert!(
            !log.contains("forbidden") && log.contains("all objects are known"),
            "{log}"
        );

        setting.delete(Kind::GATEWAY, "edge").await?;
        setting.namespace(Kind::DEPLOYMENT).gone(&edge.objects()).await?;
        setting.programmed("theirs").await?;
        setting
            .in_background(|cluster| cluster.uninstall_from(NAMESPACE))
            .await?;
        let role = Kind::new("rbac.authorization.k8s.io/v1", "ClusterRole");
        setting
            .namespace(role)
            .gone(&format!("{NAMESPACE}-flotilla"))
            .await?;
        setting.delete(Kind::GATEWAY_CLASS, CLASS).await?;
        setting.namespace(Kind::NAMESPACE).delete(NAMESPACE).await
    })
    .await
}

/// A class whose Gateways ask for little; what says so is in the namespace that is served.
fn class() -> Value {
    let mut class = Kind::GATEWAY_CLASS.object(CLASS);
    class["spec"] = json!({
        "controllerName": CONTROLLER,
        "parametersRef": {"group": "flotilla.dev", "kind": "NginxFleet", "namespace": "neighbours", "name": "small"},
    });
    class
}

fn gateway(name: &str) -> Value {
    let mut gateway = manifest(name);
    gateway["spec"]["gatewayClassName"] = CLASS.into();
    gateway
}

/// Who has judged a route for a Gateway.
fn parent<'a>(route: &'a Value, gateway: &str) -> Option<&'a str> {
    let parents = route["status"]["parents"].as_array()?;
    let parent = parents
        .iter()
        .find(|parent| parent["parentRef"]["name"] == gateway)?;
    parent["controllerName"].as_str()
}
