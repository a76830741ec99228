//! `InferencePool`: model servers, of which an endpoint picker chooses one for each request.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::ParentReference;
use super::string_enum::string_enum;

/// What is wanted of an [`InferencePool`].
///
/// See <https://gateway-api-inference-extension.sigs.k8s.io/reference/spec/>.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "inference.networking.k8s.io",
    version = "v1",
    kind = "InferencePool",
    plural = "inferencepools",
    namespaced,
    status = "InferencePoolStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq",
    doc = "Model servers, of which an endpoint picker chooses one for each request; see <https://gateway-api-inference-extension.sigs.k8s.io/api-types/inferencepool/>."
)]
#[serde(rename_all = "camelCase")]
pub struct InferencePoolSpec {
    /// Labels of the pods, in the namespace of the pool; only `matchLabels`.
    pub selector: LabelSelector,
    /// Ports of each pod that a model server listens on, each an endpoint of its own; at most 8.
    #[serde(default)]
    pub target_ports: Vec<InferencePoolPort>,
    /// What the model servers speak, as written; read it with [`Self::app_protocol`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<AppProtocol>,
    /// Who chooses; the gateway itself where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_picker_ref: Option<EndpointPickerRef>,
}

impl InferencePoolSpec {
    /// What the model servers speak; HTTP/1.1 by default.
    #[must_use]
    pub fn app_protocol(&self) -> &AppProtocol {
        self.app_protocol.as_ref().unwrap_or(&AppProtocol::Http)
    }
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InferencePoolPort {
    /// Its number.
    pub number: i32,
}

string_enum! {
    /// What model servers speak.
    #[derive(Default)]
    pub enum AppProtocol {
        /// HTTP/1.1.
        #[default]
        Http = "http",
        /// HTTP/2 without TLS, by prior knowledge.
        H2c = "kubernetes.io/h2c",
    }
}

/// The Service of an endpoint picker, in the namespace of the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointPickerRef {
    /// API group as written; read it with [`Self::group`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind as written; read it with [`Self::kind`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name.
    pub name: String,
    /// Port of the Service; required for a Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<InferencePoolPort>,
    /// What happens while the picker does not answer, as written; read it with [`Self::failure_mode`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_mode: Option<EndpointPickerFailureMode>,
}

impl EndpointPickerRef {
    /// API group; the core group by default.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or("")
    }

    /// Kind; `Service` by default.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("Service")
    }

    /// What happens while the picker does not answer; requests are refused by default.
    #[must_use]
    pub fn failure_mode(&self) -> &EndpointPickerFailureMode {
        self.failure_mode
            .as_ref()
            .unwrap_or(&EndpointPickerFailureMode::FailClose)
    }
}

string_enum! {
    /// What happens to requests while the endpoint picker does not answer.
    #[derive(Default)]
    pub enum EndpointPickerFailureMode {
        /// The gateway chooses an endpoint.
        FailOpen = "FailOpen",
        /// They are refused.
        #[default]
        FailClose = "FailClose",
    }
}

/// What controllers say of an [`InferencePool`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InferencePoolStatus {
    /// One per controller and gateway; those of other controllers are not ours to touch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<InferencePoolParentStatus>,
}

/// What one controller says of a pool at one gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InferencePoolParentStatus {
    /// The gateway; never with a section name or port.
    pub parent_ref: ParentReference,
    /// Name of the controller, as in its `GatewayClass`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller_name: Option<String>,
    /// One per condition type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
