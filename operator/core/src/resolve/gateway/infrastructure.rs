//! How a Gateway is to run: its settings, and the addresses that it asks for.

use std::{collections::BTreeSet, net::IpAddr};

use super::{GatewayFindings, GatewayRefusal};
use crate::{
    api::{self, AddressRoutability, AddressType, GatewaySpecAddress},
    infra::{GatewayInfra, Provisioning},
    object::ObjectKey,
    resolve::{
        class::Class,
        finding::Finding,
        fleet::{self, Written},
    },
    snapshot::Snapshot,
};

/// The settings as written, the Gateway's over its class's.
pub(super) fn parameters(
    snapshot: &Snapshot,
    key: &ObjectKey,
    gateway: &api::Gateway,
    class: &Class,
    findings: &mut GatewayFindings,
) -> Written {
    let mut refuse = |problem| {
        let refusal = Finding::new(GatewayRefusal::InvalidParameters, problem);
        findings.refusals.push(refusal);
    };
    for refusal in &class.refusals {
        refuse(format!(
            "GatewayClass {}: {}",
            gateway.spec.gateway_class_name, refusal.message
        ));
    }
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let reference = infrastructure.and_then(|infrastructure| infrastructure.parameters_ref.as_ref());
    let Some(reference) = reference else {
        return class.settings.clone();
    };
    let fleet_key = ObjectKey::new(&key.namespace, &reference.name);
    match fleet::referent(snapshot, &reference.group, &reference.kind, &fleet_key) {
        Ok(fleet) => {
            let problems = fleet::problems(&fleet.spec).into_iter();
            problems.for_each(|problem| refuse(format!("NginxFleet {fleet_key}: {problem}")));
            Written::by(fleet).or(class.settings.clone())
        }
        Err(problem) => {
            refuse(format!("spec.infrastructure: {problem}"));
            class.settings.clone()
        }
    }
}

/// What must run, but for the ports of its listeners.
pub(super) fn infra(
    gateway: &api::Gateway,
    written: &Written,
    is_terminating: bool,
    findings: &mut GatewayFindings,
) -> GatewayInfra {
    let provisioning = provisioning(written, findings);
    check_addresses(&gateway.spec.addresses, findings);
    let addresses = gateway.spec.addresses.iter();
    let infrastructure = gateway.spec.infrastructure.clone().unwrap_or_default();
    GatewayInfra {
        uid: gateway.metadata.uid.clone().unwrap_or_default(),
        addresses: addresses
            .filter_map(|address| address.value.as_ref()?.parse().ok())
            .collect(),
        ports: BTreeSet::new(),
        labels: infrastructure.labels,
        annotations: infrastructure.annotations,
        provisioning,
        is_terminating,
    }
}

/// How the gateway is to run; `None` as long as what was asked for is not known, or makes no sense.
fn provisioning(written: &Written, findings: &mut GatewayFindings) -> Option<Provisioning> {
    let mut refusals = findings.refusals.iter();
    if refusals.any(|refusal| refusal.reason == GatewayRefusal::InvalidParameters) {
        return None;
    }
    match written.provisioning() {
        Ok(provisioning) => Some(provisioning),
        Err(problem) => {
            let refusal = Finding::new(GatewayRefusal::InvalidParameters, problem);
            findings.refusals.push(refusal);
            None
        }
    }
}

fn check_addresses(addresses: &[GatewaySpecAddress], findings: &mut GatewayFindings) {
    let problems = addresses.iter().enumerate().filter_map(|(index, address)| {
        let problem = address_problem(address)?;
        let message = format!("spec.addresses[{index}]: {problem}");
        Some(Finding::new(GatewayRefusal::UnsupportedAddress, message))
    });
    findings.refusals.extend(problems);
}

fn address_problem(address: &GatewaySpecAddress) -> Option<String> {
    let type_ = address.address_type();
    let value = address.value.as_deref().unwrap_or_default();
    let routability = address.routability.as_ref();
    if *type_ != AddressType::IpAddress {
        return Some(format!("type {type_} is not supported; IPAddress is"));
    }
    if !value.is_empty() && value.parse::<IpAddr>().is_err() {
        return Some(format!("{value:?} is no IP address"));
    }
    let routability = routability.filter(|value| **value != AddressRoutability::Unspecified)?;
    Some(format!("routability {routability} is not supported"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::{Gateway, example};

    /// A Gateway `edge/web` with these fields, beside `NginxFleet`s.
    fn gateway(fields: &str) -> Gateway {
        let gateway = format!(
            "kind: Gateway\nmetadata: {{namespace: edge, name: web}}\n\
             spec: {{gatewayClassName: tuned, listeners: [{{name: http, port: 80, protocol: HTTP}}], {fields}}}"
        );
        let mut resolved = example::resolved(&[
            "kind: GatewayClass\nmetadata: {name: tuned}\n\
             spec: {controllerName: flotilla.dev/gateway-controller, \
             parametersRef: {group: flotilla.dev, kind: NginxFleet, namespace: system, name: all}}",
            "kind: NginxFleet\nmetadata: {namespace: system, name: all}\n\
             spec: {nginx: {workerProcesses: 2, workerConnections: 64}}",
            "kind: NginxFleet\nmetadata: {namespace: edge, name: own}\nspec: {nginx: {workerProcesses: 4}}",
            "kind: NginxFleet\nmetadata: {namespace: edge, name: odd}\nspec: {nginx: {workerProcesses: 0}}",
            &gateway,
        ]);
        let gateway = resolved.gateways.remove(&ObjectKey::new("edge", "web"));
        gateway.expect("the Gateway is ours")
    }

    fn refusals(fields: &str) -> Vec<(GatewayRefusal, String)> {
        let refusals = gateway(fields).findings.refusals.into_iter();
        refusals
            .map(|finding| (finding.reason, finding.message))
            .collect()
    }

    fn fleet(name: &str) -> String {
        format!("infrastructure: {{parametersRef: {{group: flotilla.dev, kind: NginxFleet, name: {name}}}}}")
    }

    #[test]
    fn settings_of_the_gateway_win_over_those_of_its_class_field_by_field() {
        let settings = gateway(&fleet("own")).settings;
        assert_eq!(settings.worker_processes, Some(4));
        assert_eq!(settings.worker_connections, 64);
        let origins: Vec<String> = settings.origins.iter().map(ToString::to_string).collect();
        assert_eq!(origins, ["NginxFleet edge/own", "NginxFleet system/all"]);
    }

    #[test]
    fn parameters_that_lead_nowhere_or_make_no_sense_are_refused() {
        for (name, message) in [
            ("gone", "spec.infrastructure: NginxFleet edge/gone does not exist"),
            (
                "odd",
                "NginxFleet edge/odd: spec.nginx.workerProcesses is 0; it can be a number from 1 to 1024",
            ),
        ] {
            assert_eq!(
                refusals(&fleet(name)),
                [(GatewayRefusal::InvalidParameters, message.to_owned())]
            );
        }
    }

    #[test]
    fn addresses_are_asked_for_unless_any_will_do() {
        let infra = gateway("addresses: [{value: 192.0.2.1}, {type: IPAddress}, {value: '::1'}]").infra;
        let addresses = infra.addresses;
        assert_eq!(
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["192.0.2.1", "::1"]
        );
    }

    #[test]
    fn addresses_that_nobody_can_give_are_refused() {
        for (address, message) in [
            (
                "{type: Hostname, value: shop.example.com}",
                "spec.addresses[0]: type Hostname is not supported; IPAddress is",
            ),
            ("{value: here}", r#"spec.addresses[0]: "here" is no IP address"#),
            (
                "{value: 192.0.2.1, routability: Cluster}",
                "spec.addresses[0]: routability Cluster is not supported",
            ),
        ] {
            assert_eq!(
                refusals(&format!("addresses: [{address}]")),
                [(GatewayRefusal::UnsupportedAddress, message.to_owned())]
            );
        }
    }
}
