//! The pods of a gateway: what they are called, where they run, how they end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::field_by_field;
use crate::api::{Duration, pod::with_pod_settings};

with_pod_settings! {
    /// The pods of a gateway: what they are called, where they run, how they end.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase")]
    pub struct NginxPod {
        /// How pods end that are no longer wanted.
        #[serde(default, skip_serializing_if = "NginxDrain::is_default")]
        pub drain: NginxDrain,
    }
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
