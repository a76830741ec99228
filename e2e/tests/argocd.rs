//! The health checks for Argo CD say of an object what its conditions say.

use anyhow::Context as _;
use mlua::{Lua, LuaSerdeExt as _};
use serde_json::{Value, json};

const PATCH: &str = include_str!("../../docs/argocd/argocd-cm.yaml");

/// Status of the health that Argo CD finds for an object of that kind.
fn health(kind: &str, object: &Value) -> anyhow::Result<String> {
    let patch: Value = serde_saphyr::from_str(PATCH)?;
    let key = format!("resource.customizations.health.{kind}");
    let script = patch["data"][&key]
        .as_str()
        .with_context(|| format!("no {key}"))?;
    let lua = Lua::new();
    lua.globals().set("obj", lua.to_value(object)?)?;
    let health: mlua::Table = lua.load(script).eval()?;
    let message: Option<String> = health.get("message")?;
    anyhow::ensure!(message.is_some_and(|message| !message.is_empty()), "no message");
    Ok(health.get("status")?)
}

fn condition(kind: &str, status: &str, generation: u64) -> Value {
    json!({
        "type": kind,
        "status": status,
        "reason": "Because",
        "message": "As it is.",
        "observedGeneration": generation,
    })
}

/// An object of generation 2 with these conditions.
fn object(conditions: &[Value]) -> Value {
    json!({"metadata": {"generation": 2}, "status": {"conditions": conditions}})
}

/// A pool of generation 2 with these conditions at one gateway each.
fn pool(parents: &[&[Value]]) -> Value {
    let parent = |conditions: &&[Value]| json!({"parentRef": {"name": "edge"}, "conditions": conditions});
    let parents: Vec<Value> = parents.iter().map(parent).collect();
    json!({"metadata": {"generation": 2}, "status": {"parents": parents}})
}

#[test]
fn a_condition_decides_what_is_healthy() -> anyhow::Result<()> {
    for (kind, decisive) in [
        ("gateway.networking.k8s.io_GatewayClass", "Accepted"),
        ("gateway.networking.k8s.io_ListenerSet", "Programmed"),
        ("flotilla.dev_NginxFleet", "Accepted"),
        ("flotilla.dev_EndpointPicker", "Available"),
    ] {
        let of = |conditions: &[Value]| health(kind, &object(conditions));
        assert_eq!(
            health(kind, &json!({"metadata": {"generation": 2}}))?,
            "Progressing",
            "{kind}"
        );
        assert_eq!(of(&[])?, "Progressing", "{kind}");
        assert_eq!(of(&[condition(decisive, "Unknown", 2)])?, "Progressing", "{kind}");
        assert_eq!(of(&[condition(decisive, "True", 1)])?, "Progressing", "{kind}");
        assert_eq!(of(&[condition(decisive, "True", 2)])?, "Healthy", "{kind}");
        assert_eq!(of(&[condition("Accepted", "False", 2)])?, "Degraded", "{kind}");
        assert_eq!(of(&[condition("Accepted", "False", 1)])?, "Progressing", "{kind}");
    }
    Ok(())
}

#[test]
fn what_is_still_starting_is_not_broken() -> anyhow::Result<()> {
    for (kind, decisive) in [
        ("gateway.networking.k8s.io_ListenerSet", "Programmed"),
        ("flotilla.dev_EndpointPicker", "Available"),
    ] {
        let starting = object(&[condition("Accepted", "True", 2), condition(decisive, "False", 2)]);
        assert_eq!(health(kind, &starting)?, "Progressing", "{kind}");
    }
    Ok(())
}

#[test]
fn every_gateway_of_a_pool_counts() -> anyhow::Result<()> {
    let kind = "inference.networking.k8s.io_InferencePool";
    let taken = [
        condition("Accepted", "True", 2),
        condition("ResolvedRefs", "True", 2),
    ];
    let lost = [
        condition("Accepted", "True", 2),
        condition("ResolvedRefs", "False", 2),
    ];
    let old = [condition("Accepted", "True", 1)];
    assert_eq!(health(kind, &json!({"metadata": {"generation": 2}}))?, "Healthy");
    assert_eq!(health(kind, &pool(&[]))?, "Healthy");
    assert_eq!(health(kind, &pool(&[&taken]))?, "Healthy");
    assert_eq!(health(kind, &pool(&[&taken, &lost]))?, "Degraded");
    assert_eq!(health(kind, &pool(&[&taken, &old]))?, "Progressing");
    assert_eq!(health(kind, &pool(&[&old, &lost]))?, "Degraded");
    Ok(())
}
