//! What clients connect to, and who may connect to what.

use serde_json::{Value, json};

use super::{
    kind::{NETWORK_POLICY, SERVICE},
    manifest::{Object, set},
    objects::Maker,
    pod::admin_port,
};
use crate::api::{NginxNetworkPolicy, NginxService, NginxServiceType};

impl Maker<'_> {
    /// What clients connect to. Without a port there can be none, but one that is there may stay: its address is worth
    /// keeping while somebody repairs the listeners.
    ///
    /// Settings that are for another type than the one that was chosen in the end are left out.
    pub(super) fn service(&self, service: &NginxService) -> Object {
        if self.infra.ports.is_empty() {
            return Object::as_it_is(SERVICE);
        }
        let NginxService {
            type_: _,
            load_balancer_class,
            labels,
            annotations,
            external_traffic_policy,
            load_balancer_source_ranges,
            ip_family_policy,
            ip_families,
            node_ports: _,
        } = service;
        let type_ = service.type_();
        let ports = self.infra.ports.iter().map(|port| service_port(service, *port));
        let mut spec = json!({
            "type": type_,
            "selector": self.selector(),
            "ports": ports.collect::<Vec<_>>(),
        });
        let mut external_ips = &self.infra.addresses[..];
        if *type_ == NginxServiceType::LoadBalancer {
            if let Some((first, others)) = external_ips.split_first() {
                spec["loadBalancerIP"] = json!(first);
                external_ips = others;
            }
            set(&mut spec, "loadBalancerClass", load_balancer_class.as_ref());
            set(
                &mut spec,
                "loadBalancerSourceRanges",
                load_balancer_source_ranges.as_ref(),
            );
        }
        if !external_ips.is_empty() {
            spec["externalIPs"] = json!(external_ips);
        }
        if *type_ != NginxServiceType::ClusterIp {
            set(
                &mut spec,
                "externalTrafficPolicy",
                external_traffic_policy.as_ref(),
            );
        }
        set(&mut spec, "ipFamilyPolicy", ip_family_policy.as_ref());
        set(&mut spec, "ipFamilies", ip_families.as_ref());
        let labels = labels.clone().unwrap_or_default();
        let annotations = annotations.clone().unwrap_or_default();
        self.marked_object(SERVICE, json!({"spec": spec}), labels, annotations)
    }

    /// Lets everybody come to the listeners and those who may to the metrics; none if nobody asked for it.
    pub(super) fn network_policy(&self, policy: &NginxNetworkPolicy) -> Option<Object> {
        if policy.enabled != Some(true) {
            return None;
        }
        let port = |port: u16| json!({"port": port, "protocol": "TCP"});
        let mut metrics = json!({"ports": [port(admin_port(self.infra))]});
        set(&mut metrics, "from", policy.metrics_from.as_ref());
        let listeners: Vec<Value> = self.infra.ports.iter().copied().map(port).collect();
        // A rule without ports would be one for all of them.
        let listeners = (!listeners.is_empty()).then(|| json!({"ports": listeners}));
        let rules: Vec<Value> = listeners.into_iter().chain([metrics]).collect();
        let spec = json!({
            "podSelector": {"matchLabels": self.selector()},
            "policyTypes": ["Ingress"],
            "ingress": rules,
        });
        Some(self.object(NETWORK_POLICY, json!({"spec": spec})))
    }
}

/// A listener's port, on the nodes too where it must be a certain one there.
fn service_port(service: &NginxService, port: u16) -> Value {
    let mut entry = json!({"name": format!("port-{port}"), "port": port, "protocol": "TCP"});
    let mut node_ports = service.node_ports.iter().flatten();
    let node_port = node_ports.find(|node_port| node_port.port == i32::from(port));
    if *service.type_() != NginxServiceType::ClusterIp {
        set(
            &mut entry,
            "nodePort",
            node_port.map(|node_port| &node_port.node_port),
        );
    }
    entry
}
