//! Gateways with all their listeners.

use crate::{
    config::Settings,
    infra::GatewayInfra,
    object::ObjectKey,
    resolve::listener::Listener,
};

/// A Gateway of ours.
#[derive(Debug)]
pub struct Gateway {
    /// Which one.
    pub key: ObjectKey,
    /// How its NGINX runs.
    pub settings: Settings,
    /// What must run for it; `None` where it cannot be run at all, as its findings say.
    pub infra: Option<GatewayInfra>,
    /// Its own listeners and those of its ListenerSets, in order of precedence.
    pub listeners: Vec<Listener>,
}

/// A ListenerSet whose parent is a Gateway of ours.
#[derive(Debug)]
pub struct ListenerSet {}

/// Every Gateway of `classes`, and the ListenerSets of these.
pub(super) fn resolve(
    _snapshot: &crate::snapshot::Snapshot,
    _classes: &std::collections::BTreeMap<ObjectKey, super::class::Class>,
    _grants: &super::grant::Grants,
    _needs: &mut crate::outcome::Needs,
) -> (std::collections::BTreeMap<ObjectKey, Gateway>, std::collections::BTreeMap<ObjectKey, ListenerSet>) {
    Default::default()
}
