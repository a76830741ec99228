//! `NginxFleet`: how the NGINX of a Gateway runs; the one kind that is ours.
//!
//! The comments on fields are what `kubectl explain` prints.

mod container;
mod network_policy;
mod pod;
mod proxy;
mod service;
mod settings;
mod workload;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{container::*, network_policy::*, pod::*, proxy::*, service::*, settings::*, workload::*};

/// The API group of our own kinds.
pub const FLOTILLA_GROUP: &str = "flotilla.dev";

/// Implements, for settings all of whose fields are absent by default, that one object's win over another's.
macro_rules! field_by_field {
    ($name:ident { $($field:ident),* }) => {
        impl $name {
            /// These settings, and those of the fallback where these have none.
            #[must_use]
            pub fn or(self, fallback: Self) -> Self {
                let Self { $($field),* } = fallback;
                Self { $($field: self.$field.or($field)),* }
            }

            /// Whether nothing is set.
            #[must_use]
            pub fn is_default(&self) -> bool {
                *self == Self::default()
            }
        }
    };
}

use field_by_field;

/// How the NGINX of a Gateway runs.
///
/// Named by `parametersRef` of a `GatewayClass`, for all of its gateways, or of a Gateway's `infrastructure`. Where both
/// name one, the Gateway's wins field by field.
#[allow(clippy::duplicated_attributes, reason = "columns may have the same type")]
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "flotilla.dev",
    version = "v1alpha1",
    kind = "NginxFleet",
    plural = "nginxfleets",
    shortname = "nginxfleet",
    category = "flotilla",
    namespaced,
    status = "NginxFleetStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "How the NGINX of a Gateway runs. Named by `parametersRef` of a GatewayClass, for all of its gateways, or of a Gateway's `infrastructure`. Where both name one, the Gateway's wins field by field.",
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].status"#
    ),
    printcolumn(name = "Workload", type_ = "string", json_path = ".spec.workload.kind"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".spec.workload.replicas"),
    printcolumn(
        name = "Max",
        type_ = "integer",
        json_path = ".spec.workload.autoscaling.maxReplicas"
    ),
    printcolumn(name = "Service", type_ = "string", json_path = ".spec.service.type"),
    printcolumn(
        name = "Image",
        type_ = "string",
        json_path = ".spec.container.image",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].message"#,
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct NginxFleetSpec {
    /// Settings of NGINX itself.
    #[serde(default, skip_serializing_if = "NginxSettings::is_default")]
    pub nginx: NginxSettings,

    /// Settings of the proxy beside NGINX, for inference and for what NGINX cannot do exactly.
    #[serde(default, skip_serializing_if = "NginxProxy::is_default")]
    pub proxy: NginxProxy,

    /// What has the pods of a Gateway run, and how many of them.
    #[serde(default, skip_serializing_if = "NginxWorkload::is_default")]
    pub workload: NginxWorkload,

    /// The pods: what they are called, where they run, how they end.
    #[serde(default, skip_serializing_if = "NginxPod::is_default")]
    pub pod: NginxPod,

    /// The container of the pods: NGINX and its agent.
    #[serde(default, skip_serializing_if = "NginxContainer::is_default")]
    pub container: NginxContainer,

    /// The Service that clients reach the Gateway through.
    #[serde(default, skip_serializing_if = "NginxService::is_default")]
    pub service: NginxService,

    /// Who may connect to the pods.
    #[serde(default, skip_serializing_if = "NginxNetworkPolicy::is_default")]
    pub network_policy: NginxNetworkPolicy,
}

field_by_field!(NginxFleetSpec {
    nginx,
    proxy,
    workload,
    pod,
    container,
    service,
    network_policy
});

/// What the operator says of the settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NginxFleetStatus {
    /// Whether the settings make sense (Accepted), and what is wrong with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::CustomResourceExt as _;
    use serde_json::json;

    fn spec(fields: serde_json::Value) -> NginxFleetSpec {
        serde_json::from_value(fields).expect("the settings decode")
    }

    #[test]
    fn the_gateways_settings_win_field_by_field() {
        let gateway = spec(json!({ "nginx": {
            "timeouts": { "connect": "1s" },
            "realIp": { "trustedCidrs": [] },
            "ipv6": false,
        }}));
        let class = spec(json!({ "nginx": {
            "timeouts": { "connect": "9s", "read": "90s" },
            "realIp": { "trustedCidrs": ["10.0.0.0/8"] },
            "workerConnections": 4096,
        }}));
        let both = spec(json!({ "nginx": {
            "timeouts": { "connect": "1s", "read": "90s" },
            "realIp": { "trustedCidrs": [] },
            "workerConnections": 4096,
            "ipv6": false,
        }}));
        assert_eq!(gateway.or(class), both);
    }

    #[test]
    fn every_setting_can_be_absent() {
        let definition = serde_json::to_value(NginxFleet::crd()).expect("a definition encodes");
        let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
        let spec = definition
            .pointer(schema)
            .expect("the definition has a specification");
        let parts = spec["properties"].as_object().expect("it has parts");
        let nested = [
            &parts["workload"]["properties"]["autoscaling"],
            &parts["pod"]["properties"]["drain"],
        ];
        for part in parts.values().chain(nested).chain([spec]) {
            assert_eq!(part["required"], json!(null), "{part:#}");
        }
    }

    #[test]
    fn whoever_says_how_many_pods_there_are_says_it_alone() {
        let number = || spec(json!({ "workload": { "replicas": 3 } })).workload;
        let autoscaling = || spec(json!({ "workload": { "autoscaling": { "maxReplicas": 9 } } })).workload;
        assert_eq!(number().or(autoscaling()), number());
        assert_eq!(autoscaling().or(number()), autoscaling());
        let fewest = spec(json!({ "workload": { "autoscaling": { "minReplicas": 2 } } })).workload;
        let both = fewest.or(autoscaling()).autoscaling;
        assert_eq!((both.min_replicas, both.max_replicas), (Some(2), Some(9)));
    }
}
