//! Gateways with all their listeners.

mod infrastructure;

use std::collections::BTreeMap;

pub use super::listener_set::ListenerSet;
use crate::{
    api::{self, FrontendTlsConfig, GatewayDefaultScope},
    config::Settings,
    infra::{GatewayInfra, objects_key},
    object::ObjectKey,
    options::{Options, bound_port},
    outcome::Needs,
    resolve::{
        certificate::Certificate,
        class::Class,
        client_validation, conflict,
        finding::{Finding, reasons},
        grant::{Grants, Referrer},
        listener::{Listener, ListenerOwner, ListenerRefusal},
        listener_context::ListenerContext,
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
            let refusal =
                listener_set::refusal(snapshot, key, object, gateway.is_accepted(), &child.namespace);
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
    let written = infrastructure::parameters(lookup.snapshot, key, gateway, class, &mut findings);
    let is_terminating = lookup.snapshot.is_terminating(gateway);
    let infra = infrastructure::infra(gateway, &written, is_terminating, &mut findings);
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
    let service = lookup.snapshot.services.get(&objects_key(key));
    Gateway {
        key: key.clone(),
        settings: written.settings(service.map(AsRef::as_ref)),
        infra,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{observed::Observed, resolve::example};

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
    fn the_families_of_its_service_are_those_it_listens_on() {
        let gateway = "kind: Gateway\nmetadata: {namespace: edge, name: web}\n\
             spec: {gatewayClassName: ours, listeners: [{name: http, port: 80, protocol: HTTP}]}";
        let service =
            "kind: Service\nmetadata: {namespace: edge, name: flotilla-web}\nspec: {ipFamilies: [IPv6]}";
        for (manifests, listens_on_ipv6) in [(&[gateway][..], false), (&[gateway, service], true)] {
            let resolved = example::resolved(manifests);
            let settings = &resolved.gateways[&ObjectKey::new("edge", "web")].settings;
            assert_eq!(settings.ipv6, listens_on_ipv6);
        }
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
    fn certificate_for_backends_that_does_not_exist_leaves_the_gateway_accepted() {
        let resolved = example::resolved(&["kind: Gateway\nmetadata: {namespace: edge, name: web}\n\
             spec: {gatewayClassName: ours, listeners: [], \
             tls: {backend: {clientCertificateRef: {name: gone}}}}"]);
        let gateway = &resolved.gateways[&ObjectKey::new("edge", "web")];
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
