//! What a test stands on: an agent in a folder of its own, an operator, backends, clients.

mod agent;
mod backend;
mod client;
mod config;
mod load;
mod operator;

use std::{
    env,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

pub use self::{
    agent::Agent,
    backend::Backend,
    client::{get, get_stream},
    config::{config, data},
    load::Load,
    operator::Operator,
};

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The NGINX to test with; none, and a word about it, where there is no sufficient one.
pub fn nginx() -> Option<PathBuf> {
    let path = env::var_os("NGINX").map_or_else(|| PathBuf::from("nginx"), PathBuf::from);
    let output = Command::new(&path).arg("-v").output().ok();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stderr).into_owned())
        .unwrap_or_default();
    let version: Vec<u32> = text
        .trim()
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .split('.')
        .map_while(|number| number.parse().ok())
        .collect();
    if version >= vec![1, 27, 4] {
        return Some(path);
    }
    // Not by a macro: their output is only shown when a test fails.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: no NGINX 1.27.4 or newer; set $NGINX to its path"
    );
    None
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
