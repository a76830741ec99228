//! What changes without a reload: endpoints, certificates, and the legs of the agent's proxy.

mod pods;

use std::collections::BTreeMap;

pub use self::pods::ACTIVE_PORTS;
use k8s_openapi::api::{
    core::v1::Service,
    discovery::v1::{EndpointConditions, EndpointSlice},
};
use serde_json::json;

use crate::{
    config::{Config, Upstream},
    generation::{Data, Endpoints, Pem},
    object::ObjectKey,
    resolve::{Gateway, certificate::Certificate},
    snapshot::Snapshot,
    syntax::digest,
    translate::certificate_file,
};

/// EndpointSlices by the Service that they belong to.
#[derive(Debug)]
pub struct Slices<'a>(BTreeMap<ObjectKey, Vec<&'a EndpointSlice>>);

impl<'a> Slices<'a> {
    /// All slices of the snapshot.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot) -> Self {
        let mut slices = BTreeMap::<ObjectKey, Vec<&EndpointSlice>>::new();
        for (key, slice) in &snapshot.endpoint_slices {
            let labels = slice.metadata.labels.as_ref();
            if let Some(service) = labels.and_then(|labels| labels.get("kubernetes.io/service-name")) {
                slices
                    .entry(ObjectKey::new(&key.namespace, service))
                    .or_default()
                    .push(slice);
            }
        }
        Self(slices)
    }

    /// Addresses of the endpoints of a Service's port that take requests, by their port, in order: of those that are
    /// ready or, where none is, of those that serve while they are on their way out.
    fn addresses(&self, service: &ObjectKey, port_name: &str) -> BTreeMap<u16, Vec<String>> {
        let ready = self.addresses_of(service, port_name, is_ready);
        if ready.is_empty() {
            self.addresses_of(service, port_name, is_serving)
        } else {
            ready
        }
    }

    fn addresses_of(
        &self,
        service: &ObjectKey,
        port_name: &str,
        takes_requests: fn(&EndpointConditions) -> bool,
    ) -> BTreeMap<u16, Vec<String>> {
        let mut by_port = BTreeMap::<u16, Vec<String>>::new();
        for slice in self.0.get(service).into_iter().flatten() {
            let ports = slice.ports.iter().flatten();
            let named = ports.filter(|port| port.name.as_deref().unwrap_or_default() == port_name);
            for port in named.filter_map(|port| u16::try_from(port.port?).ok()) {
                for endpoint in slice.endpoints.iter().flatten() {
                    if endpoint.conditions.as_ref().is_none_or(takes_requests) {
                        let addresses = endpoint.addresses.iter();
                        let addresses =
                            addresses.filter(|address| address.parse::<std::net::IpAddr>().is_ok());
                        by_port.entry(port).or_default().extend(addresses.cloned());
                    }
                }
            }
        }
        by_port.retain(|_, addresses| {
            addresses.sort();
            addresses.dedup();
            !addresses.is_empty()
        });
        by_port
    }
}

/// Whether an endpoint is ready, which it is unless it says otherwise.
///
/// See <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions>.
fn is_ready(conditions: &EndpointConditions) -> bool {
    conditions.ready != Some(false)
}

/// Whether an endpoint would be ready if its pod were not told to stop.
fn is_serving(conditions: &EndpointConditions) -> bool {
    conditions.serving == Some(true)
}

/// A certificate's file, by name.
fn file(certificate: &Certificate) -> (String, Pem) {
    (certificate_file(&certificate.secret), certificate.pem.clone())
}

/// The data of a gateway whose NGINX runs on `config`.
#[must_use]
pub fn data(gateway: &Gateway, config: &Config, snapshot: &Snapshot, slices: &Slices<'_>) -> Data {
    let endpoints: Vec<Endpoints> = config
        .upstreams
        .iter()
        .map(|(id, upstream)| Endpoints {
            name: Upstream::domain(*id),
            ports: ports(upstream, snapshot, slices),
        })
        .collect();
    let mut certificates = BTreeMap::<String, Pem>::new();
    for tls in gateway
        .listeners
        .iter()
        .filter(|listener| listener.serves)
        .filter_map(|listener| listener.tls.as_ref())
    {
        certificates.extend(tls.certificates.iter().map(file));
    }
    certificates.extend(gateway.client_certificate.iter().map(file));
    let legs = config.legs.clone();
    let proxy = config.settings.proxy.clone();
    let content = json!([endpoints, certificates, legs, proxy]).to_string();
    Data {
        version: digest([content.as_bytes()]),
        endpoints,
        certificates,
        legs,
        proxy,
    }
}

fn ports(upstream: &Upstream, snapshot: &Snapshot, slices: &Slices<'_>) -> BTreeMap<u16, Vec<String>> {
    match upstream {
        Upstream::Service {
            namespace,
            service,
            port,
        } => {
            let key = ObjectKey::new(namespace, service);
            let service = snapshot.services.get(&key);
            let name = service.and_then(|service| port_name(service, *port));
            name.map(|name| slices.addresses(&key, name)).unwrap_or_default()
        }
        Upstream::Pool {
            namespace,
            pool,
            ports,
        } => pods::endpoints(snapshot, &ObjectKey::new(namespace, pool), ports),
    }
}

/// Name of a Service's port, which its endpoints' ports share; empty where it has none.
fn port_name(service: &Service, port: u16) -> Option<&str> {
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    let port = ports.iter().find(|candidate| candidate.port == i32::from(port))?;
    Some(port.name.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn slices_of(slice: &str) -> BTreeMap<u16, Vec<String>> {
        let slice: EndpointSlice = serde_saphyr::from_str(slice).expect("an EndpointSlice");
        let mut snapshot = Snapshot::default();
        snapshot
            .endpoint_slices
            .insert(ObjectKey::of(&slice), Arc::new(slice));
        Slices::new(&snapshot).addresses(&ObjectKey::new("default", "shop"), "http")
    }

    #[test]
    fn endpoints_that_are_not_ready_are_left_out() {
        let ready = slices_of(
            r"
            apiVersion: discovery.k8s.io/v1
            kind: EndpointSlice
            metadata: {namespace: default, name: shop-1, labels: {kubernetes.io/service-name: shop}}
            addressType: IPv4
            ports: [{name: http, port: 8080}, {name: metrics, port: 9090}]
            endpoints:
            - addresses: [198.18.0.2]
            - addresses: [198.18.0.1]
              conditions: {ready: true}
            - addresses: [198.18.0.3]
              conditions: {ready: false}
            ",
        );
        assert_eq!(
            ready,
            BTreeMap::from([(8080, vec!["198.18.0.1".to_owned(), "198.18.0.2".to_owned()])])
        );
    }

    #[test]
    fn endpoints_on_their_way_out_serve_where_no_other_is_ready() {
        let addresses = |ready: bool| {
            slices_of(&format!(
                "
                apiVersion: discovery.k8s.io/v1
                kind: EndpointSlice
                metadata: {{namespace: default, name: shop-1, labels: {{kubernetes.io/service-name: shop}}}}
                addressType: IPv4
                ports: [{{name: http, port: 8080}}]
                endpoints:
                - addresses: [198.18.0.1]
                  conditions: {{ready: false, serving: true, terminating: true}}
                - addresses: [198.18.0.2]
                  conditions: {{ready: {ready}, serving: {ready}}}
                "
            ))
        };
        let only = |address: &str| BTreeMap::from([(8080, vec![address.to_owned()])]);
        assert_eq!(addresses(true), only("198.18.0.2"));
        assert_eq!(addresses(false), only("198.18.0.1"));
    }

    #[test]
    fn addresses_that_are_names_are_left_out() {
        let ready = slices_of(
            r"
            apiVersion: discovery.k8s.io/v1
            kind: EndpointSlice
            metadata: {namespace: default, name: shop-1, labels: {kubernetes.io/service-name: shop}}
            addressType: FQDN
            ports: [{name: http, port: 8080}]
            endpoints: [{addresses: [shop.example.com]}]
            ",
        );
        assert_eq!(ready, BTreeMap::new());
    }
}
