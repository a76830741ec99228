//! Makes gateways run: here as processes of this machine, each with an address of its own.

mod addresses;
mod agent;
mod folder;
mod ports;
mod processes;

pub use addresses::{AddressRange, AddressRangeError};
pub use folder::Error;
pub use ports::may_bind_privileged_ports;
pub use processes::{Processes, Settings};

#[cfg(test)]
mod tests;
