//! What the chart makes of its values, without installing it.

use anyhow::Result;
use e2e::cluster::Cluster;
use serde_json::{Value, json};

/// The objects that come of values.
fn objects(values: &[&str]) -> Result<Vec<Value>> {
    let yaml = Cluster::expect_running()?.template(values)?;
    Ok(serde_saphyr::from_multiple(&yaml)?)
}

/// What the pods of the operator are made from, with these values.
fn pod(values: &[&str]) -> Result<Value> {
    let mut objects = objects(values)?;
    objects.retain(|object| object["kind"] == "Deployment");
    Ok(objects.remove(0)["spec"]["template"]["spec"].take())
}

#[test]
fn objects_are_called_as_the_release_unless_a_name_is_given() -> Result<()> {
    let everything = [
        "autoscaling.enabled=true",
        "crds.install=false",
        "gatewayClass.create=false",
        "monitoring.dashboard=true",
        "monitoring.podMonitor=true",
        "monitoring.serviceMonitor=true",
        "networkPolicy.create=true",
        "watchNamespaces={shop}",
    ];
    for (name, values) in [("flotilla", &[][..]), ("fleet", &["fullnameOverride=fleet"])] {
        let objects = objects(&[&everything, values].concat())?;
        assert_eq!(objects.len(), 17);
        for object in objects {
            let metadata = &object["metadata"];
            let own = metadata["name"].as_str().unwrap_or_default();
            let own = own.strip_prefix("flotilla-system-").unwrap_or(own);
            // What the operator looks for by name.
            let is_fixed = object["kind"] == "Lease" || object["kind"] == "Secret";
            assert!(is_fixed || own.starts_with(name), "{} {own}", object["kind"]);
            assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], "flotilla");
        }
    }
    Ok(())
}

#[test]
fn pods_are_as_values_say() -> Result<()> {
    let plain = pod(&[])?;
    assert_eq!(plain["securityContext"]["runAsUser"], 65532);
    assert_eq!(
        plain["containers"][0]["securityContext"]["readOnlyRootFilesystem"],
        true
    );
    let spread = &plain["topologySpreadConstraints"][0];
    assert_eq!(spread["topologyKey"], "kubernetes.io/hostname");

    let values = [
        "podSecurityContext.runAsUser=null",
        "env[0].name=RUST_BACKTRACE,env[0].value=full",
        "topologySpreadConstraints[0].topologyKey=zone,topologySpreadConstraints[0].maxSkew=2",
        "imagePullSecrets[0].name=registry",
    ];
    let changed = pod(&values)?;
    assert_eq!(changed["securityContext"]["runAsUser"], Value::Null);
    assert_eq!(changed["securityContext"]["runAsNonRoot"], true);
    let environment = changed["containers"][0]["env"].as_array().into_iter().flatten();
    let last = environment.last();
    assert_eq!(last, Some(&json!({"name": "RUST_BACKTRACE", "value": "full"})));
    let constraints = json!([{
        "topologyKey": "zone",
        "maxSkew": 2,
        "labelSelector": spread["labelSelector"],
    }]);
    assert_eq!(changed["topologySpreadConstraints"], constraints);
    assert_eq!(changed["imagePullSecrets"], json!([{"name": "registry"}]));
    Ok(())
}

#[test]
fn values_that_do_not_exist_are_refused() -> Result<()> {
    let error = objects(&["imagePullSecret=registry"]).expect_err("it is misspelt");
    assert!(format!("{error:#}").contains("imagePullSecret"), "{error:#}");
    // What a chart of charts has this one on.
    objects(&["enabled=true", "global.registry=any"])?;
    Ok(())
}
