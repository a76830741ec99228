//! Nobody gets, or breaks, what is another's.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::{certificates::Certificate, standalone::eventually};
use serde_json::{Value, json};

use crate::harness::{Kind, Pod, Setting, alone, beside_others, condition, manifest, served};

#[tokio::test]
async fn an_agent_with_a_token_of_another_namespace_gets_nothing() -> Result<()> {
    beside_others("token", async |setting: &Setting| {
        let edge = setting.gateway("edge").await?;
        // The same pod in all that a tenant can write, down to the name of its ServiceAccount, in another namespace.
        let stranger = "token-stranger";
        setting.delete(Kind::NAMESPACE, stranger).await?;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": stranger}});
        setting.apply_value(namespace).await?;
        for kind in [Kind::SERVICE_ACCOUNT, Kind::CONFIG_MAP, Kind::DEPLOYMENT] {
            let mut copy = setting.namespace(kind).get(&edge.objects()).await?;
            copy["metadata"] = json!({"name": edge.objects(), "namespace": stranger});
            setting.apply_value(copy).await?;
        }
        let pod = eventually(async || {
            let pods = setting
                .pods(stranger, "gateway.networking.k8s.io/gateway-name=edge")
                .await?;
            pods.into_iter().next().context("the stranger does not run yet")
        })
        .await?;
        eventually(async || {
            let (namespace, name) = (format!("--namespace={stranger}"), pod.name.clone());
            let log = setting
                .in_background(move |cluster| cluster.kubectl(&["logs", &namespace, &name]))
                .await?;
            ensure!(log.contains("is no gateway's"), "the agent says {log}");
            Ok(())
        })
        .await?;
        let generations = |pod: &Pod| anyhow::Ok(files(&pod.gateway_folder()?.join("generations")));
        for own in edge.pods().await? {
            assert_ne!(generations(&own)?, Vec::<Vec<u8>>::new(), "they are elsewhere");
        }
        assert_eq!(generations(&pod)?, Vec::<Vec<u8>>::new());
        setting.namespace(Kind::NAMESPACE).delete(stranger).await
    })
    .await
}

#[tokio::test]
async fn a_gateway_gets_its_own_secrets_and_no_others() -> Result<()> {
    beside_others("secrets", async |setting: &Setting| {
        let [own, others] = [(); 2].map(|()| Certificate::self_signed(&["shop.example"]));
        setting.apply(&own.secret(&setting.namespace, "own")).await?;
        setting
            .apply(&others.secret(&setting.namespace, "others"))
            .await?;
        for name in ["own", "others"] {
            setting
                .apply_value(https_gateway(name, &json!({"name": name})))
                .await?;
        }
        let gateway = setting.programmed("own").await?;
        setting.programmed("others").await?;
        let [pod] = &gateway.pods().await?[..] else {
            anyhow::bail!("a new gateway has one pod");
        };
        let holds = |key: &str| {
            let key = key.trim().as_bytes().to_vec();
            let files = files(&pod.gateway_folder()?);
            anyhow::Ok(
                files
                    .iter()
                    .any(|file| file.windows(key.len()).any(|part| part == key)),
            )
        };
        ensure!(holds(&own.key)?, "it does not hold its own key");
        ensure!(!holds(&others.key)?, "it holds the key of another gateway");
        // What it could ask for itself is nothing.
        let objects = gateway.objects();
        let account = (setting.namespace.as_str(), objects.as_str());
        for verb in ["get", "list", "watch"] {
            assert!(
                !setting.may(account, verb, "secrets", &setting.namespace).await?,
                "{verb}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_secret_of_another_namespace_takes_a_grant() -> Result<()> {
    beside_others("granted", async |setting: &Setting| {
        let theirs = json!({"name": "any", "namespace": "kube-system"});
        setting.apply_value(https_gateway("thief", &theirs)).await?;
        let gateways = setting.namespace(Kind::GATEWAY);
        let gateway = gateways
            .until("thief", "its listener is judged", |gateway| {
                !condition(&gateway["status"]["listeners"][0], "ResolvedRefs").is_null()
            })
            .await?;
        let resolved = condition(&gateway["status"]["listeners"][0], "ResolvedRefs");
        assert_eq!(resolved["reason"], "RefNotPermitted", "{resolved}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn routes_that_change_all_the_time_reload_no_more_than_the_quiet_period_allows() -> Result<()> {
    alone("flapping", async |setting: &Setting| {
        setting.echo(1).await?;
        let edge = setting.gateway("edge").await?;
        setting.route("shop", "shop.example").await?;
        served(&edge.http(), "shop.example").await?;
        let before: u64 = edge.reloads().await?.values().sum();
        let load = edge.load("shop.example").start();
        let started = Instant::now();
        for number in 0..200 {
            setting
                .route("flapping", &format!("flapping-{number}.example"))
                .await?;
        }
        served(&edge.http(), "flapping-199.example").await?;
        let report = load.stop().await;
        let reloads = edge.reloads().await?.values().sum::<u64>() - before;
        let took = started.elapsed();
        println!("200 changes in {took:.1?}: {reloads} reloads; {report}");
        assert_eq!(report.failed(), 0, "{report}");
        let allowed = took.as_millis() / 100 + 2;
        assert!(u128::from(reloads) <= allowed, "{reloads} reloads in {took:?}");
        Ok(())
    })
    .await
}

/// A Gateway with one listener for HTTPS, whose certificate that reference names.
fn https_gateway(name: &str, certificate: &Value) -> Value {
    let mut gateway = manifest(name);
    gateway["spec"]["listeners"] = json!([
        {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [certificate]}},
    ]);
    gateway
}

/// The contents of all files below a folder; links are not followed.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let contents = entries.flat_map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files(&entry.path()),
        Ok(kind) if kind.is_file() => fs::read(entry.path()).into_iter().collect(),
        _ => Vec::new(),
    });
    contents.collect()
}
