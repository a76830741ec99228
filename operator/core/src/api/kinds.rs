//! The one list of the kinds that the operator watches.

/// Calls a macro with one line per watched kind: the field that holds its objects, its type, its kind.
///
/// Snapshot, stores and watches are made from it, so that a kind added here is a kind everywhere:
///
/// ```
/// macro_rules! plural_names {
///     ($($field:ident: $type:ty = $kind:literal,)*) => { [$(stringify!($field)),*] };
/// }
/// assert!(operator_core::with_kinds!(plural_names).contains(&"http_routes"));
/// ```
#[macro_export]
macro_rules! with_kinds {
    ($callback:ident) => {
        $callback! {
            gateway_classes: $crate::api::GatewayClass = "GatewayClass",
            gateways: $crate::api::Gateway = "Gateway",
            listener_sets: $crate::api::ListenerSet = "ListenerSet",
            http_routes: $crate::api::HttpRoute = "HTTPRoute",
            grpc_routes: $crate::api::GrpcRoute = "GRPCRoute",
            tls_routes: $crate::api::TlsRoute = "TLSRoute",
            tcp_routes: $crate::api::TcpRoute = "TCPRoute",
            udp_routes: $crate::api::UdpRoute = "UDPRoute",
            reference_grants: $crate::api::ReferenceGrant = "ReferenceGrant",
            backend_tls_policies: $crate::api::BackendTlsPolicy = "BackendTLSPolicy",
            inference_pools: $crate::api::InferencePool = "InferencePool",
            nginx_fleets: $crate::api::NginxFleet = "NginxFleet",
            endpoint_pickers: $crate::api::EndpointPicker = "EndpointPicker",
            services: $crate::api::Service = "Service",
            pods: $crate::api::Pod = "Pod",
            endpoint_slices: $crate::api::EndpointSlice = "EndpointSlice",
            secrets: $crate::api::Secret = "Secret",
            config_maps: $crate::api::ConfigMap = "ConfigMap",
            namespaces: $crate::api::Namespace = "Namespace",
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn kinds_are_those_of_their_types() {
        macro_rules! check {
            ($($field:ident: $type:ty = $kind:literal,)*) => {
                $( assert_eq!(<$type as kube::Resource>::kind(&()), $kind, stringify!($field)); )*
            };
        }
        with_kinds!(check);
    }
}
