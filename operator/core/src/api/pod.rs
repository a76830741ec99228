//! Settings of pods that all our kinds have, whatever the pods run.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, LocalObjectReference, Toleration, TopologySpreadConstraint};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::string_enum::string_enum;

/// Gives settings the fields that those of all pods have, beside their own.
///
/// A structure of these fields that serde flattens into others would be read from a buffer, which knows neither where
/// a mistake is nor what nobody has read.
macro_rules! with_pod_settings {
    ($(#[$attribute:meta])* pub struct $name:ident { $($own:tt)* }) => {
        $(#[$attribute])*
        pub struct $name {
            $($own)*

            /// Labels of the pods; those of a Gateway's infrastructure win over them, and Flotilla's own. Default: none.
            /// Kubernetes: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/>.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(extend("maxProperties" = 64))]
            pub labels: Option<::std::collections::BTreeMap<String, String>>,

            /// Annotations of the pods; those of a Gateway's infrastructure win over them. Default: none.
            /// Kubernetes: <https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/>.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(extend("maxProperties" = 64))]
            pub annotations: Option<::std::collections::BTreeMap<String, String>>,

            /// Labels of the nodes that pods may run on. Default: every node.
            /// Kubernetes: <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodeselector>.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(extend("maxProperties" = 64))]
            pub node_selector: Option<::std::collections::BTreeMap<String, String>>,

            /// Taints of nodes that do not keep pods away. Default: none.
            /// Kubernetes: <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 64))]
            pub tolerations: Option<Vec<::k8s_openapi::api::core::v1::Toleration>>,

            /// Nodes and other pods that pods are to be near to or far from. Default: none.
            /// Kubernetes: <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#affinity-and-anti-affinity>.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub affinity: Option<::k8s_openapi::api::core::v1::Affinity>,

            /// How pods spread over nodes and zones; one without labelSelector counts the pods of the same Gateway or
            /// EndpointPicker. Default: over nodes as evenly as may be.
            /// Kubernetes: <https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/>.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 16))]
            pub topology_spread_constraints: Option<Vec<::k8s_openapi::api::core::v1::TopologySpreadConstraint>>,

            /// `PriorityClass` of the pods. Default: the cluster's.
            /// Kubernetes: <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(length(min = 1, max = 253))]
            pub priority_class_name: Option<String>,

            /// Secrets in the namespace of the pods with credentials for the image. Default: none.
            /// Kubernetes: <https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/>.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 16))]
            pub image_pull_secrets: Option<Vec<::k8s_openapi::api::core::v1::LocalObjectReference>>,

            /// Merged into the template of the pods (metadata and spec) after all else, for what has no setting of its
            /// own. Items of lists are found by their key, such as the name of a container; null takes a field away,
            /// and `$patch: delete` an item. The container is called `gateway` in the pods of a Gateway, and `picker`
            /// in those of an EndpointPicker. Default: none.
            /// Kubernetes: <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(schema_with = "crate::api::pod::any_object")]
            pub patch: Option<::serde_json::Value>,
        }

        impl $name {
            /// Those that the settings of all pods have.
            #[must_use]
            pub fn pod_settings(&self) -> $crate::api::PodSettings<'_> {
                $crate::api::PodSettings {
                    labels: self.labels.as_ref(),
                    annotations: self.annotations.as_ref(),
                    node_selector: self.node_selector.as_ref(),
                    tolerations: self.tolerations.as_ref(),
                    affinity: self.affinity.as_ref(),
                    topology_spread_constraints: self.topology_spread_constraints.as_ref(),
                    priority_class_name: self.priority_class_name.as_ref(),
                    image_pull_secrets: self.image_pull_secrets.as_ref(),
                    patch: self.patch.as_ref(),
                }
            }
        }
    };
}

pub(super) use with_pod_settings;

/// The settings that those of all pods have, whichever kind they are from; documented there.
#[allow(missing_docs, reason = "they are documented where they are set")]
#[derive(Clone, Copy, Debug, Default)]
pub struct PodSettings<'a> {
    pub labels: Option<&'a BTreeMap<String, String>>,
    pub annotations: Option<&'a BTreeMap<String, String>>,
    pub node_selector: Option<&'a BTreeMap<String, String>>,
    pub tolerations: Option<&'a Vec<Toleration>>,
    pub affinity: Option<&'a Affinity>,
    pub topology_spread_constraints: Option<&'a Vec<TopologySpreadConstraint>>,
    pub priority_class_name: Option<&'a String>,
    pub image_pull_secrets: Option<&'a Vec<LocalObjectReference>>,
    pub patch: Option<&'a Value>,
}

string_enum! {
    /// When a node looks for a newer image.
    pub enum ImagePullPolicy {
        /// Whenever a pod starts.
        Always = "Always",
        /// When it has none.
        IfNotPresent = "IfNotPresent",
        /// Never: somebody puts it there.
        Never = "Never",
    }
}

/// The schema of what its own kind knows and we do not: a patch is checked against what it is merged into.
pub(super) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
