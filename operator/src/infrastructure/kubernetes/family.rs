//! Objects that belong together: those that run gateways, or those that run endpoint pickers.

use std::collections::BTreeMap;

use kube::{
    Resource,
    runtime::reflector::{ObjectRef, Store},
};
use operator_core::{
    infra::{Cluster, GATEWAY_NAME_LABEL, KINDS, ObjectKind, PICKER_KINDS, PICKER_LABEL, objects_key},
    object::ObjectKey,
};

use super::obstacle::Remedies;
use crate::{source::ObjectId, stores::Stores};

/// What can be done about obstacles to the pods of gateways.
pub(super) const OF_GATEWAYS: Remedies = Remedies {
    kind: "NginxFleet",
    placement: "spec.container.resources, spec.pod.nodeSelector, affinity and tolerations",
    image: "spec.container.image and spec.pod.imagePullSecrets of the NginxFleet, and gatewayImage of Flotilla's chart",
    memory: "spec.container.resources.limits",
    start: None,
};

/// What can be done about obstacles to the pods of endpoint pickers.
pub(super) const OF_PICKERS: Remedies = Remedies {
    kind: "EndpointPicker",
    placement: "spec.resources, nodeSelector, affinity and tolerations",
    image: "spec.image and spec.imagePullSecrets of the EndpointPicker",
    memory: "spec.resources.limits",
    start: Some("spec.configuration and spec.extraArgs"),
};

/// Which objects of a cluster belong together, and to whom.
#[derive(Clone, Debug)]
pub(super) struct Family {
    /// What the objects run, such as `gateway`; for the log.
    pub(super) runs: &'static str,
    /// Every kind that there is.
    pub(super) kinds: &'static [ObjectKind],
    /// What can be done about what keeps the pods from serving.
    pub(super) remedies: Remedies,
    /// Key and value of the label that all objects of this operator have.
    controller: (&'static str, String),
    /// Key of the label that all objects of this family have; its value says whose they are.
    owner: &'static str,
    /// Namespace and name of all objects of an owner.
    key: fn(&ObjectKey) -> ObjectKey,
    /// Whether there is such an owner.
    exists: fn(&Stores, &ObjectKey) -> bool,
}

impl Family {
    /// What runs gateways.
    pub(super) fn of_gateways(cluster: &Cluster) -> Self {
        Self {
            runs: "gateway",
            kinds: &KINDS,
            remedies: OF_GATEWAYS,
            controller: cluster.controller_label(),
            owner: GATEWAY_NAME_LABEL,
            key: objects_key,
            exists: |stores, gateway| exists(&stores.gateways, gateway),
        }
    }

    /// What runs endpoint pickers; pools know a picker by the name of its Service, which is its own.
    pub(super) fn of_pickers(cluster: &Cluster) -> Self {
        Self {
            runs: "endpoint picker",
            kinds: &PICKER_KINDS,
            remedies: OF_PICKERS,
            controller: cluster.controller_label(),
            owner: PICKER_LABEL,
            key: ObjectKey::clone,
            exists: |stores, picker| exists(&stores.endpoint_pickers, picker),
        }
    }

    /// What tells the family's objects from all others.
    pub(super) fn selector(&self) -> String {
        let (key, value) = &self.controller;
        format!("{key}={value},{}", self.owner)
    }

    /// Whether labels are those of the family.
    pub(super) fn has(&self, labels: &BTreeMap<String, String>) -> bool {
        let (key, value) = &self.controller;
        labels.get(*key) == Some(value) && labels.contains_key(self.owner)
    }

    /// Namespace and name of all objects of an owner.
    pub(super) fn objects(&self, owner: &ObjectKey) -> ObjectKey {
        (self.key)(owner)
    }

    /// The object of a kind that an owner has.
    pub(super) fn id(&self, owner: &ObjectKey, kind: ObjectKind) -> ObjectId {
        ObjectId {
            kind: kind.kind,
            key: self.objects(owner),
        }
    }

    /// Whether an owner is there, and is to stay.
    pub(super) fn exists(&self, stores: &Stores, owner: &ObjectKey) -> bool {
        (self.exists)(stores, owner)
    }
}

fn exists<K>(store: &Store<K>, key: &ObjectKey) -> bool
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let reference = ObjectRef::new(&key.name).within(&key.namespace);
    let object = store.get(&reference);
    object.is_some_and(|object| object.meta().deletion_timestamp.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(family: &Family, owner: &str) -> BTreeMap<String, String> {
        let (key, value) = family.controller.clone();
        [(key.to_owned(), value), (owner.to_owned(), "edge".to_owned())].into()
    }

    #[test]
    fn what_runs_a_picker_is_not_what_runs_a_gateway() {
        let cluster = Cluster::default();
        let (gateways, pickers) = (Family::of_gateways(&cluster), Family::of_pickers(&cluster));
        let of_gateway = labels(&gateways, GATEWAY_NAME_LABEL);
        let of_picker = labels(&pickers, PICKER_LABEL);
        assert!(gateways.has(&of_gateway) && !gateways.has(&of_picker));
        assert!(pickers.has(&of_picker) && !pickers.has(&of_gateway));
    }

    #[test]
    fn what_another_operator_runs_is_not_ours() {
        let theirs = Cluster {
            controller_name: "example.com/other".to_owned(),
            ..Cluster::default()
        };
        let labels = labels(&Family::of_pickers(&theirs), PICKER_LABEL);
        assert!(!Family::of_pickers(&Cluster::default()).has(&labels));
    }
}
