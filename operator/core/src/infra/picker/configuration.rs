//! What an endpoint picker goes by.

use serde_json::{Value, json};

use crate::api::{EndpointPickerImplementation, EndpointPickerSpec};

/// The picker's configuration as it reads it; JSON is YAML.
pub(super) fn text(spec: &EndpointPickerSpec) -> String {
    let mut configuration = spec.configuration.clone().unwrap_or_else(default);
    if let Some(fields) = configuration.as_object_mut() {
        let version = match spec.implementation {
            Some(EndpointPickerImplementation::LlmD) => "llm-d.ai/v1alpha1",
            _ => "inference.networking.x-k8s.io/v1alpha1",
        };
        fields.entry("apiVersion").or_insert_with(|| version.into());
        fields
            .entry("kind")
            .or_insert_with(|| "EndpointPickerConfig".into());
    }
    configuration.to_string()
}

/// Queues, caches and prefixes, as both implementations know them.
fn default() -> Value {
    json!({
        "plugins": [
            {"type": "queue-scorer"},
            {"type": "kv-cache-utilization-scorer"},
            {"type": "prefix-cache-scorer"},
            // Further endpoints, for the gateway to try when the first is gone by then.
            {"type": "max-score-picker", "parameters": {"maxNumOfEndpoints": 3}},
            {"type": "single-profile-handler"},
        ],
        "schedulingProfiles": [{
            "name": "default",
            "plugins": [
                {"pluginRef": "queue-scorer", "weight": 2},
                {"pluginRef": "kv-cache-utilization-scorer", "weight": 2},
                {"pluginRef": "prefix-cache-scorer", "weight": 3},
                {"pluginRef": "max-score-picker"},
            ],
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_is_of_the_group_that_the_implementation_reads() {
        let group = |spec: Value| {
            let spec = serde_json::from_value(spec).expect("the settings decode");
            let configuration: Value = serde_json::from_str(&text(&spec)).expect("JSON is what is written");
            configuration["apiVersion"].clone()
        };
        assert_eq!(group(json!({})), "inference.networking.x-k8s.io/v1alpha1");
        assert_eq!(group(json!({"implementation": "LlmD"})), "llm-d.ai/v1alpha1");
        assert_eq!(group(json!({"configuration": {"apiVersion": "x/v1"}})), "x/v1");
    }
}
