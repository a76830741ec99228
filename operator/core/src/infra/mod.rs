//! What must run for a gateway, whatever runs it: pods of a cluster, or processes of this machine.
//!
//! ```text
//! GatewayInfra ──objects──> ServiceAccount, ConfigMap, Service, Deployment, PodDisruptionBudget ──covers──> to be applied?
//! addresses <── Service's status
//! ```

mod compare;
mod name;
mod objects;
mod picker;
mod pod;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

pub use compare::{addresses, covers};
pub use objects::{AUDIENCE, Cluster, GATEWAY_NAME_LABEL, KINDS, Object, ObjectKind, objects, objects_key};

pub use picker::{
    DEFAULT_IMAGE, PICKER_KINDS, PickerInfra, ServingCertificate, picker_host, picker_image, picker_objects,
};

/// What one gateway needs beside its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
}
