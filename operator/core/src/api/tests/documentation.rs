//! What `docs/nginx-fleet.md` says of `NginxFleet`, held against the types.

use std::fmt::Write as _;

use kube::CustomResourceExt as _;
use serde_json::{Map, Value};

use crate::{api::NginxFleet, resolve::fleet};

const PAGE: &str = include_str!("../../../../../docs/nginx-fleet.md");

/// What stands before the part that is made from the types.
const REFERENCE: &str = "## All settings\n\n";

/// The settings that have settings of ours; what Kubernetes' types have is documented there.
const PARTS: [&str; 16] = [
    "nginx",
    "nginx.timeouts",
    "nginx.accessLog",
    "nginx.tls",
    "nginx.realIp",
    "proxy",
    "proxy.buffers",
    "proxy.timeouts",
    "workload",
    "workload.autoscaling",
    "workload.disruptionBudget",
    "pod",
    "pod.drain",
    "container",
    "service",
    "networkPolicy",
];

/// `UPDATE_GOLDEN=1 cargo test -p operator-core documented_settings` writes the page anew.
#[test]
fn documented_settings_are_those_of_the_types() {
    let definition = serde_json::to_value(NginxFleet::crd()).expect("a definition encodes");
    let spec = definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties");
    let spec = spec.and_then(Value::as_object).expect("there are settings");
    let (before, _) = PAGE.split_once(REFERENCE).expect("the page has a reference");
    let mut wanted = format!("{before}{REFERENCE}");
    describe(&mut wanted, "", spec);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/nginx-fleet.md");
        std::fs::write(path, &wanted).expect("the checkout can be written");
    } else {
        similar_asserts::assert_eq!(PAGE, wanted);
    }
}

/// Adds a line for each setting, those within others below these.
fn describe(page: &mut String, path: &str, settings: &Map<String, Value>) {
    for (name, schema) in settings {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let indent = "  ".repeat(path.matches('.').count());
        let description = schema["description"].as_str().unwrap_or_default();
        let description = description.split_whitespace().collect::<Vec<_>>().join(" ");
        writeln!(page, "{indent}- `{path}`: {description}").expect("a string can be written to");
        if PARTS.contains(&path.as_str()) {
            describe(
                page,
                &path,
                schema["properties"].as_object().expect("a part has settings"),
            );
        }
    }
}

#[test]
fn the_example_of_the_page_makes_sense() {
    let (_, example) = PAGE.split_once("```yaml\n").expect("the page has an example");
    let (example, _) = example.split_once("```").expect("the example has an end");
    // Numbers of CPUs are quantities, which encode as text.
    let example = example.replace("cpu: 2", "cpu: '2'");
    let written: Value = serde_saphyr::from_str(&example).expect("the example is YAML");
    let fleet: NginxFleet = serde_json::from_value(written.clone()).expect("the example is an NginxFleet");
    assert_eq!(fleet::problems(&fleet.spec), [""; 0]);
    let known = serde_json::to_value(&fleet).expect("an object encodes");
    assert!(
        crate::infra::covers(&known, &written),
        "{known:#} lacks something of {written:#}"
    );
}
