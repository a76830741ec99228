//! Settings of NGINX itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::field_by_field;
use crate::api::{ByteSize, Duration, string_enum::string_enum};

/// Settings of NGINX itself; what is absent has the default that is named with the field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NginxSettings {
    /// Number of worker processes. Default: one per CPU that the gateway may use, see `container.resources`.
    /// NGINX: <https://nginx.org/en/docs/ngx_core_module.html#worker_processes>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub worker_processes: Option<i32>,

    /// Most connections that a worker process has open at once, those to backends included. Default: 16384.
    /// NGINX: <https://nginx.org/en/docs/ngx_core_module.html#worker_connections>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 1_048_576))]
    pub worker_connections: Option<i32>,

    /// Longest body of a request, in bytes or as a quantity such as `8Mi`; longer ones are answered with 413.
    /// 0 is no limit. Default: 0.
    /// NGINX: <https://nginx.org/en/docs/http/ngx_http_core_module.html#client_max_body_size>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_max_body_size: Option<ByteSize>,

    /// How long NGINX waits for clients and backends.
    #[serde(default, skip_serializing_if = "NginxTimeouts::is_default")]
    pub timeouts: NginxTimeouts,

    /// The line that is written for each request.
    #[serde(default, skip_serializing_if = "NginxAccessLog::is_default")]
    pub access_log: NginxAccessLog,

    /// Least severity of messages that are worth a line in the error log. Default: warn.
    /// NGINX: <https://nginx.org/en/docs/ngx_core_module.html#error_log>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_log_level: Option<NginxErrorLogLevel>,

    /// TLS with clients.
    #[serde(default, skip_serializing_if = "NginxTls::is_default")]
    pub tls: NginxTls,

    /// Where the address of a client comes from if a load balancer or proxy stands before the gateway.
    #[serde(default, skip_serializing_if = "NginxRealIp::is_default")]
    pub real_ip: NginxRealIp,

    /// Whether listeners accept connections over IPv6 as well as IPv4. Default: where the Service has an address of
    /// IPv6.
    /// NGINX: <https://nginx.org/en/docs/http/ngx_http_core_module.html#listen>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<bool>,
}

/// How long NGINX waits, each as hours, minutes, seconds and milliseconds such as `1m30s` or `500ms`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NginxTimeouts {
    /// For a connection to a backend. Default: 5s.
    /// NGINX: <https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_connect_timeout>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Duration>,

    /// For the next bytes of a backend's response, not for all of it. Default: 5m.
    /// NGINX: <https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_read_timeout>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Duration>,

    /// For a backend to take the next bytes of the request, not all of it. Default: 60s.
    /// NGINX: <https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_send_timeout>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<Duration>,

    /// For the next request on a client's connection. Default: 75s.
    /// NGINX: <https://nginx.org/en/docs/http/ngx_http_core_module.html#keepalive_timeout>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<Duration>,

    /// For all headers of a request. Default: 60s.
    /// NGINX: <https://nginx.org/en/docs/http/ngx_http_core_module.html#client_header_timeout>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_header: Option<Duration>,

    /// For the next bytes of a request's body, not for all of it. Default: 60s.
    /// NGINX: <https://nginx.org/en/docs/http/ngx_http_core_module.html#client_body_timeout>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_body: Option<Duration>,

    /// For the connections of a replaced worker process, before it closes them. Default: as long as they last.
    /// NGINX: <https://nginx.org/en/docs/ngx_core_module.html#worker_shutdown_timeout>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<Duration>,
}

/// The line that is written for each request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NginxAccessLog {
    /// Whether no line is written. Default: false.
    /// NGINX: <https://nginx.org/en/docs/http/ngx_http_log_module.html#access_log>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,

    /// Shape of the line: Combined is NGINX's own, Json an object with a field per property of the request,
    /// Custom the one in customFormat. Default: Combined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<NginxAccessLogFormat>,

    /// The line for the format Custom, with NGINX's variables, for example `$remote_addr $request $status`.
    /// NGINX: <https://nginx.org/en/docs/http/ngx_http_log_module.html#log_format>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub custom_format: Option<String>,
}

string_enum! {
    /// Shape of a line of the access log.
    #[derive(Default)]
    pub enum NginxAccessLogFormat {
        /// NGINX's own.
        #[default]
        Combined = "Combined",
        /// A JSON object.
        Json = "Json",
        /// [`NginxAccessLog::custom_format`].
        Custom = "Custom",
    }
}

string_enum! {
    /// Severity of a message in the error log, least first.
    pub enum NginxErrorLogLevel {
        /// What happened.
        Info = "info",
        /// What happened and matters.
        Notice = "notice",
        /// What may become an error.
        Warn = "warn",
        /// What failed.
        Error = "error",
        /// What failed and will fail again.
        Crit = "crit",
        /// What somebody must act on.
        Alert = "alert",
        /// What stops NGINX.
        Emerg = "emerg",
    }
}

/// TLS with clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NginxTls {
    /// Versions of TLS that clients may use. Default: TLSv1.2 and TLSv1.3.
    /// NGINX: <https://nginx.org/en/docs/http/ngx_http_ssl_module.html#ssl_protocols>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2))]
    pub protocols: Option<Vec<NginxTlsProtocol>>,

    /// Ciphers for TLS 1.2 in the syntax of OpenSSL. Default: `HIGH:!aNULL:!MD5`.
    /// NGINX: <https://nginx.org/en/docs/http/ngx_http_ssl_module.html#ssl_ciphers>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub ciphers: Option<String>,
}

string_enum! {
    /// A version of TLS.
    pub enum NginxTlsProtocol {
        /// TLS 1.2.
        Tls12 = "TLSv1.2",
        /// TLS 1.3.
        Tls13 = "TLSv1.3",
    }
}

/// Where the address of a client comes from; nothing is believed until `trustedCidrs` names who is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NginxRealIp {
    /// Networks of the load balancers and proxies that are believed, for example `10.0.0.0/8`. Default: none.
    /// NGINX: <https://nginx.org/en/docs/http/ngx_http_realip_module.html#set_real_ip_from>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub trusted_cidrs: Option<Vec<String>>,

    /// Where they say the address: Header, or `ProxyProtocol`, which every listener then expects of every client.
    /// Default: Header.
    /// NGINX: <https://nginx.org/en/docs/http/ngx_http_realip_module.html#real_ip_header>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<NginxRealIpSource>,

    /// The header for the source Header. Default: X-Forwarded-For.
    /// NGINX: <https://nginx.org/en/docs/http/ngx_http_realip_module.html#real_ip_header>.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub header: Option<String>,

    /// Whether the last address in the header that is not trusted is taken, instead of the last one. Default: false.
    /// NGINX: <https://nginx.org/en/docs/http/ngx_http_realip_module.html#real_ip_recursive>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recursive: Option<bool>,
}

string_enum! {
    /// Where a trusted proxy says the address of a client.
    #[derive(Default)]
    pub enum NginxRealIpSource {
        /// In a header.
        #[default]
        Header = "Header",
        /// In the PROXY protocol, before anything else on the connection.
        ProxyProtocol = "ProxyProtocol",
    }
}

field_by_field!(NginxSettings {
    worker_processes,
    worker_connections,
    client_max_body_size,
    timeouts,
    access_log,
    error_log_level,
    tls,
    real_ip,
    ipv6
});
field_by_field!(NginxTimeouts {
    connect,
    read,
    send,
    keepalive,
    client_header,
    client_body,
    shutdown
});
field_by_field!(NginxAccessLog {
    disabled,
    format,
    custom_format
});
field_by_field!(NginxTls { protocols, ciphers });
field_by_field!(NginxRealIp {
    trusted_cidrs,
    source,
    header,
    recursive
});
