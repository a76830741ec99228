//! Gateways with all their listeners.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

pub use super::listener_set::ListenerSet;
use crate::{
    api::{
        self, AddressRoutability, AddressType, FrontendTlsConfig, GatewayDefaultScope, GatewaySpecAddress,
    },
    config::Settings,
    infra::{GatewayInfra, Provisioning},
    object::ObjectKey,
    options::{Options, bound_port},
    outcome::Needs,
    resolve::{
        certificate::Certificate,
        class::Class,
        client_validation, conflict,
        finding::{Finding, reasons},
        fleet::{self, Written},
        grant::{Grants, Referrer},
        listener::{Listener, ListenerContext, ListenerOwner, ListenerRefusal},
        listener_set,
        lookup::{Dangling, Lookup},
    },
    snapshot::Snapshot,
};

/// A Gateway of ours.
#[derive(Debug)]
pub struct Gateway {
    /// Which one.
    pub key: ObjectKey,
    /// How its NGINX runs.
    pub settings: Settings,
    /// What must run for it, even while it is not accepted: nothing that runs is stopped by a mistake.
    pub infra: GatewayInfra,
    /// Its own listeners and those of its `ListenerSets`, in order of precedence.
    pub listeners: Vec<Listener>,
    /// The certificate that it shows to backends; `None` for none.
    pub client_certificate: Option<Certificate>,
    /// What is wrong with the Gateway itself.
    pub findings: GatewayFindings,
}

/// What is wrong with a Gateway, by condition.
#[derive(Clone, Debug, Default)]
pub struct GatewayFindings {
    /// Why it is not accepted. What runs for such a Gateway is best left with the configuration that it has: half of
    /// what somebody asks for may be worse than what was there before.
    pub refusals: Vec<Finding<GatewayRefusal>>,
    /// References that lead nowhere, beside those of its listeners.
    pub unresolved: Vec<Finding<GatewayReference>>,
    /// Whether clients without a valid certificate are let in on some port where certificates are asked for.
    pub insecure: bool,
    /// What it asks for that has no effect.
    pub notes: Vec<String>,
}

reasons! {
    /// Why a Gateway is not accepted.
    ///
    /// See <https://gateway-api.sigs.k8s.io/reference/spec/#gatewayconditionreason>.
    pub enum GatewayRefusal {
        /// Its `NginxFleet`, or that of its class, does not exist or makes no sense.
        InvalidParameters = "InvalidParameters",
        /// It asks for an address of a type that we cannot give it.
        UnsupportedAddress = "UnsupportedAddress",
    }
}

reasons! {
    /// Why a reference of a Gateway leads nowhere.
    pub enum GatewayReference {
        /// Its certificate for backends does not exist or cannot be used.
        InvalidClientCertificateRef = "InvalidClientCertificateRef",
        /// The other namespace does not permit it.
        RefNotPermitted = "RefNotPermitted",
    }
}

impl Gateway {
    /// The listeners of one owner, each with its position among all.
    pub fn listeners_of<'a>(
        &'a self,
        owner: &'a ListenerOwner,
    ) -> impl Iterator<Item = (usize, &'a Listener)> {
        let listeners = self.listeners.iter().enumerate();
        listeners.filter(move |(_, listener)| listener.owner == *owner)
    }

    /// Whether nothing is wrong with the Gateway itself; its listeners are another matter.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.findings.refusals.is_empty()
    }
}

/// The Gateways of our classes, and the `ListenerSets` of those.
#[must_use]
pub fn resolve(
    snapshot: &Snapshot,
    options: &Options,
    classes: &BTreeMap<ObjectKey, Class>,
    grants: &Grants<'_>,
    needs: &mut Needs,
) -> (BTreeMap<ObjectKey, Gateway>, BTreeMap<ObjectKey, ListenerSet>) {
    let mut lookup = Lookup {
        snapshot,
        grants,
        needs,
    };
    let by_gateway = listener_set::by_gateway(snapshot);
    let mut gateways = BTreeMap::new();
    let mut listener_sets = BTreeMap::new();
    for (key, object) in &snapshot.gateways {
        let class = ObjectKey::new("", &object.spec.gateway_class_name);
        let Some(class) = classes.get(&class) else {
            continue;
        };
        let mut gateway = resolve_gateway(&mut lookup, key, object, class);
        for (child, child_object) in by_gateway.get(key).into_iter().flatten() {
            let refusal = listener_set::refusal(snapshot, object, &gateway, &child.namespace);
            if refusal.is_none() {
                let context = ListenerContext {
                    owner: ListenerOwner::ListenerSet((*child).clone()),
                    from: Referrer::gateway_api("ListenerSet", &child.namespace),
                    gateway: Referrer::gateway_api("Gateway", &key.namespace),
                    frontend: frontend(object),
                };
                let listeners = Listener::resolve_all(&mut lookup, &context, &child_object.spec.listeners);
                gateway.listeners.extend(listeners);
            }
            let listener_set = ListenerSet {
                gateway: key.clone(),
                refusal,
            };
            listener_sets.insert((*child).clone(), listener_set);
        }
        conflict::mark(&mut gateway.listeners);
        refuse_taken_ports(&mut gateway.listeners, options.privileged_port_shift);
        let open = gateway.listeners.iter().filter(|listener| listener.listens());
        gateway.infra.ports = open.map(|listener| listener.port).collect();
        gateways.insert(key.clone(), gateway);
    }
    (gateways, listener_sets)
}

/// A Gateway with its own listeners, before they are compared.
fn resolve_gateway(
    lookup: &mut Lookup<'_>,
    key: &ObjectKey,
    gateway: &api::Gateway,
    class: &Class,
) -> Gateway {
    let mut findings = GatewayFindings::default();
    let written = parameters(lookup.snapshot, key, gateway, class, &mut findings);
    let provisioning = provisioning(&written, &mut findings);
    check_addresses(&gateway.spec.addresses, &mut findings);
    let client_certificate = client_certificate(lookup, key, gateway, &mut findings);
    if *gateway.spec.default_scope() != GatewayDefaultScope::None {
        let note = "spec.defaultScope has no effect yet: routes have to name the Gateway";
        findings.notes.push(note.to_owned());
    }
    let frontend = frontend(gateway);
    findings.insecure = frontend.is_some_and(client_validation::is_insecure);
    let from = Referrer::gateway_api("Gateway", &key.namespace);
    let context = ListenerContext {
        owner: ListenerOwner::Gateway,
        from,
        gateway: from,
        frontend,
    };
    Gateway {
        key: key.clone(),
        settings: written.settings(),
        infra: infra(gateway, provisioning, lookup.snapshot.is_terminating(gateway)),
        listeners: Listener::resolve_all(lookup, &context, &gateway.spec.listeners),
        client_certificate,
        findings,
    }
}

/// Refuses listeners whose port is bound for another port already, by a listener of higher precedence.
fn refuse_taken_ports(listeners: &mut [Listener], privileged_port_shift: u16) {
    let mut taken = BTreeMap::<u16, u16>::new();
    for listener in listeners.iter_mut().filter(|listener| listener.listens()) {
        let bound = bound_port(listener.port, privileged_port_shift);
        let first = *taken.entry(bound).or_insert(listener.port);
        if first != listener.port {
            let message = format!(
                "Port {} cannot be had: it is port {bound} of the machine, as is port {first} of another listener",
                listener.port
            );
            let refusal = Finding::new(ListenerRefusal::PortUnavailable, message);
            listener.findings.refusals.push(refusal);
            listener.decide();
        }
    }
}

/// The settings for TLS with clients, if there are any.
fn frontend(gateway: &api::Gateway) -> Option<&FrontendTlsConfig> {
    gateway.spec.tls.as_ref()?.frontend.as_ref()
}

/// The settings as written, the Gateway's over its class's.
fn parameters(
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

/// The certificate that the gateway shows to backends that it speaks TLS to.
///
/// See <https://gateway-api.sigs.k8s.io/geps/gep-3155/>.
fn client_certificate(
    lookup: &mut Lookup<'_>,
    key: &ObjectKey,
    gateway: &api::Gateway,
    findings: &mut GatewayFindings,
) -> Option<Certificate> {
    let backend = gateway.spec.tls.as_ref()?.backend.as_ref()?;
    let reference = backend.client_certificate_ref.as_ref()?;
    let from = Referrer::gateway_api("Gateway", &key.namespace);
    let certificate = Certificate::resolve(lookup, from, reference).map_err(|dangling| {
        let (reason, message) = match dangling {
            Dangling::NotPermitted(message) => (GatewayReference::RefNotPermitted, message),
            Dangling::WrongKind(message) | Dangling::Invalid(message) => {
                (GatewayReference::InvalidClientCertificateRef, message)
            }
        };
        let message = format!("spec.tls.backend.clientCertificateRef: {message}");
        findings.unresolved.push(Finding::new(reason, message));
    });
    certificate.ok()
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

/// What must run, but for the ports of its listeners.
fn infra(gateway: &api::Gateway, provisioning: Option<Provisioning>, is_terminating: bool) -> GatewayInfra {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{observed::Observed, resolve::example};

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
    fn a_port_that_stands_for_another_is_not_given_away_twice() {
        let snapshot = example::snapshot(&[
            "kind: GatewayClass\nmetadata: {name: ours}\nspec: {controllerName: flotilla.dev/gateway-controller}",
            "kind: Gateway\nmetadata: {namespace: edge, name: web}\nspec: {gatewayClassName: ours, listeners: [\
             {name: low, port: 80, protocol: HTTP}, {name: high, port: 10080, protocol: HTTP}]}",
        ]);
        let options = Options {
            privileged_port_shift: 10_000,
            ..Options::default()
        };
        let resolved = crate::resolve::resolve(&snapshot, &Observed::default(), &options);
        let [low, high] = &resolved.gateways[&ObjectKey::new("edge", "web")].listeners[..] else {
            panic!("the Gateway has two listeners");
        };
        assert!(low.serves && !high.serves);
        assert_eq!(
            high.findings.refusals[0].message,
            "Port 10080 cannot be had: it is port 10080 of the machine, as is port 80 of another listener"
        );
    }

    #[test]
    fn the_port_of_a_listener_stays_while_its_certificate_is_missing() {
        let resolved = example::resolved(&["kind: Gateway\nmetadata: {namespace: edge, name: web}\n\
             spec: {gatewayClassName: ours, listeners: [\
             {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: gone}]}}, \
             {name: odd, port: 8080, protocol: ODD}]}"]);
        let gateway = &resolved.gateways[&ObjectKey::new("edge", "web")];
        assert!(!gateway.listeners[0].serves);
        assert_eq!(gateway.infra.ports, [443].into());
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

    #[test]
    fn certificate_for_backends_that_does_not_exist_leaves_the_gateway_accepted() {
        let gateway = gateway("tls: {backend: {clientCertificateRef: {name: gone}}}");
        let findings = &gateway.findings;
        assert_eq!(
            findings.unresolved,
            [Finding::new(
                GatewayReference::InvalidClientCertificateRef,
                "spec.tls.backend.clientCertificateRef: Secret edge/gone does not exist"
            )]
        );
        assert!(gateway.client_certificate.is_none());
        assert!(gateway.is_accepted());
    }

    #[test]
    fn what_is_looked_for_is_needed_whether_or_not_it_exists() {
        let resolved = example::resolved(&["kind: Gateway\nmetadata: {namespace: edge, name: web}\n\
             spec: {gatewayClassName: ours, listeners: [{name: https, port: 443, protocol: HTTPS, \
             tls: {certificateRefs: [{name: gone}, {namespace: other, name: forbidden}]}}]}"]);
        assert_eq!(
            resolved.needs.secrets.into_iter().collect::<Vec<_>>(),
            [ObjectKey::new("edge", "gone")]
        );
    }

    #[test]
    fn gateways_of_other_classes_are_not_ours() {
        let resolved = example::resolved(&["kind: Gateway\nmetadata: {namespace: edge, name: theirs}\n\
             spec: {gatewayClassName: theirs, listeners: []}"]);
        assert!(!resolved.gateways.contains_key(&ObjectKey::new("edge", "theirs")));
    }
}
