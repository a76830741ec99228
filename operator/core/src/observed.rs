//! What is known of the world outside the objects.

use std::collections::BTreeMap;

use crate::{config::BackendTls, object::ObjectKey};

/// What agents and infrastructure report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// By gateway.
    pub gateways: BTreeMap<ObjectKey, ObservedGateway>,
    /// By `EndpointPicker`.
    pub pickers: BTreeMap<ObjectKey, ObservedPicker>,
    /// Certificates of the authorities that certificates of our pickers come from, in PEM; empty before the first.
    pub authorities: String,
}

/// What is known of one endpoint picker that we run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedPicker {
    /// Pods that pick.
    pub ready: i32,
    /// Pods that there are to be.
    pub wanted: i32,
    /// Why it does not run as asked.
    pub failure: Option<String>,
    /// Its pods, each with what keeps it from picking until somebody does something about that, said of the pod by a
    /// verb.
    pub pods: BTreeMap<String, Option<String>>,
}

/// What is known of one gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedGateway {
    /// Addresses that clients can reach it at, as text.
    pub addresses: Vec<String>,
    /// Ports of the cluster's nodes by the listener's port that they lead to, where clients are to come that way.
    pub node_ports: BTreeMap<u16, u16>,
    /// `NAMESPACE/NAME` of its Service, where that waits for the address of a load balancer.
    pub unaddressed_service: Option<String>,
    /// Why the infrastructure could not give it what it needs; `None` if it did, or has not tried yet.
    pub failure: Option<InfrastructureFailure>,
    /// Its pods in a cluster, each with what keeps it from serving until somebody does something about that, said of the
    /// pod by a verb: `cannot be scheduled: …`.
    pub pods: BTreeMap<String, Option<String>>,
    /// Why the cluster makes no pods that are still missing.
    pub missing_pods: Option<String>,
    /// What its agents report, by name of pod or process.
    pub instances: BTreeMap<String, Instance>,
}

/// Why a gateway cannot run as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InfrastructureFailure {
    /// An address of `spec.addresses` cannot be had; the message says why.
    AddressNotUsable(String),
    /// Anything else; the message says what.
    Other(String),
}

/// What one agent reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Version of the configuration that its NGINX serves; empty before the first.
    pub config: String,
    /// Whether it takes requests.
    pub ready: bool,
    /// Why it does not serve a newer one.
    pub rejection: Option<Rejection>,
    /// Endpoint pickers that it does not speak with because of their TLS.
    pub refused_pickers: Vec<RefusedPicker>,
}

/// An endpoint of a picker whose TLS is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPicker {
    /// The picker's domain.
    pub domain: String,
    /// What was asked for: routes of the configuration before may still ask for something else.
    pub tls: BackendTls,
    /// Its address and port.
    pub address: String,
    /// What is wrong with its TLS.
    pub reason: String,
}

/// NGINX's refusal of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejection {
    /// Version of the configuration.
    pub config: String,
    /// NGINX's words.
    pub message: String,
    /// File that it names, relative to the configuration; empty if none.
    pub file: String,
    /// Line in that file, from 1; 0 if none.
    pub line: usize,
}
