//! What must run for a gateway, whatever runs it: pods of a cluster, or processes of this machine; and for an endpoint
//! picker, in a cluster.
//!
//! ```text
//! GatewayInfra ──objects──> ServiceAccount, ConfigMap, Service, NetworkPolicy,    ──covers──> to be applied?
//!                           Deployment or DaemonSet, HorizontalPodAutoscaler,     ──ready───> may its predecessor go?
//!                           PodDisruptionBudget
//! PickerInfra ──picker_objects──> ServiceAccount, Role, RoleBinding, ConfigMap, Secret, Service, Deployment,
//!                                 PodDisruptionBudget
//! addresses, node_ports <── Service
//! ```

mod cluster;
mod compare;
mod kind;
mod manifest;
mod name;
mod objects;
mod patch;
mod picker;
mod pod;
mod service;
mod template;
mod workload;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::api::{NginxContainer, NginxNetworkPolicy, NginxPod, NginxService, NginxWorkload};

pub use self::{
    cluster::Cluster,
    compare::{addresses, covers, is_ready, node_ports},
    kind::{DAEMON_SET, DEPLOYMENT, KINDS, ObjectKind, PICKER_KINDS, SECRET, SERVICE},
    manifest::Object,
    objects::{AUDIENCE, GATEWAY_NAME_LABEL, objects, objects_key},
    patch::{container_patch_problems, pod_patch_problems},
    picker::{
        DEFAULT_IMAGE, PICKER_LABEL, PickerInfra, ServingCertificate, observed_picker, picker_host,
        picker_image, picker_names, picker_objects, picker_tls, stored_certificate,
    },
};

/// What one gateway needs beside its configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GatewayInfra {
    /// `metadata.uid` of the Gateway; empty where nobody gave it one.
    pub uid: String,
    /// Addresses that the user asked for; empty to be given one.
    pub addresses: Vec<IpAddr>,
    /// Ports that clients connect to.
    pub ports: BTreeSet<u16>,
    /// Labels that the user wants on everything that runs it.
    pub labels: BTreeMap<String, String>,
    /// Annotations that the user wants on everything that runs it.
    pub annotations: BTreeMap<String, String>,
    /// How it runs in a cluster; `None` as long as what was asked for is not known or makes no sense: then what runs
    /// stays as it is.
    pub provisioning: Option<Provisioning>,
    /// Whether the Gateway is on its way out: then what runs goes with it by itself, and nothing of it is made again.
    pub is_terminating: bool,
}

/// How a gateway runs in a cluster, as its `NginxFleet`s say; they have been checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provisioning {
    /// What has the pods run, and how many.
    pub workload: NginxWorkload,
    /// The pods.
    pub pod: NginxPod,
    /// Their container.
    pub container: NginxContainer,
    /// What clients connect to.
    pub service: NginxService,
    /// Who may connect to the pods.
    pub network_policy: NginxNetworkPolicy,
}
