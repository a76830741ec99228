/// What the operator was told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The `spec.controllerName` of the GatewayClasses that are ours.
    pub controller_name: String,
    /// Where gateways listen.
    pub listen: ListenOn,
    /// What is added to ports below 1024 that the machine does not let us bind; 0 where it does.
    pub privileged_port_shift: u16,
}

/// The addresses that a gateway's NGINX binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenOn {
    /// All of its machine: a pod has a network of its own.
    Every,
    /// Its own alone, as observed; until one is known there is nothing to serve from. For many gateways on one
    /// machine.
    Observed,
}

impl Options {
    /// Our `controllerName` where nothing else is said.
    pub const CONTROLLER_NAME: &str = "flotilla.dev/gateway-controller";
}

impl Default for Options {
    fn default() -> Self {
        Self {
            controller_name: Self::CONTROLLER_NAME.to_owned(),
            listen: ListenOn::Every,
            privileged_port_shift: 0,
        }
    }
}

/// The port that is bound for a listener's port, where that much is added to ports below 1024.
#[must_use]
pub fn bound_port(listener: u16, privileged_port_shift: u16) -> u16 {
    if listener < 1024 {
        listener + privileged_port_shift
    } else {
        listener
    }
}
