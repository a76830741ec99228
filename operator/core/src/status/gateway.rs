//! Status of Gateways.

use std::net::IpAddr;

use super::{
    Status, StatusChange,
    condition::{Wanted, merged, sentences},
    listener,
    programmed::Programming,
};
use crate::{
    api::{AddressType, GatewayStatus, GatewayStatusAddress},
    observed::ObservedGateway,
    resolve::{Gateway, ListenerOwner, Resolved, finding::Reason},
    snapshot::Snapshot,
    status::listener_set,
};

const OURS: &[&str] = &[
    "Accepted",
    "InsecureFrontendValidationMode",
    "Programmed",
    "ResolvedRefs",
];

/// The change to the status of a Gateway, if it is another than it should be.
pub(super) fn change(
    snapshot: &Snapshot,
    resolved: &Resolved,
    gateway: &Gateway,
    programming: &Programming,
    observed: Option<&ObservedGateway>,
) -> Option<StatusChange> {
    let object = snapshot.gateways.get(&gateway.key)?;
    let stored = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation;
    let owner = &ListenerOwner::Gateway;
    let addresses = observed.map_or(&[][..], |observed| &observed.addresses);
    let status = GatewayStatus {
        addresses: addresses.iter().map(|address| status_address(address)).collect(),
        conditions: merged(
            &stored.conditions,
            conditions(gateway, programming),
            OURS,
            generation,
        ),
        listeners: listener::statuses(
            resolved,
            gateway,
            owner,
            programming,
            &stored.listeners,
            generation,
        ),
        attached_listener_sets: Some(listener_set::attached(resolved, gateway)),
    };
    StatusChange::new("Gateway", object.as_ref(), stored, status, Status::Gateway)
}

fn status_address(value: &str) -> GatewayStatusAddress {
    let is_ip = value.parse::<IpAddr>().is_ok();
    GatewayStatusAddress {
        r#type: Some(if is_ip {
            AddressType::IpAddress
        } else {
            AddressType::Hostname
        }),
        value: value.to_owned(),
        ..GatewayStatusAddress::default()
    }
}

fn conditions(gateway: &Gateway, programming: &Programming) -> Vec<Wanted> {
    let mut conditions = vec![accepted(gateway), programmed(programming), resolved_refs(gateway)];
    if gateway.findings.insecure {
        conditions.push(Wanted::yes(
            "InsecureFrontendValidationMode",
            "ConfigurationChanged",
            "Clients are let in without a valid certificate where spec.tls.frontend says AllowInsecureFallback.",
        ));
    }
    conditions
}

/// A Gateway is accepted as long as one of its listeners can be served, even if it is a ListenerSet's.
fn accepted(gateway: &Gateway) -> Wanted {
    if let Some(refused) = Wanted::refused("Accepted", &gateway.findings.refusals) {
        return refused;
    }
    let own = gateway.listeners_of(&ListenerOwner::Gateway);
    let bad: Vec<_> = own
        .filter(|(_, listener)| !listener.serves)
        .map(|(_, listener)| listener.name.as_str())
        .collect();
    let notes = gateway.findings.notes.iter().map(String::as_str);
    let with_notes = |message| sentences([message].into_iter().chain(notes));
    let some = gateway.listeners.iter().any(|listener| listener.serves);
    if !some {
        let message = "None of the listeners can be served; their conditions say why";
        Wanted::no("Accepted", "ListenersNotValid", with_notes(message))
    } else if bad.is_empty() {
        Wanted::yes("Accepted", "Accepted", with_notes("The Gateway is valid"))
    } else {
        let message = format!(
            "These listeners cannot be served, as their conditions say: {}",
            bad.join(", ")
        );
        Wanted::yes("Accepted", "ListenersNotValid", with_notes(&message))
    }
}

fn programmed(programming: &Programming) -> Wanted {
    match programming {
        Ok(message) => Wanted::yes("Programmed", "Programmed", message),
        Err(finding) => {
            let message = format!("{}.", finding.message);
            Wanted::no("Programmed", finding.reason.as_str(), message)
        }
    }
}

fn resolved_refs(gateway: &Gateway) -> Wanted {
    if let Some(refused) = Wanted::refused("ResolvedRefs", &gateway.findings.unresolved) {
        return refused;
    }
    let own = gateway.listeners_of(&ListenerOwner::Gateway);
    let dangling: Vec<_> = own
        .filter(|(_, listener)| !listener.findings.unresolved.is_empty())
        .map(|(_, listener)| listener.name.as_str())
        .collect();
    if dangling.is_empty() {
        Wanted::yes("ResolvedRefs", "ResolvedRefs", "All references lead somewhere.")
    } else {
        let message = format!(
            "References of these listeners lead nowhere: {}.",
            dangling.join(", ")
        );
        Wanted::no("ResolvedRefs", "ListenersNotResolved", message)
    }
}
