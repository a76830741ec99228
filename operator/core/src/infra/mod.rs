//! What must run for a gateway, whatever runs it: pods of a cluster, or processes of this machine.

use std::{collections::BTreeSet, net::IpAddr};

/// What one gateway needs beside its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayInfra {
    /// Addresses that the user asked for; empty to be given one.
    pub addresses: Vec<IpAddr>,
    /// Ports that clients connect to.
    pub ports: BTreeSet<u16>,
}
