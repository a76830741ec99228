//! The template of pods, with the settings that those of all kinds have.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{manifest::set, patch::merge};
use crate::api::PodSettings;

/// What the pods of one owner have in their metadata, whatever users want there.
pub(super) struct Marks {
    /// The labels that tell them from all other pods.
    pub(super) selector: BTreeMap<String, String>,
    /// All labels, those among them.
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// The template of pods that are specified like this, as users want them. Our labels come last: without them the pods
/// would be nobody's.
pub(super) fn pod_template(mut spec: Value, settings: PodSettings<'_>, marks: &Marks) -> Value {
    let PodSettings {
        labels,
        annotations,
        node_selector,
        tolerations,
        affinity,
        topology_spread_constraints: _,
        priority_class_name,
        image_pull_secrets,
        patch,
    } = settings;
    set(&mut spec, "nodeSelector", node_selector);
    set(&mut spec, "tolerations", tolerations);
    set(&mut spec, "affinity", affinity);
    set(&mut spec, "priorityClassName", priority_class_name);
    set(&mut spec, "imagePullSecrets", image_pull_secrets);
    spec["topologySpreadConstraints"] = json!(topology_spread_constraints(settings, &marks.selector));
    let with = |theirs: Option<&BTreeMap<String, String>>, ours: &BTreeMap<String, String>| {
        let mut both = theirs.cloned().unwrap_or_default();
        both.extend(ours.clone());
        both
    };
    let mut template = json!({
        "metadata": {
            "labels": with(labels, &marks.labels),
            "annotations": with(annotations, &marks.annotations),
        },
        "spec": spec,
    });
    if let Some(patch) = patch {
        merge(&mut template, patch);
        merge(&mut template["metadata"], &json!({"labels": marks.labels}));
    }
    template
}

/// How pods spread. Who names no labels means the pods of the same owner, whose labels nobody should have to know.
fn topology_spread_constraints(settings: PodSettings<'_>, selector: &BTreeMap<String, String>) -> Vec<Value> {
    let selector = json!({"matchLabels": selector});
    let Some(constraints) = settings.topology_spread_constraints else {
        return vec![json!({
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": selector,
        })];
    };
    let constraints = constraints.iter().map(|constraint| {
        let mut value = json!(constraint);
        if constraint.label_selector.is_none() {
            value["labelSelector"] = selector.clone();
        }
        value
    });
    constraints.collect()
}
