//! Status of `GatewayClasses`.

use super::{
    condition::{Wanted, merged},
    feature,
};
use crate::{
    api::{GatewayClassStatus, SupportedFeature},
    outcome::{Status, StatusChange},
    resolve::Resolved,
    snapshot::Snapshot,
};

const OURS: &[&str] = &["Accepted", "SupportedVersion"];

/// The `GatewayClasses` of ours whose status is another than it should be.
pub(super) fn changes(snapshot: &Snapshot, resolved: &Resolved) -> Vec<StatusChange> {
    let changes = resolved.classes.iter().filter_map(|(key, class)| {
        let object = snapshot.gateway_classes.get(key)?;
        let stored = object.status.clone().unwrap_or_default();
        let accepted = Wanted::refused("Accepted", &class.refusals)
            .unwrap_or_else(|| Wanted::yes("Accepted", "Accepted", "Its gateways are ours to run."));
        let supported = Wanted::yes(
            "SupportedVersion",
            "SupportedVersion",
            "Gateway API v1.7.0 is spoken here.",
        );
        let features = feature::SUPPORTED.iter().map(|name| SupportedFeature {
            name: (*name).to_owned(),
        });
        let status = GatewayClassStatus {
            conditions: merged(
                &stored.conditions,
                vec![accepted, supported],
                OURS,
                object.metadata.generation,
            ),
            supported_features: features.collect(),
        };
        StatusChange::new(
            "GatewayClass",
            object.as_ref(),
            &stored,
            status,
            Status::GatewayClass,
        )
    });
    changes.collect()
}
