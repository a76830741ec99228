//! Ports below 1024, which a machine may keep for its administrator.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
};

/// Whether this process may listen on ports below 1024: asked by trying, for the rules are many (root, capabilities,
/// `net.ipv4.ip_unprivileged_port_start`).
#[must_use]
pub fn may_bind_privileged_ports() -> bool {
    for port in (1..1024).rev() {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return true,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return false,
            // Somebody has it; the next port will tell.
            Err(_) => {}
        }
    }
    false
}
