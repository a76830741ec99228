//! What a test stands on: an agent in a folder of its own, an operator, backends, clients.

mod agent;
mod backend;
mod client;
mod config;
mod load;
mod operator;

use std::{
    env,
    fs::{self, Permissions},
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

pub use self::{
    agent::Agent,
    backend::Backend,
    client::{get, get_stream},
    config::{config, data, data_with_leg, endpoints, over_leg},
    load::Load,
    operator::Operator,
};

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The NGINX to test with; none, and a word about it, where `$NGINX` names none and the path has no sufficient one.
pub fn nginx() -> Option<PathBuf> {
    let named = env::var_os("NGINX").map(PathBuf::from);
    let path = named.clone().unwrap_or_else(|| PathBuf::from("nginx"));
    if version(&path) >= vec![1, 27, 4] {
        return Some(path);
    }
    assert_eq!(named, None, "$NGINX is no NGINX 1.27.4 or newer");
    // Not by a macro: their output is only shown when a test fails.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: no NGINX 1.27.4 or newer; set $NGINX to its path"
    );
    None
}

/// The numbers in `nginx version: nginx/1.30.4`; none of what is no NGINX.
fn version(path: &Path) -> Vec<u32> {
    let output = Command::new(path)
        .arg("-v")
        .output()
        .map(|output| output.stderr)
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&output);
    let version = text.rsplit('/').next().unwrap_or_default();
    version
        .trim()
        .split('.')
        .map_while(|number| number.parse().ok())
        .collect()
}

/// An executable in a folder that does what a shell is told, in the place of NGINX.
pub fn script(folder: &Path, lines: &str) -> PathBuf {
    let path = folder.join("nginx");
    fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    path
}

/// A loopback address that nobody listens on.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Asks until the answer is yes; fails the test when it never is.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < DEADLINE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
