//! The Service that clients reach a gateway through.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::field_by_field;
use crate::api::string_enum::string_enum;

/// The Service that clients reach a gateway through; addresses that must be certain ones are asked for in the Gateway's
/// `spec.addresses`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.type) || self.type == 'LoadBalancer' || !has(self.loadBalancerClass)",
        "message": "loadBalancerClass is for type LoadBalancer",
    },
    {
        "rule": "!has(self.type) || self.type == 'LoadBalancer' || !has(self.loadBalancerSourceRanges)",
        "message": "loadBalancerSourceRanges is for type LoadBalancer",
    },
    {
        "rule": "!has(self.type) || self.type != 'ClusterIP' || !has(self.externalTrafficPolicy)",
        "message": "externalTrafficPolicy is for types LoadBalancer and NodePort",
    },
    {
        "rule": "!has(self.type) || self.type != 'ClusterIP' || !has(self.nodePorts)",
        "message": "nodePorts is for types LoadBalancer and NodePort",
    },
    {
        "rule": "!has(self.ipFamilies) || self.ipFamilies.size() < 2 || self.ipFamilies[0] != self.ipFamilies[1]",
        "message": "ipFamilies names one family twice",
    },
    {
        "rule": "!has(self.ipFamilies) || self.ipFamilies.size() < 2 || !has(self.ipFamilyPolicy) || self.ipFamilyPolicy != 'SingleStack'",
        "message": "ipFamilies names two families, and ipFamilyPolicy SingleStack is for one",
    },
]))]
pub struct NginxService {
    /// `LoadBalancer` has the cluster's load balancer give the Gateway an address, `NodePort` a port of each node for
    /// each listener, `ClusterIP` an address for the cluster alone. Default: `LoadBalancer`.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/services-networking/service/#publishing-services-service-types>.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<NginxServiceType>,

    /// Which load balancer is to take it, where a cluster has several; it cannot be changed later. Default: the
    /// cluster's.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/services-networking/service/#load-balancer-class>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,

    /// Labels of the Service, beside those of the Gateway's infrastructure, which win, and Flotilla's own. Default:
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: Option<BTreeMap<String, String>>,

    /// Annotations of the Service, which is where most load balancers take settings from, beside those of the Gateway's
    /// infrastructure, which win. Default: none.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/services-networking/service/#internal-load-balancer>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: Option<BTreeMap<String, String>>,

    /// Local keeps clients' addresses and lets only nodes take connections that run a pod of the Gateway; with Cluster
    /// every node does. Default: Cluster.
    /// Kubernetes: <https://kubernetes.io/docs/reference/networking/virtual-ips/#external-traffic-policy>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<NginxTrafficPolicy>,

    /// Networks of the clients that the load balancer lets in, for example `203.0.113.0/24`. Default: all.
    /// Kubernetes: <https://kubernetes.io/docs/tasks/access-application-cluster/configure-cloud-provider-firewall/>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub load_balancer_source_ranges: Option<Vec<String>>,

    /// Whether the Service has addresses of IPv4 and IPv6. Where both are possible NGINX listens on both, unless
    /// `nginx.ipv6` says otherwise. Default: `SingleStack`.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/services-networking/dual-stack/>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_family_policy: Option<NginxIpFamilyPolicy>,

    /// Families of the Service's addresses, the more important one first. Default: the cluster's.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/services-networking/dual-stack/>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2))]
    pub ip_families: Option<Vec<NginxIpFamily>>,

    /// Ports of the nodes that listeners have, where they must be certain ones. Default: any.
    /// Kubernetes: <https://kubernetes.io/docs/concepts/services-networking/service/#type-nodeport>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["port"])
    )]
    pub node_ports: Option<Vec<NginxNodePort>>,
}

/// The port of the nodes that a listener has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NginxNodePort {
    /// Port of the listener.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,

    /// Port of the nodes, mostly from 30000 to 32767.
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: i32,
}

string_enum! {
    /// Where a Service can be reached from.
    #[derive(Default)]
    pub enum NginxServiceType {
        /// Wherever the cluster's load balancer serves.
        #[default]
        LoadBalancer = "LoadBalancer",
        /// Wherever the nodes can be reached.
        NodePort = "NodePort",
        /// The cluster.
        ClusterIp = "ClusterIP",
    }
}

string_enum! {
    /// Which nodes take connections from outside.
    pub enum NginxTrafficPolicy {
        /// Every one.
        Cluster = "Cluster",
        /// Those that run a pod.
        Local = "Local",
    }
}

string_enum! {
    /// Whether a Service has addresses of both families.
    pub enum NginxIpFamilyPolicy {
        /// Of one.
        SingleStack = "SingleStack",
        /// Of both where the cluster can.
        PreferDualStack = "PreferDualStack",
        /// Of both.
        RequireDualStack = "RequireDualStack",
    }
}

string_enum! {
    /// A family of addresses.
    pub enum NginxIpFamily {
        /// 32 bits.
        Ipv4 = "IPv4",
        /// 128 bits.
        Ipv6 = "IPv6",
    }
}

impl NginxService {
    /// Where it can be reached from; wherever the load balancer serves by default.
    #[must_use]
    pub fn type_(&self) -> &NginxServiceType {
        self.type_.as_ref().unwrap_or(&NginxServiceType::LoadBalancer)
    }

    /// Whether it may have addresses of IPv6.
    #[must_use]
    pub fn may_have_ipv6(&self) -> bool {
        let families = self.ip_families.as_deref().unwrap_or_default();
        let policy = self.ip_family_policy.as_ref();
        families.contains(&NginxIpFamily::Ipv6)
            || policy.is_some_and(|policy| *policy != NginxIpFamilyPolicy::SingleStack)
    }
}

field_by_field!(NginxService {
    type_,
    load_balancer_class,
    labels,
    annotations,
    external_traffic_policy,
    load_balancer_source_ranges,
    ip_family_policy,
    ip_families,
    node_ports
});
