use std::time::Duration;

use serde::Serialize;

use super::{Origin, ProxySettings};

/// What holds for all of an NGINX; the defaults are ours where they differ from NGINX's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// The `NginxFleet`s that they are made of, the one that wins first; empty if all are the defaults.
    pub origins: Vec<Origin>,
    /// `worker_processes`; `None` is `auto`.
    pub worker_processes: Option<u16>,
    /// `worker_connections`.
    pub worker_connections: u32,
    /// `client_max_body_size` in bytes; 0 is without limit.
    pub client_max_body_size: u64,
    /// How long NGINX waits.
    pub timeouts: Timeouts,
    /// `access_log`; `None` is off.
    pub access_log: Option<AccessLog>,
    /// `error_log` level.
    pub error_log_level: ErrorLogLevel,
    /// `ssl_protocols`; empty is NGINX's default.
    pub tls_protocols: Vec<&'static str>,
    /// `ssl_ciphers` in OpenSSL's syntax; `None` is NGINX's default.
    pub tls_ciphers: Option<String>,
    /// Where a client's address comes from when a trusted proxy stands before NGINX.
    pub real_ip: Option<RealIp>,
    /// Whether listeners without a fixed address also listen on IPv6.
    pub ipv6: bool,
    /// What holds for all that goes through the agent's proxy; data, which NGINX does not read.
    pub proxy: ProxySettings,
}

/// How long NGINX waits for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    /// `proxy_connect_timeout`.
    pub connect: Duration,
    /// `proxy_read_timeout`.
    pub read: Duration,
    /// `proxy_send_timeout`.
    pub send: Duration,
    /// `keepalive_timeout` of clients' connections.
    pub keepalive: Duration,
    /// `client_header_timeout`.
    pub client_header: Duration,
    /// `client_body_timeout`.
    pub client_body: Duration,
    /// `worker_shutdown_timeout`; `None` waits for every connection.
    pub shutdown: Option<Duration>,
}

/// Format of the access log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum AccessLog {
    /// NGINX's `combined`.
    Combined,
    /// One JSON object a line.
    Json,
    /// As the user wrote it, with NGINX's variables.
    Custom(String),
}

/// What is worth a line in the error log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorLogLevel {
    /// Everything but debugging.
    Info,
    /// Notices and worse.
    Notice,
    /// Warnings and worse.
    Warn,
    /// Errors and worse.
    Error,
    /// Critical conditions and worse.
    Crit,
    /// Alerts and worse.
    Alert,
    /// Emergencies.
    Emerg,
}

/// Where a client's address comes from behind a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RealIp {
    /// `set_real_ip_from`: networks of the proxies that are believed, checked to be CIDR blocks.
    pub trusted: Vec<String>,
    /// Where they say it.
    pub source: RealIpSource,
    /// `real_ip_recursive`.
    pub recursive: bool,
}

/// Where a trusted proxy says the client's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum RealIpSource {
    /// In this header.
    Header(crate::syntax::HeaderName),
    /// In the PROXY protocol, which every listener then expects.
    ProxyProtocol,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            worker_processes: None,
            worker_connections: 16_384,
            client_max_body_size: 0,
            timeouts: Timeouts::default(),
            access_log: Some(AccessLog::Combined),
            error_log_level: ErrorLogLevel::Warn,
            tls_protocols: Vec::new(),
            tls_ciphers: None,
            real_ip: None,
            ipv6: false,
            proxy: ProxySettings::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_mins(5),
            send: Duration::from_mins(1),
            keepalive: Duration::from_secs(75),
            client_header: Duration::from_mins(1),
            client_body: Duration::from_mins(1),
            shutdown: None,
        }
    }
}
