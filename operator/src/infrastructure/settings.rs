//! What all gateways of this machine have in common.

use std::path::PathBuf;

use operator_core::options::bound_port;

use super::addresses::AddressRange;

/// What all agents have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder with one folder per gateway.
    pub gateways: PathBuf,
    /// Where gateways that ask for no address get one from.
    pub addresses: AddressRange,
    /// What is added to ports below 1024.
    pub privileged_port_shift: u16,
    /// The agent's binary.
    pub agent: PathBuf,
    /// NGINX's binary.
    pub nginx: PathBuf,
    /// Where the operator listens for agents.
    pub socket: PathBuf,
}

impl Settings {
    /// The port that stands for a listener's on this machine.
    pub(super) fn bound(&self, port: u16) -> u16 {
        bound_port(port, self.privileged_port_shift)
    }
}
