//! No request fails while a picker that the operator runs is another one from one moment to the next. The pool fails
//! closed, so that every request that finds no picker shows.

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    certificates::Authority,
    client::{Protocol, Target},
    cluster::NAMESPACE,
    load::Load,
    standalone::{eventually, eventually_within},
};
use serde_json::json;

use super::{PICKER, completion, served};
use crate::{
    disruption::end,
    harness::{Gateway, Kind, PROJECTION, Pod, Setting, alone, beside_others},
};

/// Puts the load on the model servers while something happens to their picker, and until it has been enough requests.
async fn none_fails(setting: &Setting, disrupt: impl AsyncFnOnce(&Setting) -> Result<()>) -> Result<()> {
    let edge = served(setting).await?;
    let loads = [load(&edge).start()];
    disrupt(setting).await?;
    end(setting, loads).await
}

/// A hundred completions a second.
pub(super) fn load(edge: &Gateway<'_>) -> Load {
    Load::new(edge.http(), completion(false, 1))
}

#[tokio::test]
async fn no_request_fails_while_the_picker_gets_another_configuration() -> Result<()> {
    beside_others("configured-picker", async |setting: &Setting| {
        none_fails(setting, async |setting| {
            let before = picker(setting).await?;
            let plugins = json!([{"type": "queue-scorer"}, {"type": "max-score-picker"}, {"type": "single-profile-handler"}]);
            let profile = json!({
                "name": "default",
                "plugins": [{"pluginRef": "queue-scorer", "weight": 1}, {"pluginRef": "max-score-picker"}],
            });
            let configuration = json!({"plugins": plugins, "schedulingProfiles": [profile]});
            let patch = json!({"spec": {"configuration": configuration}});
            setting.namespace(PICKER).merge("tide-picker", patch).await?;
            replaced(setting, &before).await
        })
        .await
    })
    .await
}

#[tokio::test]
async fn no_request_fails_while_the_pod_of_the_picker_is_deleted() -> Result<()> {
    beside_others("replaced-picker", async |setting: &Setting| {
        none_fails(setting, async |setting| {
            let before = picker(setting).await?;
            setting.namespace(Kind::POD).delete(&before.name).await?;
            replaced(setting, &before).await
        })
        .await
    })
    .await
}

#[tokio::test]
async fn no_request_fails_while_the_certificate_of_the_picker_is_rotated() -> Result<()> {
    alone("rotated-picker", async |setting: &Setting| {
        none_fails(setting, async |setting| {
            let before = certificate(setting).await?;
            let authorities = setting.namespace_of(Kind::SECRET, NAMESPACE);
            let stored = authorities.get("flotilla-authorities").await?;
            let successor = successor()?;
            // First both are trusted, and the younger one of those that have been there for long signs.
            authorities.merge("flotilla-authorities", successor).await?;
            shows_another(setting, &before).await?;
            // Then the old one is over, and gateways connect anew.
            let over = stored["data"].as_object().context("there are authorities")?;
            let over: serde_json::Map<_, _> = over.keys().map(|file| (file.clone(), json!(null))).collect();
            let maps = setting.namespace(Kind::CONFIG_MAP);
            let trusted = maps.get("flotilla-edge").await?["data"].clone();
            authorities
                .merge("flotilla-authorities", json!({"data": over}))
                .await?;
            maps.until("flotilla-edge", "the old authority is not trusted", |map| {
                map["data"] != trusted
            })
            .await?;
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn no_request_fails_while_all_authorities_are_lost_at_once() -> Result<()> {
    alone("lost-authorities", async |setting: &Setting| {
        none_fails(setting, async |setting| {
            let before = certificate(setting).await?;
            let lost = Instant::now();
            setting
                .namespace_of(Kind::SECRET, NAMESPACE)
                .delete("flotilla-authorities")
                .await?;
            shows_another(setting, &before).await?;
            println!(
                "the picker showed another certificate after {:.1?}",
                lost.elapsed()
            );
            Ok(())
        })
        .await
    })
    .await
}

/// The only pod of the picker.
async fn picker(setting: &Setting) -> Result<Pod> {
    let selector = "flotilla.dev/endpoint-picker=tide-picker";
    let pods = setting.pods(&setting.namespace, selector).await?;
    pods.into_iter().next().context("a picker runs")
}

/// Waits until another pod picks, and this one is gone.
async fn replaced(setting: &Setting, before: &Pod) -> Result<()> {
    eventually(async || {
        ensure!(
            picker(setting).await?.name != before.name,
            "{} picks",
            before.name
        );
        Ok(())
    })
    .await?;
    setting.settled("tide-picker").await?;
    setting.namespace(Kind::POD).gone(&before.name).await
}

/// The certificate that the picker shows, in DER.
async fn certificate(setting: &Setting) -> Result<Vec<u8>> {
    let address = SocketAddr::new(picker(setting).await?.address, 9002);
    let target = Target::https(address, "tide-picker").protocol(Protocol::Http2);
    let shown = target.connect().await?.certificate().cloned();
    Ok(shown.context("TLS shows a certificate")?.to_vec())
}

/// Waits until the picker shows another certificate than this.
async fn shows_another(setting: &Setting, before: &[u8]) -> Result<()> {
    eventually_within(PROJECTION, async || {
        let now = certificate(setting).await?;
        ensure!(now != before, "the picker shows the old certificate");
        Ok(())
    })
    .await
}

/// An authority to be merged into those of the operator, old enough for everyone to know it: it signs from then on, if
/// the others are younger than an hour.
fn successor() -> Result<serde_json::Value> {
    let made = (SystemTime::now() - Duration::from_hours(2)).duration_since(SystemTime::UNIX_EPOCH)?;
    let made = made.as_secs();
    let authority = Authority::new(&format!("Flotilla authority {made}"));
    Ok(json!({"stringData": {
        (format!("{made}.crt")): authority.certificate,
        (format!("{made}.key")): authority.key(),
    }}))
}
