//! What every gateway is to serve, what its pods serve, and what is wrong, as one document.

use std::collections::{BTreeMap, BTreeSet};

use operator_core::{
    object::ObjectKey,
    observed::{InfrastructureFailure, Instance, ObservedGateway},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    controller::Infrastructure,
    status::{Complaint, complaints},
};

/// The answer to `/fleets`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleets {
    /// Every gateway that is run, in order of namespace and name.
    pub gateways: Vec<Fleet>,
    /// What statuses complain about.
    pub problems: Vec<Problem>,
    /// What the operator cannot read, why, and what to do about it.
    #[serde(default)]
    pub gaps: BTreeSet<String>,
}

/// One gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// `NAMESPACE/NAME` of the Gateway.
    pub gateway: String,
    /// Where clients reach it.
    pub addresses: Vec<String>,
    /// Version of the configuration that its pods are to serve; none before the first.
    pub wanted: Option<String>,
    /// Why its infrastructure is not as it should be.
    pub failure: Option<String>,
    /// Its pods, those included that are not connected to the operator.
    pub pods: Vec<Pod>,
    /// Why the cluster makes no pods that are still missing.
    #[serde(default)]
    pub missing_pods: Option<String>,
}

/// One pod of a gateway, or a process where there are no pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Version of the configuration that its NGINX serves; none before the first.
    pub serves: Option<String>,
    /// Whether it is connected to the operator.
    pub connected: bool,
    /// Whether it takes requests.
    pub ready: bool,
    /// Why it does not serve what it is to serve: version and NGINX's words.
    pub rejection: Option<String>,
    /// What the cluster says that keeps it from serving.
    #[serde(default)]
    pub obstacle: Option<String>,
}

/// Something that somebody should act on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// Kind, namespace and name.
    pub object: String,
    /// `NAMESPACE/NAME` of the Gateway that it is about; none where it is about no certain one.
    #[serde(default)]
    pub gateway: Option<String>,
    /// The condition and its message.
    pub complaint: String,
}

/// What there is to know, as the operator knows it.
pub(super) struct Known<'a> {
    /// What must run.
    pub(super) wanted: &'a Infrastructure,
    /// What is known of it.
    pub(super) observed: &'a BTreeMap<ObjectKey, ObservedGateway>,
    /// Which version a gateway is to serve.
    pub(super) version: &'a dyn Fn(&ObjectKey) -> Option<String>,
    /// The objects of groups that have our statuses, as JSON.
    pub(super) objects: &'a [Value],
    /// The operator's among the controllers that write statuses.
    pub(super) controller_name: &'a str,
    /// What cannot be read.
    pub(super) gaps: BTreeSet<String>,
}

/// Whether the operator writes statuses to kinds of an API group: Kubernetes' own have conditions as well.
pub(super) fn has_our_statuses(group: &str) -> bool {
    group.ends_with(".networking.k8s.io") || group == "flotilla.dev"
}

impl Fleets {
    pub(super) fn new(known: &Known<'_>) -> Self {
        let nothing = ObservedGateway::default();
        let gateways = known.wanted.keys().map(|key| {
            let seen = known.observed.get(key).unwrap_or(&nothing);
            Fleet {
                gateway: key.to_string(),
                addresses: seen.addresses.clone(),
                wanted: (known.version)(key),
                failure: seen.failure.as_ref().map(failure),
                pods: pods(seen),
                missing_pods: seen.missing_pods.clone(),
            }
        });
        Self {
            gateways: gateways.collect(),
            problems: known
                .objects
                .iter()
                .flat_map(|object| problems(object, known))
                .collect(),
            gaps: known.gaps.clone(),
        }
    }
}

/// Every pod that is connected or that the cluster knows.
fn pods(seen: &ObservedGateway) -> Vec<Pod> {
    let names: BTreeSet<&String> = seen.instances.keys().chain(seen.pods.keys()).collect();
    let pods = names.into_iter().map(|name| Pod {
        obstacle: seen.pods.get(name).cloned().flatten(),
        ..match seen.instances.get(name) {
            Some(instance) => pod(name, instance),
            None => Pod {
                name: name.clone(),
                ..Pod::default()
            },
        }
    });
    pods.collect()
}

fn pod(name: &str, instance: &Instance) -> Pod {
    let Instance {
        config,
        ready,
        rejection,
        // Pools tell it in their conditions.
        refused_pickers: _,
    } = instance;
    Pod {
        name: name.to_owned(),
        serves: Some(config.clone()).filter(|config| !config.is_empty()),
        connected: true,
        ready: *ready,
        rejection: rejection
            .as_ref()
            .map(|rejection| format!("{}: {}", rejection.config, rejection.message)),
        obstacle: None,
    }
}

fn failure(failure: &InfrastructureFailure) -> String {
    match failure {
        InfrastructureFailure::AddressNotUsable(message) | InfrastructureFailure::Other(message) => {
            message.clone()
        }
    }
}

/// What our part of an object's status complains about.
fn problems(object: &Value, known: &Known<'_>) -> Vec<Problem> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, metadata) = (text(&object["kind"]), &object["metadata"]);
    let key = ObjectKey::new(text(&metadata["namespace"]), text(&metadata["name"]));
    let is_ours = match kind.as_str() {
        "Gateway" => known.wanted.contains_key(&key),
        "GatewayClass" => object["spec"]["controllerName"] == known.controller_name,
        _ => true,
    };
    if !is_ours {
        return Vec::new();
    }
    let problem = |gateway: Option<&ObjectKey>, complaint: Complaint| Problem {
        object: format!("{kind} {key}"),
        gateway: gateway.map(ToString::to_string),
        complaint: complaint.to_string(),
    };
    let mut status = object["status"].clone();
    let mut of_parts = Vec::new();
    for (field, reference) in [("parents", "parentRef"), ("ancestors", "ancestorRef")] {
        let parts = status[field].take();
        let parts = parts.as_array().into_iter().flatten();
        for part in parts.filter(|part| part["controllerName"] == known.controller_name) {
            let gateway = referent(&part[reference], &key);
            let complaints = complaints(&json!({(field): [part]}));
            of_parts.extend(
                complaints
                    .into_iter()
                    .map(|complaint| problem(gateway.as_ref(), complaint)),
            );
        }
    }
    let gateway = match kind.as_str() {
        "Gateway" => Some(key.clone()),
        "ListenerSet" => referent(&object["spec"]["parentRef"], &key),
        _ => None,
    };
    let of_all = complaints(&status).into_iter();
    let of_all = of_all.map(|complaint| problem(gateway.as_ref(), complaint));
    of_all.chain(of_parts).collect()
}

/// The Gateway that an object refers to, if it is one.
fn referent(reference: &Value, object: &ObjectKey) -> Option<ObjectKey> {
    let is_gateway = reference["kind"].as_str().is_none_or(|kind| kind == "Gateway");
    let namespace = reference["namespace"].as_str().unwrap_or(&object.namespace);
    let name = reference["name"].as_str().filter(|_| is_gateway)?;
    Some(ObjectKey::new(namespace, name))
}

#[cfg(test)]
mod tests {
    use operator_core::{infra::GatewayInfra, observed::Rejection};

    use super::*;

    const OURS: &str = "flotilla.dev/gateway-controller";

    fn condition(kind: &str, message: &str) -> Value {
        json!({"type": kind, "status": "False", "reason": "Invalid", "message": message})
    }

    #[test]
    fn a_pod_that_lags_behind_says_why() {
        let edge = ObjectKey::new("default", "edge");
        let refused = Instance {
            config: "1f2e".to_owned(),
            ready: true,
            rejection: Some(Rejection {
                config: "3a4b".to_owned(),
                message: "no such host".to_owned(),
                ..Rejection::default()
            }),
            ..Instance::default()
        };
        let observed = ObservedGateway {
            addresses: vec!["198.18.0.1".to_owned()],
            instances: BTreeMap::from([
                ("edge-0".to_owned(), refused),
                ("edge-1".to_owned(), Instance::default()),
            ]),
            pods: BTreeMap::from([
                ("edge-0".to_owned(), None),
                ("edge-2".to_owned(), Some("cannot be scheduled".to_owned())),
            ]),
            ..ObservedGateway::default()
        };
        let fleets = Fleets::new(&Known {
            wanted: &BTreeMap::from([(edge.clone(), GatewayInfra::default())]),
            observed: &BTreeMap::from([(edge, observed)]),
            version: &|_| Some("3a4b".to_owned()),
            objects: &[],
            controller_name: OURS,
            gaps: BTreeSet::new(),
        });
        let [fleet] = fleets.gateways.as_slice() else {
            panic!("one gateway: {fleets:?}");
        };
        assert_eq!(
            (fleet.gateway.as_str(), fleet.wanted.as_deref()),
            ("default/edge", Some("3a4b"))
        );
        assert_eq!(fleet.pods[0].serves.as_deref(), Some("1f2e"));
        assert_eq!(fleet.pods[0].rejection.as_deref(), Some("3a4b: no such host"));
        assert_eq!(
            fleet.pods[1],
            Pod {
                name: "edge-1".to_owned(),
                connected: true,
                ..Pod::default()
            }
        );
        assert_eq!(
            fleet.pods[2],
            Pod {
                name: "edge-2".to_owned(),
                obstacle: Some("cannot be scheduled".to_owned()),
                ..Pod::default()
            }
        );
    }

    #[test]
    fn problems_are_those_that_we_tell() {
        let parent = |controller: &str| {
            json!({
                "parentRef": {"name": "edge"},
                "controllerName": controller,
                "conditions": [condition("Accepted", controller)],
            })
        };
        let object = |kind: &str, group: &str, status: Value| {
            json!({
                "apiVersion": format!("{group}v1"),
                "kind": kind,
                "metadata": {"namespace": "default", "name": "edge"},
                "status": status,
            })
        };
        let objects = [
            object(
                "HTTPRoute",
                "gateway.networking.k8s.io/",
                json!({"parents": [parent(OURS), parent("example.com/other")]}),
            ),
            object(
                "Gateway",
                "gateway.networking.k8s.io/",
                json!({"conditions": [condition("Accepted", "of another class")]}),
            ),
            object(
                "EndpointPicker",
                "flotilla.dev/",
                json!({"conditions": [condition("Available", "no pod")]}),
            ),
        ];
        let fleets = Fleets::new(&Known {
            wanted: &BTreeMap::new(),
            observed: &BTreeMap::new(),
            version: &|_| None,
            objects: &objects,
            controller_name: OURS,
            gaps: BTreeSet::new(),
        });
        let problem = |object: &str, gateway: Option<&str>, complaint: &str| Problem {
            object: object.to_owned(),
            gateway: gateway.map(str::to_owned),
            complaint: complaint.to_owned(),
        };
        assert_eq!(
            fleets.problems,
            [
                problem(
                    "HTTPRoute default/edge",
                    Some("default/edge"),
                    &format!("parent edge: Accepted=False reason Invalid: {OURS}")
                ),
                problem(
                    "EndpointPicker default/edge",
                    None,
                    "Available=False reason Invalid: no pod"
                ),
            ]
        );
    }

    #[test]
    fn kubernetes_own_kinds_are_not_ours_to_report() {
        for group in [
            "gateway.networking.k8s.io",
            "inference.networking.k8s.io",
            "flotilla.dev",
        ] {
            assert!(has_our_statuses(group), "{group}");
        }
        for group in ["", "networking.k8s.io", "discovery.k8s.io", "apps"] {
            assert!(!has_our_statuses(group), "{group}");
        }
    }
}
