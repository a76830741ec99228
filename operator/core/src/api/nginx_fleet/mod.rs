//! `NginxFleet`: how the NGINX of a Gateway runs; the one kind that is ours.
//!
//! The comments on fields are what `kubectl explain` prints.

mod settings;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::settings::*;

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
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct NginxFleetSpec {
    /// Settings of NGINX itself.
    #[serde(default, skip_serializing_if = "NginxSettings::is_default")]
    pub nginx: NginxSettings,
}

field_by_field!(NginxFleetSpec { nginx });
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
    use serde_json::json;

    fn spec(nginx: serde_json::Value) -> NginxFleetSpec {
        NginxFleetSpec {
            nginx: serde_json::from_value(nginx).expect("the settings decode"),
        }
    }

    #[test]
    fn the_gateways_settings_win_field_by_field() {
        let gateway = spec(json!({
            "timeouts": { "connect": "1s" },
            "realIp": { "trustedCidrs": [] },
            "ipv6": false,
        }));
        let class = spec(json!({
            "timeouts": { "connect": "9s", "read": "90s" },
            "realIp": { "trustedCidrs": ["10.0.0.0/8"] },
            "workerConnections": 4096,
        }));
        let both = spec(json!({
            "timeouts": { "connect": "1s", "read": "90s" },
            "realIp": { "trustedCidrs": [] },
            "workerConnections": 4096,
            "ipv6": false,
        }));
        assert_eq!(gateway.or(class), both);
    }
}
