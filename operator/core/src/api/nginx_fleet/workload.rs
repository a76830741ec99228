//! What has the pods of a gateway run, and how many of them.

use k8s_openapi::{
    api::autoscaling::v2::{HorizontalPodAutoscalerBehavior, MetricSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::field_by_field;
use crate::api::string_enum::string_enum;

/// What has the pods of a gateway run, and how many of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!(has(self.replicas) && has(self.autoscaling))",
        "message": "replicas and autoscaling exclude each other: with autoscaling, the load says how many pods there are",
    },
    {
        "rule": "!has(self.kind) || self.kind != 'DaemonSet' || !(has(self.replicas) || has(self.autoscaling))",
        "message": "a DaemonSet has one pod on each node: replicas and autoscaling are for a Deployment",
    },
]))]
pub struct NginxWorkload {
    /// Deployment has as many pods as replicas or autoscaling say, `DaemonSet` one on each node that they may run on.
    /// Default: Deployment. Where it changes, the old pods go when the new ones are ready.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/workloads/controllers/>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<NginxWorkloadKind>,

    /// Number of pods of a Deployment. Default: one at first, and then whatever somebody scales it to.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#replicas>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub replicas: Option<i32>,

    /// Has the load say how many pods a Deployment has, from the moment that maxReplicas is set.
    /// Kubernetes: <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/>.
    #[serde(default, skip_serializing_if = "NginxAutoscaling::is_default")]
    pub autoscaling: NginxAutoscaling,

    /// How many pods may be taken away at once, for example while nodes are drained. Default: maxUnavailable 1.
    /// Kubernetes: <https://kubernetes.io/docs/tasks/run-application/configure-pdb/>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disruption_budget: Option<NginxDisruptionBudget>,
}

string_enum! {
    /// What has the pods of a gateway run.
    #[derive(Default)]
    pub enum NginxWorkloadKind {
        /// A number of pods, wherever there is room.
        #[default]
        Deployment = "Deployment",
        /// A pod on each node.
        DaemonSet = "DaemonSet",
    }
}

/// How many pods there may be, and what makes them more and fewer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
    "message": "minReplicas is above maxReplicas",
}]))]
pub struct NginxAutoscaling {
    /// Fewest pods. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub min_replicas: Option<i32>,

    /// Most pods; required for autoscaling, here or in the `NginxFleet` of the class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_replicas: Option<i32>,

    /// Use of CPU to aim at, in percent of what container.resources requests. Default: 80 where there is no other
    /// target.
    #[serde(
        rename = "targetCPUUtilizationPercentage",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu_utilization_percentage: Option<i32>,

    /// Use of memory to aim at, in percent of what container.resources requests. Default: memory does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_memory_utilization_percentage: Option<i32>,

    /// Further targets. Default: none.
    /// Kubernetes: <https://kubernetes.io/docs/reference/kubernetes-api/autoscaling/horizontal-pod-autoscaler-v2/>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub metrics: Option<Vec<MetricSpec>>,

    /// How fast pods become more and fewer. Default: Kubernetes' own.
    /// Kubernetes: <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<HorizontalPodAutoscalerBehavior>,
}

/// How many pods may be taken away at once, as a number or in percent such as `25%`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.minAvailable) != has(self.maxUnavailable)",
    "message": "either minAvailable or maxUnavailable is required, and not both",
}]))]
pub struct NginxDisruptionBudget {
    /// Fewest pods that must stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_available: Option<IntOrString>,

    /// Most pods that may go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
}

impl NginxWorkload {
    /// These settings, and those of the fallback where these have none. Whoever says how many pods there are, by a
    /// number or by autoscaling, has the other's way of saying it forgotten.
    #[must_use]
    pub fn or(self, fallback: Self) -> Self {
        let mut both = self.clone().or_field_by_field(fallback);
        if self.replicas.is_some() {
            both.autoscaling = self.autoscaling;
        } else if !self.autoscaling.is_default() {
            both.replicas = None;
        }
        both
    }

    fn or_field_by_field(self, fallback: Self) -> Self {
        let Self {
            kind,
            replicas,
            autoscaling,
            disruption_budget,
        } = fallback;
        Self {
            kind: self.kind.or(kind),
            replicas: self.replicas.or(replicas),
            autoscaling: self.autoscaling.or(autoscaling),
            disruption_budget: self.disruption_budget.or(disruption_budget),
        }
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What has the pods run; a Deployment by default.
    #[must_use]
    pub fn kind(&self) -> &NginxWorkloadKind {
        self.kind.as_ref().unwrap_or(&NginxWorkloadKind::Deployment)
    }
}

field_by_field!(NginxAutoscaling {
    min_replicas,
    max_replicas,
    target_cpu_utilization_percentage,
    target_memory_utilization_percentage,
    metrics,
    behavior
});
