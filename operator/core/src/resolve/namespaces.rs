//! Namespaces that something may come from.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
use kube::ResourceExt;

use crate::{
    api::{FromNamespaces, LabelSelector},
    object::ObjectKey,
    snapshot::Snapshot,
};

/// Namespaces that something may come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Namespaces {
    /// Every one.
    All,
    /// This one.
    Only(String),
    /// Those whose labels match.
    Selected(LabelSelector),
    /// None.
    None,
}

impl Namespaces {
    /// What an object in the namespace `own` asks for.
    ///
    /// A value that nobody knows, and a selector that is missing, are no namespace at all: nothing is opened by
    /// mistake.
    #[must_use]
    pub fn new(from: &FromNamespaces, selector: Option<&LabelSelector>, own: &str) -> Self {
        match (from, selector) {
            (FromNamespaces::All, _) => Self::All,
            (FromNamespaces::Same, _) => Self::Only(own.to_owned()),
            (FromNamespaces::Selector, Some(selector)) => Self::Selected(selector.clone()),
            (FromNamespaces::Selector, None) | (FromNamespaces::None | FromNamespaces::Unknown(_), _) => {
                Self::None
            }
        }
    }

    /// Whether the namespace is one of them.
    #[must_use]
    pub fn contain(&self, namespace: &str, snapshot: &Snapshot) -> bool {
        match self {
            Self::All => true,
            Self::Only(only) => only == namespace,
            Self::Selected(selector) => selects(selector, namespace, snapshot),
            Self::None => false,
        }
    }
}

/// Whether a namespace has the labels that a selector asks for.
///
/// A namespace that was never declared, as happens in folders of manifests, has the one label that every namespace
/// has.
fn selects(selector: &LabelSelector, namespace: &str, snapshot: &Snapshot) -> bool {
    let object = snapshot.namespaces.get(&ObjectKey::new("", namespace));
    let label = |key: &str| match key {
        "kubernetes.io/metadata.name" => Some(namespace),
        _ => object
            .and_then(|object| object.labels().get(key))
            .map(String::as_str),
    };
    let LabelSelector {
        match_labels,
        match_expressions,
    } = selector;
    let mut labels = match_labels.iter().flatten();
    let mut requirements = match_expressions.iter().flatten();
    labels.all(|(key, value)| label(key) == Some(value))
        && requirements.all(|requirement| is_met(requirement, label(&requirement.key)))
}

/// Whether a requirement is met by the label of its key.
///
/// See <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#set-based-requirement>.
fn is_met(requirement: &LabelSelectorRequirement, label: Option<&str>) -> bool {
    let mut values = requirement.values.iter().flatten();
    match requirement.operator.as_str() {
        "In" => values.any(|value| Some(value.as_str()) == label),
        "NotIn" => values.all(|value| Some(value.as_str()) != label),
        "Exists" => label.is_some(),
        "DoesNotExist" => label.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::Namespace;

    /// Whether the selector selects a namespace `shop` with the label `team: blue`.
    fn selects_shop(selector: &str) -> bool {
        let namespace: Namespace =
            serde_saphyr::from_str("{metadata: {name: shop, labels: {team: blue}}}").expect("a Namespace");
        let mut snapshot = Snapshot::default();
        snapshot
            .namespaces
            .insert(ObjectKey::of(&namespace), Arc::new(namespace));
        let selector = serde_saphyr::from_str(selector).expect("a LabelSelector");
        Namespaces::new(&FromNamespaces::Selector, Some(&selector), "edge").contain("shop", &snapshot)
    }

    #[test]
    fn all_labels_must_be_equal() {
        assert!(selects_shop("{matchLabels: {team: blue}}"));
        assert!(!selects_shop("{matchLabels: {team: blue, tier: web}}"));
        assert!(!selects_shop("{matchLabels: {team: red}}"));
    }

    #[test]
    fn expressions_follow_their_operators() {
        let expression = |rest: &str| selects_shop(&format!("{{matchExpressions: [{{{rest}}}]}}"));
        assert!(expression("key: team, operator: In, values: [red, blue]"));
        assert!(!expression("key: tier, operator: In, values: [web]"));
        assert!(expression("key: tier, operator: NotIn, values: [web]"));
        assert!(!expression("key: team, operator: NotIn, values: [blue]"));
        assert!(expression("key: team, operator: Exists"));
        assert!(!expression("key: team, operator: DoesNotExist"));
        assert!(expression("key: tier, operator: DoesNotExist"));
        assert!(!expression("key: team, operator: Likes"));
    }

    #[test]
    fn empty_selector_selects_every_namespace() {
        assert!(selects_shop("{}"));
    }

    #[test]
    fn every_namespace_has_its_name_as_a_label() {
        assert!(selects_shop("{matchLabels: {kubernetes.io/metadata.name: shop}}"));
    }

    #[test]
    fn missing_selector_selects_nothing() {
        let namespaces = Namespaces::new(&FromNamespaces::Selector, None, "edge");
        assert!(!namespaces.contain("edge", &Snapshot::default()));
    }
}
