//! What filters do to requests and answers on their way through real NGINX.

#![allow(unreachable_pub, reason = "nothing of a test can be reached from outside")]

mod cors;
mod headers;
mod mirrors;
mod redirects;
mod rewrites;

use anyhow::Result;
use e2e::{
    client::{Answer, Target},
    echo::Echo,
    manifests::{EDGE, route},
    standalone::{Standalone, eventually},
};

/// A gateway whose only route has these rules, as a list in flow-style YAML, and a Service `shop` behind it.
async fn gateway_with(rules: &str) -> Result<(Standalone, Echo, Target)> {
    let route = route("route", &format!("rules: {rules}"));
    let standalone = Standalone::start(&[("edge.yaml", EDGE), ("route.yaml", &route)]).await?;
    let backend = standalone.backend("shop", 100).await?;
    let edge = standalone.edge().await?;
    Ok((standalone, backend, edge))
}

/// A gateway that serves from `shop` with a rule that has this field.
async fn serving_with(field: &str) -> Result<(Standalone, Echo, Target)> {
    serving(&format!(
        "[{{ {field}, backendRefs: [{{ name: shop, port: 80 }}] }}]"
    ))
    .await
}

/// A gateway that serves from `shop` with these rules, one of which takes `GET /warm-up`.
async fn serving(rules: &str) -> Result<(Standalone, Echo, Target)> {
    let (standalone, backend, edge) = gateway_with(rules).await?;
    eventually(async || edge.get("a.example", "/warm-up").await?.seen()).await?;
    Ok((standalone, backend, edge))
}

/// All values of a header, joined with commas.
fn values(answer: &Answer, name: &str) -> String {
    let values = answer.headers.get_all(name).iter();
    values
        .map(|value| value.to_str().unwrap_or_default())
        .collect::<Vec<_>>()
        .join(", ")
}
