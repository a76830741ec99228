//! Makes gateways run: as processes of this machine, each with an address of its own, or as pods of a cluster. There
//! endpoint pickers run as well; where they do not, `decline_pickers` says so.

mod addresses;
mod agent;
mod decline;
mod folder;
pub mod kubernetes;
mod ports;
mod processes;
mod settings;

pub use addresses::{AddressRange, AddressRangeError};
pub use decline::decline_pickers;
pub use folder::Error;
pub use ports::may_bind_privileged_ports;
pub use processes::Processes;
pub use settings::Settings;

#[cfg(test)]
mod tests;
