//! What keeps a picker from picking is said on it, with what can be done about it.

use anyhow::Result;
use serde_json::{Value, json};

use super::{PICKER, is_described, load_images};
use crate::harness::{Setting, beside_others, condition};

/// Settings with which no picker can run, and what is said of them: what is wrong, and where that is set.
const HOPELESS: [(&str, &str, &[&str]); 3] = [
    (
        "odd",
        "{configuration: {plugins: [{type: queue-scorer}, {type: nonsense}]}}",
        &[
            "plugin type 'nonsense' is not registered",
            "see spec.configuration and spec.extraArgs of the EndpointPicker",
        ],
    ),
    (
        "nowhere",
        "{image: 'flotilla.test/nothing:dev'}",
        &[
            "cannot get its image flotilla.test/nothing:dev",
            "see spec.image and spec.imagePullSecrets of the EndpointPicker",
        ],
    ),
    (
        "greedy",
        "{resources: {limits: {nvidia.com/gpu: '99'}}}",
        &[
            "Insufficient nvidia.com/gpu",
            "have the EndpointPicker ask for less (spec.resources, ",
        ],
    ),
];

#[tokio::test]
async fn a_picker_that_cannot_run_says_why_and_what_to_do() -> Result<()> {
    beside_others("hopeless-pickers", async |setting: &Setting| {
        load_images(setting).await?;
        for (name, settings, _) in HOPELESS {
            let picker = json!({
                "apiVersion": "flotilla.dev/v1alpha1",
                "kind": "EndpointPicker",
                "metadata": {"name": name},
                "spec": serde_saphyr::from_str::<Value>(settings)?,
            });
            let pool = json!({
                "apiVersion": "inference.networking.k8s.io/v1",
                "kind": "InferencePool",
                "metadata": {"name": name},
                "spec": {
                    "selector": {"matchLabels": {"app": name}},
                    "targetPorts": [{"number": 8000}],
                    "endpointPickerRef": {"name": name, "port": {"number": 9002}},
                },
            });
            setting.apply_value(pool).await?;
            setting.apply_value(picker).await?;
        }
        for (name, _, words) in HOPELESS {
            let says = |picker: &Value| {
                let available = condition(&picker["status"], "Available");
                let message = available["message"].as_str().unwrap_or_default();
                available["reason"] == "Failed" && words.iter().all(|words| message.contains(words))
            };
            let picker = setting
                .namespace(PICKER)
                .until(name, "it says why it does not pick", says)
                .await?;
            println!("{name}: {}", condition(&picker["status"], "Available")["message"]);
            is_described(setting, &format!("endpointpicker/{name}"), words[0]).await?;
        }
        Ok(())
    })
    .await
}
