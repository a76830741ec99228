//! Manifests that many tests share, as YAML.

use std::net::SocketAddr;

/// A class of ours and a Gateway `default/edge` with one plain listener on port 8080.
pub const EDGE: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: flotilla }
spec: { controllerName: flotilla.dev/gateway-controller }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: default }
spec:
  gatewayClassName: flotilla
  listeners:
    - { name: http, protocol: HTTP, port: 8080 }
";

/// An `HTTPRoute` of `default` on the Gateway `edge`, from the rest of its spec in flow style, without braces:
/// `hostnames: [shop.example], rules: […]`.
pub fn route(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{ name: {name}, namespace: default }}\n\
         spec: {{ parentRefs: [{{ name: edge }}], {spec} }}\n"
    )
}

/// An `HTTPRoute` that sends a whole host to port 80 of a Service of `default`.
pub fn route_to(host: &str, service: &str) -> String {
    let name = host.replace('*', "any");
    route(
        &name,
        &format!("hostnames: ['{host}'], rules: [{{ backendRefs: [{{ name: {service}, port: 80 }}] }}]"),
    )
}

/// A Service of `default` with port 80 and, as its endpoints, these addresses; they share one port and one family.
pub fn service(name: &str, endpoints: &[SocketAddr]) -> String {
    let port = endpoints.first().map_or(3000, SocketAddr::port);
    let family = if endpoints.first().is_some_and(SocketAddr::is_ipv6) {
        "IPv6"
    } else {
        "IPv4"
    };
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|endpoint| {
            format!(
                "{{ addresses: ['{}'], conditions: {{ ready: true }} }}",
                endpoint.ip()
            )
        })
        .collect();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: default }}\n\
         spec: {{ ports: [{{ name: http, port: 80, targetPort: {port} }}] }}\n\
         ---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata:\n  name: {name}\n  namespace: default\n  labels: {{ kubernetes.io/service-name: {name} }}\n\
         addressType: {family}\nports: [{{ name: http, port: {port} }}]\nendpoints: [{}]\n",
        endpoints.join(", "),
    )
}
