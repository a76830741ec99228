//! Manifests of `InferencePool`s and of what belongs to them, as YAML.

use std::net::{IpAddr, SocketAddr};

use crate::manifests::route;

/// An `InferencePool` of `default` over the pods with the label `app: {name}`, from the rest of its spec in flow style,
/// without braces: `targetPorts: [{ number: 8000 }]`.
pub fn pool(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: inference.networking.k8s.io/v1\nkind: InferencePool\n\
         metadata: {{ name: {name}, namespace: default }}\n\
         spec: {{ selector: {{ matchLabels: {{ app: {name} }} }}, {spec} }}\n"
    )
}

/// The same with pods at one port and with a picker; see [`picked_by`].
pub fn picked_pool(name: &str, port: u16, picker: &str, failure_mode: &str) -> String {
    let picked_by = picked_by(picker, failure_mode);
    pool(name, &format!("targetPorts: [{{ number: {port} }}], {picked_by}"))
}

/// The field of a pool that says to whom to turn for a choice, and what if that is in vain: `FailOpen` or `FailClose`.
pub fn picked_by(picker: &str, failure_mode: &str) -> String {
    format!("endpointPickerRef: {{ name: {picker}, port: {{ number: 9002 }}, failureMode: {failure_mode} }}")
}

/// Pods of `default` with the label `app: {app}`, all ready, called `{app}-{last octet}`.
pub fn pods<Address: Into<IpAddr> + Copy>(app: &str, addresses: &[Address]) -> String {
    let pods = addresses.iter().map(|address| {
        let address: IpAddr = (*address).into();
        let host = match address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        };
        format!(
            "apiVersion: v1\nkind: Pod\n\
             metadata: {{ name: {app}-{host}, namespace: default, labels: {{ app: {app} }} }}\n\
             spec: {{ containers: [{{ name: server, image: server }}] }}\n\
             status: {{ phase: Running, podIP: '{address}', conditions: [{{ type: Ready, status: 'True' }}] }}\n"
        )
    });
    pods.collect::<Vec<_>>().join("---\n")
}

/// A picker's Service of `default` in plain text, with its endpoint.
pub fn picker(name: &str, address: SocketAddr) -> String {
    service(name, address, "appProtocol: kubernetes.io/h2c, ")
}

/// A picker's Service of `default` as people write it, which means TLS with any certificate.
pub fn picker_with_tls(name: &str, address: SocketAddr) -> String {
    service(name, address, "")
}

fn service(name: &str, address: SocketAddr, protocol: &str) -> String {
    let (ip, port) = (address.ip(), address.port());
    let family = if ip.is_ipv6() { "IPv6" } else { "IPv4" };
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: default }}\n\
         spec: {{ ports: [{{ name: grpc, {protocol}port: 9002, targetPort: {port} }}] }}\n\
         ---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata:\n  name: {name}\n  namespace: default\n  labels: {{ kubernetes.io/service-name: {name} }}\n\
         addressType: {family}\nports: [{{ name: grpc, port: {port} }}]\n\
         endpoints: [{{ addresses: ['{ip}'], conditions: {{ ready: true }} }}]\n"
    )
}

/// An `HTTPRoute` that sends a whole host to a pool, after which it is called.
pub fn route_to(host: &str, pool: &str) -> String {
    let backend = backend(pool);
    route(
        pool,
        &format!("hostnames: [{host}], rules: [{{ backendRefs: [{backend}] }}]"),
    )
}

/// A `backendRefs` entry of a pool.
pub fn backend(pool: &str) -> String {
    format!("{{ group: inference.networking.k8s.io, kind: InferencePool, name: {pool} }}")
}
