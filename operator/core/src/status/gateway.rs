//! Status of Gateways.

use std::net::IpAddr;

use super::{
    condition::{Wanted, merged, sentences},
    listener,
    programmed::Programming,
};
use crate::{
    api::{AddressType, GatewayStatus, GatewayStatusAddress},
    observed::ObservedGateway,
    outcome::{Status, StatusChange},
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

/// Most entries that the API server takes in `status.addresses`.
const MOST_ADDRESSES: usize = 16;

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
    let addresses = addresses.iter().take(MOST_ADDRESSES);
    let status = GatewayStatus {
        addresses: addresses.map(|address| status_address(address)).collect(),
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
    StatusChange::new("Gateway", object.as_ref(), &stored, status, Status::Gateway)
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

/// A Gateway is accepted as long as one of its listeners can be served, even if it is a `ListenerSet`'s.
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
            "These listeners name what cannot be used, as their conditions say: {}.",
            dangling.join(", ")
        );
        Wanted::no("ResolvedRefs", "ListenersNotResolved", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        resolve::example::snapshot,
        status::example::{changes, status_of, summary},
    };

    const CLASS: &str =
        "kind: GatewayClass\nmetadata: {name: ours}\nspec: {controllerName: flotilla.dev/gateway-controller}";

    /// The status of a Gateway with these listeners and, if any, this stored status.
    fn status(listeners: &str, stored: &str) -> GatewayStatus {
        let gateway = format!(
            "kind: Gateway\nmetadata: {{namespace: edge, name: web, generation: 7}}\n\
             spec: {{gatewayClassName: ours, listeners: [{listeners}]}}\nstatus: {stored}"
        );
        match status_of(&snapshot(&[CLASS, &gateway]), "Gateway", "edge", "web") {
            Status::Gateway(status) => status,
            other => panic!("{other:?} is the status of a Gateway"),
        }
    }

    const GOOD: &str = "{name: good, port: 80, protocol: HTTP}";
    const ODD: &str = "{name: odd, port: 1111, protocol: INVALID}";
    const UNRESOLVED: &str =
        "{name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: gone}]}}";

    #[test]
    fn good_gateway_is_accepted_and_programmed_when_something_runs() {
        let status = status(GOOD, "{}");
        assert_eq!(
            summary(&status.conditions),
            [
                "Accepted=True/Accepted",
                "Programmed=False/AddressNotAssigned",
                "ResolvedRefs=True/ResolvedRefs"
            ]
        );
        assert_eq!(
            summary(&status.listeners[0].conditions),
            [
                "Accepted=True/Accepted",
                "ResolvedRefs=True/ResolvedRefs",
                "Programmed=False/Pending"
            ]
        );
        assert_eq!(status.conditions[0].observed_generation, Some(7));
    }

    #[test]
    fn gateway_without_a_listener_that_serves_is_not_accepted() {
        let status = status(ODD, "{}");
        assert_eq!(
            summary(&status.conditions),
            [
                "Accepted=False/ListenersNotValid",
                "Programmed=False/Invalid",
                "ResolvedRefs=True/ResolvedRefs"
            ]
        );
        assert_eq!(
            summary(&status.listeners[0].conditions),
            [
                "Accepted=False/UnsupportedProtocol",
                "ResolvedRefs=True/ResolvedRefs",
                "Programmed=False/Invalid"
            ]
        );
    }

    #[test]
    fn one_good_listener_makes_a_gateway_accepted() {
        let status = status(&format!("{GOOD}, {ODD}"), "{}");
        assert_eq!(summary(&status.conditions)[0], "Accepted=True/ListenersNotValid");
    }

    #[test]
    fn references_of_listeners_are_summed_up() {
        let status = status(&format!("{GOOD}, {UNRESOLVED}"), "{}");
        assert_eq!(
            summary(&status.conditions)[2],
            "ResolvedRefs=False/ListenersNotResolved"
        );
        assert_eq!(
            summary(&status.listeners[1].conditions),
            [
                "Accepted=True/Accepted",
                "ResolvedRefs=False/InvalidCertificateRef",
                "Programmed=False/Invalid"
            ]
        );
    }

    #[test]
    fn listeners_with_tls_that_overlap_say_so() {
        let hosts = ["*.example.com", "a.example.com", "example.org"];
        let listeners = hosts.map(|host| {
            format!("{{name: {host:?}, hostname: {host:?}, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{{name: shop}}]}}}}")
        });
        let (chain, key) = crate::resolve::certificate::tests::issue(&["example.com"]);
        let secret = serde_json::json!({
            "kind": "Secret",
            "metadata": { "namespace": "edge", "name": "shop" },
            "type": "kubernetes.io/tls",
            "stringData": { "tls.crt": chain, "tls.key": key },
        });
        let gateway = format!(
            "kind: Gateway\nmetadata: {{namespace: edge, name: web}}\n\
             spec: {{gatewayClassName: ours, listeners: [{}]}}",
            listeners.join(", ")
        );
        let snapshot = snapshot(&[CLASS, &gateway, &secret.to_string()]);
        let Status::Gateway(status) = status_of(&snapshot, "Gateway", "edge", "web") else {
            panic!("the status is that of a Gateway");
        };
        let overlapping = status.listeners.iter().filter(|listener| {
            summary(&listener.conditions)
                .contains(&"OverlappingTLSConfig=True/OverlappingHostnames".to_owned())
        });
        let names: Vec<_> = overlapping.map(|listener| listener.name.as_str()).collect();
        assert_eq!(names, ["*.example.com", "a.example.com"]);
    }

    #[test]
    fn conditions_of_others_on_gateway_and_listeners_stay() {
        let foreign = "{type: example.com/Seen, status: 'True', reason: Seen, message: seen, \
                       lastTransitionTime: '2024-01-01T00:00:00Z'}";
        let stored = format!(
            "{{conditions: [{foreign}], listeners: [{{name: good, attachedRoutes: 0, conditions: [{foreign}]}}]}}"
        );
        let status = status(GOOD, &stored);
        assert_eq!(summary(&status.conditions)[0], "example.com/Seen=True/Seen");
        assert_eq!(
            summary(&status.listeners[0].conditions)[0],
            "example.com/Seen=True/Seen"
        );
    }

    #[test]
    fn status_that_is_stored_already_is_no_change() {
        let gateway = format!(
            "kind: Gateway\nmetadata: {{namespace: edge, name: web}}\n\
             spec: {{gatewayClassName: ours, listeners: [{GOOD}]}}"
        );
        let mut snapshot = snapshot(&[CLASS, &gateway]);
        let Status::Gateway(status) = status_of(&snapshot, "Gateway", "edge", "web") else {
            panic!("the status is that of a Gateway");
        };
        for object in snapshot.gateways.values_mut() {
            std::sync::Arc::make_mut(object).status = Some(status.clone());
        }
        assert!(changes(&snapshot).iter().all(|change| change.kind != "Gateway"));
    }
}
