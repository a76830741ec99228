//! Who may connect to the pods of a gateway.

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::field_by_field;

/// Who may connect to the pods of a gateway: everybody to the ports of its listeners, nobody to any port that nothing
/// is for. What the pods connect to is not restricted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NginxNetworkPolicy {
    /// Whether there is a `NetworkPolicy`. Default: false.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/services-networking/network-policies/>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Who may read the metrics; probes of the node come in either way. Default: everybody.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/services-networking/network-policies/#behavior-of-to-and-from-selectors>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub metrics_from: Option<Vec<NetworkPolicyPeer>>,
}

field_by_field!(NginxNetworkPolicy {
    enabled,
    metrics_from
});
