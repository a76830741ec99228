//! The container of a gateway's pods: NGINX and its agent.

use k8s_openapi::api::core::v1::ResourceRequirements;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::field_by_field;
use crate::api::ImagePullPolicy;

/// The container of a gateway's pods: NGINX and its agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NginxContainer {
    /// Image with NGINX and flotilla-agent. Default: the one that the operator comes with.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/containers/images/>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,

    /// When a node looks for a newer image. Default: what the operator was told; if nothing, Kubernetes chooses by the
    /// image's tag.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// CPU and memory. NGINX has as many worker processes as the limit is CPUs, rounded up, or one for each CPU of the
    /// node if there is no limit; `nginx.workerProcesses` wins over both. Default: requests of 100m CPU and 64Mi of
    /// memory, no limits.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Merged into the container after all else but `pod.patch`, in the same way as that. Default: none.
    /// Kubernetes: <https://kubernetes.io/docs/reference/kubernetes-api/core/pod-v1/#Container>.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::api::pod::any_object")]
    pub patch: Option<Value>,
}

field_by_field!(NginxContainer {
    image,
    image_pull_policy,
    resources,
    patch
});
