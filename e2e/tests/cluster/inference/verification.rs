//! Pickers are who they are asked to be, or not asked.

use anyhow::{Result, ensure};
use e2e::{certificates::Authority, standalone::eventually};
use serde_json::{Value, json};

use super::{PICKER, POOL, completion, served};
use crate::harness::{Gateway, Kind, Setting, beside_others, condition};

const POLICY: Kind = Kind::new("gateway.networking.k8s.io/v1", "BackendTLSPolicy");

#[tokio::test]
async fn a_picker_with_another_certificate_is_not_asked_and_the_pool_says_so() -> Result<()> {
    beside_others("strange-picker", async |setting: &Setting| {
        let edge = served(setting).await?;
        // It makes a certificate for itself, as pickers do that are told of none.
        let extra_args = |args: Value| json!({"spec": {"extraArgs": args}});
        let pickers = setting.namespace(PICKER);
        pickers
            .merge("tide-picker", extra_args(json!(["--cert-path="])))
            .await?;
        is_refused(
            setting,
            &edge,
            "does not show the certificate of EndpointPicker strange-picker/tide-picker",
        )
        .await?;
        pickers.merge("tide-picker", extra_args(Value::Null)).await?;
        is_served(setting, &edge).await?;

        setting
            .apply(&Authority::new("Somebody else").config_map(&setting.namespace, "somebody"))
            .await?;
        setting
            .apply(
                "
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: strict}
spec:
  targetRefs: [{group: '', kind: Service, name: tide-picker}]
  validation:
    hostname: tide-picker.strange-picker.svc
    caCertificateRefs: [{group: '', kind: ConfigMap, name: somebody}]",
            )
            .await?;
        is_refused(
            setting,
            &edge,
            "what spec.validation of BackendTLSPolicy strange-picker/strict asks for (invalid peer certificate",
        )
        .await?;
        setting.delete(POLICY, "strict").await?;
        is_served(setting, &edge).await
    })
    .await
}

/// Waits until the pool says this of its picker, which is not asked by then.
async fn is_refused(setting: &Setting, edge: &Gateway<'_>, story: &str) -> Result<()> {
    let pools = setting.namespace(POOL);
    let is_said = |pool: &Value| {
        let references = condition(&pool["status"]["parents"][0], "ResolvedRefs");
        let message = references["message"].as_str().unwrap_or_default();
        references["status"] == "False" && message.contains(story)
    };
    pools.until("tide", story, is_said).await?;
    // One that runs until another is ready may have been asked until now.
    eventually(async || {
        let answer = edge.http().send(completion(false, 1)).await?;
        ensure!(answer.status == 503, "{answer}");
        Ok(())
    })
    .await
}

/// Waits until the pool says nothing against its picker, which is asked again.
async fn is_served(setting: &Setting, edge: &Gateway<'_>) -> Result<()> {
    let pools = setting.namespace(POOL);
    let is_fine = |pool: &Value| condition(&pool["status"]["parents"][0], "ResolvedRefs")["status"] == "True";
    pools.until("tide", "its picker is fine", is_fine).await?;
    eventually(async || {
        let answer = edge.http().send(completion(false, 1)).await?;
        ensure!(answer.status == 200, "{answer}");
        Ok(())
    })
    .await
}
