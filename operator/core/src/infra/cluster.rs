//! What all objects of an operator have in common in a cluster.

use std::collections::BTreeMap;

use super::name::label_value;
use crate::syntax::Id;

/// The label that tells the objects of one operator from those of another; its value is made of the controller's name.
const CONTROLLER_LABEL: &str = "flotilla.dev/controller";

/// What all gateways of an operator have in common in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The `controllerName` of the operator's classes.
    pub controller_name: String,
    /// Image of the gateways: NGINX and the agent.
    pub image: String,
    /// When nodes look for a newer image; Kubernetes' choice by the image's tag where absent.
    pub image_pull_policy: Option<String>,
    /// Where agents find the operator, such as `https://flotilla.flotilla-system.svc:9443`.
    pub operator: String,
    /// Certificates of the authorities that the operator's certificate may come from, in PEM.
    pub authorities: String,
}

impl Cluster {
    /// Key and value of the label that all objects of this operator have and no others.
    #[must_use]
    pub fn controller_label(&self) -> (&'static str, String) {
        (CONTROLLER_LABEL, Id::of(&self.controller_name).to_string())
    }

    /// The labels that tell the pods of one owner from all others, given the label that names owners; they can never
    /// change.
    pub(super) fn selector(&self, label: &'static str, owner: &str) -> BTreeMap<String, String> {
        let labels = [self.controller_label(), (label, label_value(owner))];
        labels.map(|(key, value)| (key.to_owned(), value)).into()
    }
}

/// The labels by which people and tools tell what an object is and what it is part of.
///
/// See <https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>.
pub(super) fn common_labels(name: &str, owner: &str) -> [(String, String); 3] {
    let labels = [
        ("app.kubernetes.io/name", name.to_owned()),
        ("app.kubernetes.io/instance", label_value(owner)),
        ("app.kubernetes.io/managed-by", "flotilla".to_owned()),
    ];
    labels.map(|(key, value)| (key.to_owned(), value))
}
