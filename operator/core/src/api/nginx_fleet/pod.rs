//! The pods of a gateway: what they are called, where they run, how they end.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, LocalObjectReference, Toleration, TopologySpreadConstraint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::field_by_field;
use crate::api::Duration;

/// The pods of a gateway: what they are called, where they run, how they end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NginxPod {
    /// Labels of the pods, beside those of the Gateway's infrastructure, which win, and Flotilla's own. Default: none.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: Option<BTreeMap<String, String>>,

    /// Annotations of the pods, beside those of the Gateway's infrastructure, which win. Default: none.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: Option<BTreeMap<String, String>>,

    /// Labels of the nodes that pods may run on. Default: every node.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodeselector>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    pub node_selector: Option<BTreeMap<String, String>>,

    /// Taints of nodes that do not keep pods away. Default: none.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub tolerations: Option<Vec<Toleration>>,

    /// Nodes and other pods that pods are to be near to or far from. Default: none.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#affinity-and-anti-affinity>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,

    /// How pods spread over nodes and zones; one without labelSelector counts the pods of the same Gateway. Default:
    /// over nodes as evenly as may be.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,

    /// `PriorityClass` of the pods. Default: the cluster's.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// Secrets in the Gateway's namespace with credentials for the image. Default: none.
    /// Kubernetes: <https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,

    /// How pods end that are no longer wanted.
    #[serde(default, skip_serializing_if = "NginxDrain::is_default")]
    pub drain: NginxDrain,

    /// Merged into the template of the pods (metadata and spec) after all else, for what has no setting of its own.
    /// Items of lists are found by their key, such as the name of a container; null takes a field away, and
    /// `$patch: delete` an item. The Gateway's container is called `gateway`. Default: none.
    /// Kubernetes: <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::any_object")]
    pub patch: Option<Value>,
}

/// How pods end that are no longer wanted: they serve on for the delay, and then connections have until the timeout.
///
/// Kubernetes' terminationGracePeriodSeconds is the sum and 10 seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NginxDrain {
    /// How long to serve on as before, until load balancers know that the pod goes, for example `15s`. Default: 5s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,

    /// How long requests and streams may then take to end before they are cut, for example `30m`. Default: 60s.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

field_by_field!(NginxPod {
    labels,
    annotations,
    node_selector,
    tolerations,
    affinity,
    topology_spread_constraints,
    priority_class_name,
    image_pull_secrets,
    drain,
    patch
});
field_by_field!(NginxDrain { delay, timeout });
