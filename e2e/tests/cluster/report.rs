//! `flotilla status`: what runs and what is wrong, in one command.

use std::path::Path;

use anyhow::Result;
use e2e::{
    command::output,
    standalone::eventually,
    workspace::{Binaries, Profile},
};
use serde_json::{Value, json};

use crate::harness::{Kind, Setting, beside_others, condition, route};

/// A line that no NGINX can write, as it knows no such variable.
const UNKNOWN_VARIABLE: &str = "$remote_addr $no_such_variable";

#[tokio::test]
async fn the_report_says_what_runs_and_why_the_rest_does_not() -> Result<()> {
    beside_others("report", async |setting: &Setting| {
        let format =
            |format: &str| json!({"nginx": {"accessLog": {"format": "Custom", "customFormat": format}}});
        setting.apply_gateway("healthy").await?;
        for (name, fleet) in [
            (
                "homeless",
                json!({"pod": {"nodeSelector": {"example.com/nowhere": "yes"}}}),
            ),
            (
                "patched",
                json!({"pod": {"patch": {"spec": {"restartPolicy": "Never"}}}}),
            ),
            ("refused", format("$remote_addr")),
        ] {
            setting.apply_gateway_of_fleet(name, fleet).await?;
        }
        let healthy = setting.programmed("healthy").await?;
        let refused = setting.programmed("refused").await?;
        setting.apply_fleet("refused", format(UNKNOWN_VARIABLE)).await?;
        setting
            .apply_value(route("healthy", "astray", "astray.example"))
            .await?;
        let gateways = setting.namespace(Kind::GATEWAY);
        for (name, reason) in [("patched", "NoResources"), ("refused", "Invalid")] {
            let is_told = |gateway: &Value| condition(&gateway["status"], "Programmed")["reason"] == reason;
            gateways.until(name, reason, is_told).await?;
        }
        let [healthy_pod] = &healthy.pods().await?[..] else {
            anyhow::bail!("a new gateway has one pod");
        };
        let [refusing_pod] = &refused.pods().await?[..] else {
            anyhow::bail!("a new gateway has one pod");
        };
        let wanted: Vec<String> = [
            // Gateway, ready pods, current ones, and where it is; no line about its pods.
            "report/healthy 1/1 1/1".to_owned(),
            healthy.address.to_string(),
            "report/homeless 0/1 0/1".to_owned(),
            "nodes are available".to_owned(),
            "restartPolicy: Unsupported value".to_owned(),
            "report/refused 1/1 0/1".to_owned(),
            format!("pod {} serves ", refusing_pod.name),
            "unknown \"no_such_variable\" variable".to_owned(),
            "HTTPRoute report/astray".to_owned(),
            "Service report/echo does not exist".to_owned(),
        ]
        .into();
        let build = setting.in_background(|_| Binaries::build(Profile::Dev));
        let flotilla = build.await?.flotilla;
        let text = eventually(async || {
            let text = report(setting, &flotilla, &[]).await?;
            // How wide columns are is up to the gateways of other tests as well.
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for part in &wanted {
                anyhow::ensure!(words.contains(part), "no {part:?} in\n{text}");
            }
            Ok(text)
        })
        .await?;
        println!("{text}");
        assert!(!text.contains(&healthy_pod.name), "{text}");

        let text = report(setting, &flotilla, &["report/homeless"]).await?;
        assert!(
            text.contains("nodes are available") && !text.contains("refused"),
            "{text}"
        );
        Ok(())
    })
    .await
}

/// What `flotilla status` prints with these arguments.
async fn report(setting: &Setting, flotilla: &Path, arguments: &'static [&str]) -> Result<String> {
    let flotilla = flotilla.to_owned();
    setting
        .in_background(move |cluster| output(cluster.command(flotilla).arg("status").args(arguments)))
        .await
}
