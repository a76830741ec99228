//! What the API server refuses of our own kinds, and what it says then.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use e2e::workspace;
use serde_json::Value;

use crate::harness::{Kind, Setting, beside_others};

const PICKER: Kind = Kind::new("flotilla.dev/v1alpha1", "EndpointPicker");

/// Settings that contradict each other, and what the API server says.
const CONTRADICTIONS: [(Kind, &str, &str); 14] = [
    (
        Kind::NGINX_FLEET,
        "workload: {replicas: 2, autoscaling: {maxReplicas: 4}}",
        "replicas and autoscaling exclude each other: with autoscaling, the load says how many pods there are",
    ),
    (
        Kind::NGINX_FLEET,
        "workload: {kind: DaemonSet, replicas: 2}",
        "a DaemonSet has one pod on each node: replicas and autoscaling are for a Deployment",
    ),
    (
        Kind::NGINX_FLEET,
        "workload: {kind: DaemonSet, autoscaling: {maxReplicas: 4}}",
        "a DaemonSet has one pod on each node: replicas and autoscaling are for a Deployment",
    ),
    (
        Kind::NGINX_FLEET,
        "workload: {autoscaling: {minReplicas: 3, maxReplicas: 2}}",
        "minReplicas is above maxReplicas",
    ),
    (
        Kind::NGINX_FLEET,
        "workload: {disruptionBudget: {minAvailable: 1, maxUnavailable: 1}}",
        "either minAvailable or maxUnavailable is required, and not both",
    ),
    (
        Kind::NGINX_FLEET,
        "workload: {disruptionBudget: {}}",
        "either minAvailable or maxUnavailable is required, and not both",
    ),
    (
        Kind::NGINX_FLEET,
        "service: {type: NodePort, loadBalancerClass: example.com/mine}",
        "loadBalancerClass is for type LoadBalancer",
    ),
    (
        Kind::NGINX_FLEET,
        "service: {type: ClusterIP, loadBalancerSourceRanges: [192.0.2.0/24]}",
        "loadBalancerSourceRanges is for type LoadBalancer",
    ),
    (
        Kind::NGINX_FLEET,
        "service: {type: NodePort, loadBalancerSourceRanges: [192.0.2.0/24]}",
        "loadBalancerSourceRanges is for type LoadBalancer",
    ),
    (
        Kind::NGINX_FLEET,
        "service: {type: ClusterIP, externalTrafficPolicy: Local}",
        "externalTrafficPolicy is for types LoadBalancer and NodePort",
    ),
    (
        Kind::NGINX_FLEET,
        "service: {type: ClusterIP, nodePorts: [{port: 80, nodePort: 30080}]}",
        "nodePorts is for types LoadBalancer and NodePort",
    ),
    (
        Kind::NGINX_FLEET,
        "service: {ipFamilies: [IPv4, IPv4]}",
        "ipFamilies names one family twice",
    ),
    (
        Kind::NGINX_FLEET,
        "service: {ipFamilies: [IPv4, IPv6], ipFamilyPolicy: SingleStack}",
        "ipFamilies names two families, and ipFamilyPolicy SingleStack is for one",
    ),
    (
        PICKER,
        "implementation: LlmD",
        "llm-d's router has no default image: name the image of its picker",
    ),
];

/// Settings next to those, which are right.
const SENSIBLE: [(Kind, &str); 11] = [
    (Kind::NGINX_FLEET, "workload: {replicas: 0}"),
    (
        Kind::NGINX_FLEET,
        "workload: {kind: DaemonSet, disruptionBudget: {maxUnavailable: 50%}}",
    ),
    (
        Kind::NGINX_FLEET,
        "workload: {autoscaling: {minReplicas: 2, maxReplicas: 2}}",
    ),
    (Kind::NGINX_FLEET, "workload: {autoscaling: {minReplicas: 2}}"),
    (
        Kind::NGINX_FLEET,
        "service: {loadBalancerClass: example.com/mine, loadBalancerSourceRanges: [192.0.2.0/24]}",
    ),
    (
        Kind::NGINX_FLEET,
        "service: {type: LoadBalancer, loadBalancerSourceRanges: [192.0.2.0/24, '2001:db8::/32']}",
    ),
    (
        Kind::NGINX_FLEET,
        "service: {type: NodePort, externalTrafficPolicy: Local, nodePorts: [{port: 80, nodePort: 30080}]}",
    ),
    (
        Kind::NGINX_FLEET,
        "service: {ipFamilies: [IPv4, IPv6], ipFamilyPolicy: PreferDualStack}",
    ),
    (
        Kind::NGINX_FLEET,
        "service: {type: ClusterIP, ipFamilies: [IPv4]}",
    ),
    (PICKER, "{implementation: LlmD, image: 'llm-d.example/router:v1'}"),
    (PICKER, "implementation: InferenceExtension"),
];

/// Settings of kinds that their schemas do not admit, and a part of what the API server says.
const MISFITS: [(Kind, &str, &str); 6] = [
    (
        Kind::NGINX_FLEET,
        "workload: {replicas: -1}",
        "spec.workload.replicas",
    ),
    (
        Kind::NGINX_FLEET,
        "workload: {kind: StatefulSet}",
        "spec.workload.kind",
    ),
    (
        Kind::NGINX_FLEET,
        "nginx: {timeouts: {read: soon}}",
        "spec.nginx.timeouts.read",
    ),
    (PICKER, "replicas: 17", "spec.replicas"),
    (PICKER, "image: ''", "spec.image"),
    (PICKER, "implementation: Own", "spec.implementation"),
];

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused_with_a_reason() -> Result<()> {
    beside_others("contradictions", async |setting: &Setting| {
        for (kind, settings, reason) in CONTRADICTIONS {
            let said = refusal(setting, kind, settings).await?;
            assert!(said.contains(reason), "{settings}: {said}");
        }
        for (kind, settings, field) in MISFITS {
            let said = refusal(setting, kind, settings).await?;
            assert!(said.contains(field), "{settings}: {said}");
        }
        for (number, (kind, settings)) in SENSIBLE.into_iter().enumerate() {
            let sensible = object(kind, &format!("sensible-{number}"), settings)?;
            setting.namespace(kind).create(sensible).await.context(settings)?;
        }
        Ok(())
    })
    .await
}

#[test]
fn every_rule_of_our_kinds_is_broken_by_a_contradiction() -> Result<()> {
    let mut rules = BTreeSet::new();
    for kind in ["nginxfleets", "endpointpickers"] {
        let file = workspace::root().join(format!("crds/flotilla.dev_{kind}.yaml"));
        rules.extend(messages(&serde_saphyr::from_str(&fs::read_to_string(file)?)?));
    }
    let broken = CONTRADICTIONS.map(|(_, _, reason)| reason.to_owned());
    assert_eq!(rules, BTreeSet::from(broken));
    Ok(())
}

/// What the API server says against an object with these settings.
async fn refusal(setting: &Setting, kind: Kind, settings: &str) -> Result<String> {
    let created = setting
        .namespace(kind)
        .create(object(kind, "refused", settings)?)
        .await;
    ensure!(created.is_err(), "{settings} is admitted");
    Ok(format!("{:#}", created.err().context("it is an error")?))
}

fn object(kind: Kind, name: &str, settings: &str) -> Result<Value> {
    let settings: Value = serde_saphyr::from_str(settings)?;
    let mut object = kind.object(name);
    object["spec"] = settings;
    Ok(object)
}

/// The messages of all validation rules in a definition.
fn messages(definition: &Value) -> Vec<String> {
    match definition {
        Value::Object(fields) => {
            let rules = fields.get("x-kubernetes-validations").and_then(Value::as_array);
            let own = rules
                .into_iter()
                .flatten()
                .filter_map(|rule| rule["message"].as_str());
            let below = fields.values().flat_map(messages);
            own.map(str::to_owned).chain(below).collect()
        }
        Value::Array(items) => items.iter().flat_map(messages).collect(),
        _ => Vec::new(),
    }
}
