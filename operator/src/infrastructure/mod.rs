//! Makes gateways run: as processes of this machine, each with an address of its own, or as pods of a cluster.

mod addresses;
mod agent;
mod folder;
mod kubernetes;
mod ports;
mod processes;

pub use addresses::{AddressRange, AddressRangeError};
pub use folder::Error;
pub use kubernetes::Kubernetes;
pub use ports::may_bind_privileged_ports;
pub use processes::{Processes, Settings};

#[cfg(test)]
mod tests;
