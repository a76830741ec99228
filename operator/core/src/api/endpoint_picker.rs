//! `EndpointPicker`: the endpoint picker of an `InferencePool`, which the operator runs.
//!
//! The comments on fields are what `kubectl explain` prints.

use k8s_openapi::{
    api::core::v1::{EnvVar, ResourceRequirements},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ImagePullPolicy, pod::with_pod_settings, string_enum::string_enum};

with_pod_settings! {
    /// What is wanted of an [`EndpointPicker`].
    #[allow(clippy::duplicated_attributes, reason = "columns may have the same type")]
    #[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "!has(self.implementation) || self.implementation != 'LlmD' || has(self.image)",
        "message": "llm-d's router has no default image: name the image of its picker",
    }]))]
    #[kube(
        group = "flotilla.dev",
        version = "v1alpha1",
        kind = "EndpointPicker",
        plural = "endpointpickers",
        shortname = "epp",
        category = "flotilla",
        namespaced,
        status = "EndpointPickerStatus",
        derive = "Default",
        derive = "PartialEq",
        doc = "The endpoint picker of an InferencePool, run by the operator. A pool of the same namespace uses it by naming it in `endpointPickerRef`, as the Service that the operator makes for it has its name.",
        printcolumn(name = "Pool", type_ = "string", json_path = ".status.pools[0]"),
        printcolumn(
            name = "Available",
            type_ = "string",
            json_path = r#".status.conditions[?(@.type=="Available")].status"#
        ),
        printcolumn(name = "Replicas", type_ = "integer", json_path = ".spec.replicas"),
        printcolumn(name = "Image", type_ = "string", json_path = ".status.image", priority = 1),
        printcolumn(
            name = "Message",
            type_ = "string",
            json_path = r#".status.conditions[?(@.type=="Available")].message"#,
            priority = 1
        ),
        printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
    )]
    pub struct EndpointPickerSpec {
        /// Whose picker it is, which the default image and the API group of configuration follow from.
        /// Default: `InferenceExtension`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub implementation: Option<EndpointPickerImplementation>,

        /// Image of the picker; required for `LlmD`. Default: the version of the inference extension's picker that Flotilla
        /// is tested with.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 1024))]
        pub image: Option<String>,

        /// When nodes look for a newer image. Default: Kubernetes chooses by the image's tag.
        /// Kubernetes: <https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy>.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub image_pull_policy: Option<ImagePullPolicy>,

        /// The picker's own configuration, an `EndpointPickerConfig` with plugins, schedulingProfiles and what else it
        /// knows; apiVersion and kind are added where absent. Default: scores for short queues, free KV cache and cached
        /// prefixes, with up to three endpoints to fall back on, which suits vLLM.
        /// Inference extension: <https://gateway-api-inference-extension.sigs.k8s.io/guides/epp-configuration/config-text/>.
        // A schema of one's own is required unless there is a default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(schema_with = "super::pod::any_object")]
        pub configuration: Option<Value>,

        /// Number of pods. Of more than one, gateways ask the one with the lowest address about all requests, so that it
        /// knows of all; the others stand by and are asked as soon as it does not answer. Default: 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0, max = 16))]
        pub replicas: Option<i32>,

        /// Further arguments of the picker, after those that the operator gives it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = 64))]
        pub extra_args: Option<Vec<String>>,

        /// Environment variables of the picker. Default: its namespace and the name of its pod.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = 64))]
        pub env: Option<Vec<EnvVar>>,

        /// CPU and memory. Default: requests of 500m and 512Mi; a busy picker uses several CPUs.
        /// Kubernetes: <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/>.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub resources: Option<ResourceRequirements>,
    }
}

string_enum! {
    /// Whose endpoint picker it is.
    #[derive(Default)]
    pub enum EndpointPickerImplementation {
        /// The one of the Gateway API Inference Extension.
        #[default]
        InferenceExtension = "InferenceExtension",
        /// The router of llm-d.
        LlmD = "LlmD",
    }
}

/// What the operator says of an [`EndpointPicker`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointPickerStatus {
    /// Image that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,

    /// Names of the `InferencePool`s that use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<String>,

    /// Whether its settings make sense (Accepted) and whether it picks (Available).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
