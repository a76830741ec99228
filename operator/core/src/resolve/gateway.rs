//! Gateways with all their listeners.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use k8s_openapi::jiff::Timestamp;

use crate::{
    api::{
        self, AddressRoutability, AddressType, GATEWAY_GROUP, GatewayDefaultScope, GatewaySpecAddress,
        NginxSettings, ParentReference,
    },
    config::Settings,
    infra::GatewayInfra,
    object::ObjectKey,
    outcome::Needs,
    resolve::{
        certificate::Certificate,
        class::Class,
        client_validation, conflict,
        finding::{Finding, reasons},
        fleet,
        grant::{Grants, Referrer},
        listener::{Listener, ListenerContext, ListenerOwner},
        lookup::{Dangling, Lookup},
        namespaces::Namespaces,
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
    /// What must run for it; `None` where it cannot be run at all, as its findings say.
    pub infra: Option<GatewayInfra>,
    /// Its own listeners and those of its ListenerSets, in order of precedence.
    pub listeners: Vec<Listener>,
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

/// A ListenerSet whose parent is a Gateway of ours.
#[derive(Debug)]
pub struct ListenerSet {
    /// The Gateway. Its `listeners` include those of the ListenerSet if it is not refused.
    pub gateway: ObjectKey,
    /// Why the Gateway does not take its listeners.
    pub refusal: Option<Finding<ListenerSetRefusal>>,
}

reasons! {
    /// Why a Gateway does not take the listeners of a ListenerSet.
    ///
    /// See <https://gateway-api.sigs.k8s.io/reference/spec/#listenersetconditionreason>.
    pub enum ListenerSetRefusal {
        /// It allows no ListenerSets from that namespace.
        NotAllowed = "NotAllowed",
        /// It is not accepted itself.
        ParentNotAccepted = "ParentNotAccepted",
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

/// The Gateways of our classes, and the ListenerSets of those.
#[must_use]
pub fn resolve(
    snapshot: &Snapshot,
    classes: &BTreeMap<ObjectKey, Class>,
    grants: &Grants<'_>,
    needs: &mut Needs,
) -> (BTreeMap<ObjectKey, Gateway>, BTreeMap<ObjectKey, ListenerSet>) {
    let mut lookup = Lookup {
        snapshot,
        grants,
        needs,
    };
    let by_parent = listener_sets_by_parent(snapshot);
    let mut gateways = BTreeMap::new();
    let mut listener_sets = BTreeMap::new();
    for (key, gateway) in &snapshot.gateways {
        let class_key = ObjectKey::new("", &gateway.spec.gateway_class_name);
        let Some(class) = classes.get(&class_key) else {
            continue;
        };
        let children = by_parent.get(key).map_or(&[][..], Vec::as_slice);
        let mut resolved = resolve_gateway(&mut lookup, key, gateway, class);
        for (child_key, child) in children {
            let refusal = listener_set_refusal(snapshot, gateway, &resolved, child_key);
            if refusal.is_none() {
                let listeners = listener_set_listeners(&mut lookup, key, gateway, child_key, child);
                resolved.listeners.extend(listeners);
            }
            let listener_set = ListenerSet {
                gateway: key.clone(),
                refusal,
            };
            listener_sets.insert((*child_key).clone(), listener_set);
        }
        conflict::mark(&mut resolved.listeners);
        resolved.infra = Some(infra(gateway, &resolved.listeners));
        gateways.insert(key.clone(), resolved);
    }
    (gateways, listener_sets)
}

type ListenerSets<'a> = Vec<(&'a ObjectKey, &'a api::ListenerSet)>;

/// The ListenerSets of every Gateway, in order of precedence: by age, then by namespace and name.
fn listener_sets_by_parent(snapshot: &Snapshot) -> BTreeMap<ObjectKey, ListenerSets<'_>> {
    let mut by_parent = BTreeMap::<_, ListenerSets<'_>>::new();
    for (key, listener_set) in &snapshot.listener_sets {
        let parent = &listener_set.spec.parent_ref;
        if (parent.group(), parent.kind()) == (GATEWAY_GROUP, "Gateway") {
            let parent = parent_key(parent, &key.namespace);
            by_parent
                .entry(parent)
                .or_default()
                .push((key, listener_set.as_ref()));
        }
    }
    for listener_sets in by_parent.values_mut() {
        listener_sets.sort_by_key(|(key, listener_set)| (created(listener_set), *key));
    }
    by_parent
}

fn parent_key(parent: &ParentReference, own_namespace: &str) -> ObjectKey {
    let namespace = parent.namespace.as_deref().unwrap_or(own_namespace);
    ObjectKey::new(namespace, &parent.name)
}

fn created(listener_set: &api::ListenerSet) -> Option<Timestamp> {
    let created = listener_set.metadata.creation_timestamp.as_ref();
    created.map(|created| created.0)
}

/// A Gateway with its own listeners, before they are compared.
fn resolve_gateway(
    lookup: &mut Lookup<'_>,
    key: &ObjectKey,
    gateway: &api::Gateway,
    class: &Class,
) -> Gateway {
    let mut findings = GatewayFindings::default();
    let nginx = parameters(lookup.snapshot, key, gateway, class, &mut findings);
    check_addresses(&gateway.spec.addresses, &mut findings);
    check_backend_tls(lookup, key, gateway, &mut findings);
    if *gateway.spec.default_scope() != GatewayDefaultScope::None {
        let note = "spec.defaultScope has no effect yet: routes have to name the Gateway";
        findings.notes.push(note.to_owned());
    }
    let frontend = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref());
    findings.insecure = frontend.is_some_and(client_validation::is_insecure);
    let from = referrer("Gateway", key);
    let context = ListenerContext {
        owner: ListenerOwner::Gateway,
        from,
        gateway: from,
        frontend,
    };
    Gateway {
        key: key.clone(),
        settings: fleet::settings(&nginx),
        infra: None,
        listeners: listeners(lookup, &context, &gateway.spec.listeners),
        findings,
    }
}

fn referrer<'a>(kind: &'a str, key: &'a ObjectKey) -> Referrer<'a> {
    Referrer {
        group: GATEWAY_GROUP,
        kind,
        namespace: &key.namespace,
    }
}

/// All listeners of an object. Names tell them apart, so a name that comes again is nobody's.
fn listeners(
    lookup: &mut Lookup<'_>,
    context: &ListenerContext<'_>,
    written: &[api::Listener],
) -> Vec<Listener> {
    let mut names = BTreeSet::new();
    let mut listeners = Vec::with_capacity(written.len());
    for listener in written {
        let mut resolved = Listener::resolve(lookup, context, listener);
        if !names.insert(&listener.name) {
            let message = format!("another listener before it has the name {:?} too", listener.name);
            resolved.findings.refuse_value(message);
        }
        listeners.push(resolved);
    }
    listeners
}

/// The listeners that a ListenerSet adds to its Gateway.
fn listener_set_listeners(
    lookup: &mut Lookup<'_>,
    gateway_key: &ObjectKey,
    gateway: &api::Gateway,
    key: &ObjectKey,
    listener_set: &api::ListenerSet,
) -> Vec<Listener> {
    let context = ListenerContext {
        owner: ListenerOwner::ListenerSet(key.clone()),
        from: referrer("ListenerSet", key),
        gateway: referrer("Gateway", gateway_key),
        frontend: gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref()),
    };
    listeners(lookup, &context, &listener_set.spec.listeners)
}

fn listener_set_refusal(
    snapshot: &Snapshot,
    gateway: &api::Gateway,
    resolved: &Gateway,
    key: &ObjectKey,
) -> Option<Finding<ListenerSetRefusal>> {
    let Gateway { key: parent, .. } = resolved;
    let allowed = gateway.spec.allowed_listener_namespaces();
    let namespaces = Namespaces::new(allowed.from(), allowed.selector.as_ref(), &parent.namespace);
    if !namespaces.contain(&key.namespace, snapshot) {
        let message = format!(
            "Gateway {parent} does not allow ListenerSets of namespace {} in spec.allowedListeners",
            key.namespace
        );
        return Some(Finding::new(ListenerSetRefusal::NotAllowed, message));
    }
    (!resolved.is_accepted()).then(|| {
        let message = format!("Gateway {parent} is not accepted");
        Finding::new(ListenerSetRefusal::ParentNotAccepted, message)
    })
}

/// The settings of NGINX as written, the Gateway's over its class's.
fn parameters(
    snapshot: &Snapshot,
    key: &ObjectKey,
    gateway: &api::Gateway,
    class: &Class,
    findings: &mut GatewayFindings,
) -> NginxSettings {
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
        return class.nginx.clone();
    };
    let fleet_key = ObjectKey::new(&key.namespace, &reference.name);
    match fleet::referent(snapshot, &reference.group, &reference.kind, &fleet_key) {
        Ok(fleet) => {
            let problems = fleet::problems(&fleet.spec.nginx).into_iter();
            problems.for_each(|problem| refuse(format!("NginxFleet {fleet_key}: {problem}")));
            fleet.spec.nginx.clone().or(class.nginx.clone())
        }
        Err(problem) => {
            refuse(format!("spec.infrastructure: {problem}"));
            class.nginx.clone()
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
        Some(format!("type {type_} is not supported; IPAddress is"))
    } else if !value.is_empty() && value.parse::<IpAddr>().is_err() {
        Some(format!("{value:?} is no IP address"))
    } else if let Some(routability) = routability.filter(|value| **value != AddressRoutability::Unspecified) {
        Some(format!("routability {routability} is not supported"))
    } else {
        None
    }
}

/// Checks the certificate that the gateway shows to backends, which nothing uses yet.
fn check_backend_tls(
    lookup: &mut Lookup<'_>,
    key: &ObjectKey,
    gateway: &api::Gateway,
    findings: &mut GatewayFindings,
) {
    let backend = gateway.spec.tls.as_ref().and_then(|tls| tls.backend.as_ref());
    let Some(reference) = backend.and_then(|backend| backend.client_certificate_ref.as_ref()) else {
        return;
    };
    let note = "spec.tls.backend.clientCertificateRef has no effect yet: BackendTLSPolicy is not supported";
    findings.notes.push(note.to_owned());
    if let Err(dangling) = Certificate::resolve(lookup, referrer("Gateway", key), reference) {
        let (reason, message) = match dangling {
            Dangling::NotPermitted(message) => (GatewayReference::RefNotPermitted, message),
            Dangling::WrongKind(message) | Dangling::Invalid(message) => {
                (GatewayReference::InvalidClientCertificateRef, message)
            }
        };
        let message = format!("spec.tls.backend.clientCertificateRef: {message}");
        findings.unresolved.push(Finding::new(reason, message));
    }
}

fn infra(gateway: &api::Gateway, listeners: &[Listener]) -> GatewayInfra {
    let addresses = gateway.spec.addresses.iter();
    let serving = listeners.iter().filter(|listener| listener.serves);
    GatewayInfra {
        addresses: addresses
            .filter_map(|address| address.value.as_ref()?.parse().ok())
            .collect(),
        ports: serving.map(|listener| listener.port).collect(),
    }
}
