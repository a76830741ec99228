//! The part of an `NginxFleet` that is for NGINX itself.

use std::{net::IpAddr, time::Duration};

use super::Check;
use crate::{
    api::{
        self, NginxAccessLog, NginxAccessLogFormat, NginxErrorLogLevel, NginxRealIp, NginxRealIpSource,
        NginxSettings, NginxTimeouts, NginxTls, NginxTlsProtocol,
    },
    config::{AccessLog, ErrorLogLevel, RealIp, RealIpSource, Settings, Timeouts},
    syntax::HeaderName,
};

/// Most bytes of a text that is printed as one parameter: NGINX reads at most 4,096 of them, and each may be escaped.
const LONGEST_TEXT: usize = 2000;

/// What NGINX itself is told; whatever is absent or wrong has its default.
pub(super) fn settings(check: &mut Check, nginx: &NginxSettings) -> Settings {
    let NginxSettings {
        worker_processes,
        worker_connections,
        client_max_body_size,
        timeouts,
        access_log,
        error_log_level,
        tls: NginxTls { protocols, ciphers },
        real_ip,
        ipv6,
    } = nginx;
    let default = Settings::default();
    Settings {
        origins: Vec::new(),
        worker_processes: check.field(
            "workerProcesses",
            worker_processes.as_ref(),
            "a number from 1 to 1024",
            |number| {
                u16::try_from(*number)
                    .ok()
                    .filter(|number| (1..=1024).contains(number))
            },
        ),
        worker_connections: check
            .field(
                "workerConnections",
                worker_connections.as_ref(),
                "a number from 16 to 1048576",
                |number| {
                    u32::try_from(*number)
                        .ok()
                        .filter(|number| (16..=1_048_576).contains(number))
                },
            )
            .unwrap_or(default.worker_connections),
        client_max_body_size: check
            .field(
                "clientMaxBodySize",
                client_max_body_size.as_ref(),
                "a number of bytes, or a quantity such as 8Mi",
                api::ByteSize::bytes,
            )
            .unwrap_or(default.client_max_body_size),
        timeouts: self::timeouts(check, timeouts),
        access_log: self::access_log(check, access_log),
        error_log_level: check
            .field(
                "errorLogLevel",
                error_log_level.as_ref(),
                "one of info, notice, warn, error, crit, alert and emerg",
                log_level,
            )
            .unwrap_or(default.error_log_level),
        tls_protocols: check
            .field(
                "tls.protocols",
                protocols.as_ref(),
                "a list of TLSv1.2 and TLSv1.3",
                |protocols| protocols.iter().map(tls_protocol).collect(),
            )
            .unwrap_or_default(),
        tls_ciphers: check.field(
            "tls.ciphers",
            ciphers.as_ref(),
            "a list of ciphers in OpenSSL's syntax, such as HIGH:!aNULL",
            |ciphers| is_cipher_list(ciphers).then(|| ciphers.clone()),
        ),
        real_ip: self::real_ip(check, real_ip),
        ipv6: ipv6.unwrap_or(default.ipv6),
        proxy: default.proxy,
    }
}

fn timeouts(check: &mut Check, timeouts: &NginxTimeouts) -> Timeouts {
    let NginxTimeouts {
        connect,
        read,
        send,
        keepalive,
        client_header,
        client_body,
        shutdown,
    } = timeouts;
    let default = Timeouts::default();
    let connect = check.positive_duration("timeouts.connect", connect.as_ref());
    let read = check.positive_duration("timeouts.read", read.as_ref());
    let send = check.positive_duration("timeouts.send", send.as_ref());
    let client_header = check.positive_duration("timeouts.clientHeader", client_header.as_ref());
    let client_body = check.positive_duration("timeouts.clientBody", client_body.as_ref());
    let mut any = |field, timeout: &Option<api::Duration>| {
        check.field(
            field,
            timeout.as_ref(),
            "a duration, such as 90s",
            api::Duration::length,
        )
    };
    Timeouts {
        connect: connect.unwrap_or(default.connect),
        read: read.unwrap_or(default.read),
        send: send.unwrap_or(default.send),
        keepalive: any("timeouts.keepalive", keepalive).unwrap_or(default.keepalive),
        client_header: client_header.unwrap_or(default.client_header),
        client_body: client_body.unwrap_or(default.client_body),
        // NGINX takes 0 for "wait for every connection" as well.
        shutdown: any("timeouts.shutdown", shutdown).filter(|length| *length != Duration::ZERO),
    }
}

/// What is written for each request. A wrong format does not silence the log.
fn access_log(check: &mut Check, log: &NginxAccessLog) -> Option<AccessLog> {
    let NginxAccessLog {
        disabled,
        format,
        custom_format,
    } = log;
    let fits = |format: &&String| (1..=LONGEST_TEXT).contains(&format.len());
    let remedy = "Combined, Json, or Custom with a customFormat of at most 2000 bytes";
    let format = check.field(
        "accessLog.format",
        format.as_ref(),
        remedy,
        |format| match format {
            NginxAccessLogFormat::Combined => Some(AccessLog::Combined),
            NginxAccessLogFormat::Json => Some(AccessLog::Json),
            NginxAccessLogFormat::Custom => custom_format
                .as_ref()
                .filter(fits)
                .cloned()
                .map(AccessLog::Custom),
            NginxAccessLogFormat::Unknown(_) => None,
        },
    );
    let enabled = !disabled.unwrap_or(false);
    enabled.then(|| format.unwrap_or(AccessLog::Combined))
}

/// Where clients' addresses come from; `None` as long as nobody is trusted.
fn real_ip(check: &mut Check, real_ip: &NginxRealIp) -> Option<RealIp> {
    let NginxRealIp {
        trusted_cidrs,
        source,
        header,
        recursive,
    } = real_ip;
    let header = check.field("realIp.header", header.as_ref(), "a header's name", |header| {
        HeaderName::new(header)
    });
    let remedy = "Header or ProxyProtocol";
    let source = check.field("realIp.source", source.as_ref(), remedy, |source| match source {
        NginxRealIpSource::Header => Some(None),
        NginxRealIpSource::ProxyProtocol => Some(Some(RealIpSource::ProxyProtocol)),
        NginxRealIpSource::Unknown(_) => None,
    });
    let remedy = "a list of networks such as 10.0.0.0/8";
    let trusted = check.field("realIp.trustedCidrs", trusted_cidrs.as_ref(), remedy, |cidrs| {
        cidrs.iter().all(|cidr| is_cidr(cidr)).then(|| cidrs.clone())
    })?;
    let header = header.or_else(|| HeaderName::new("X-Forwarded-For"));
    (!trusted.is_empty()).then_some(RealIp {
        trusted,
        source: source.flatten().or_else(|| header.map(RealIpSource::Header))?,
        recursive: recursive.unwrap_or(false),
    })
}

fn log_level(level: &NginxErrorLogLevel) -> Option<ErrorLogLevel> {
    Some(match level {
        NginxErrorLogLevel::Info => ErrorLogLevel::Info,
        NginxErrorLogLevel::Notice => ErrorLogLevel::Notice,
        NginxErrorLogLevel::Warn => ErrorLogLevel::Warn,
        NginxErrorLogLevel::Error => ErrorLogLevel::Error,
        NginxErrorLogLevel::Crit => ErrorLogLevel::Crit,
        NginxErrorLogLevel::Alert => ErrorLogLevel::Alert,
        NginxErrorLogLevel::Emerg => ErrorLogLevel::Emerg,
        NginxErrorLogLevel::Unknown(_) => return None,
    })
}

fn tls_protocol(protocol: &NginxTlsProtocol) -> Option<&'static str> {
    match protocol {
        NginxTlsProtocol::Tls12 => Some("TLSv1.2"),
        NginxTlsProtocol::Tls13 => Some("TLSv1.3"),
        NginxTlsProtocol::Unknown(_) => None,
    }
}

/// Whether OpenSSL could read this as a list of ciphers; which ones it knows is for NGINX to say.
///
/// See <https://docs.openssl.org/3.0/man1/openssl-ciphers/#cipher-list-format>.
fn is_cipher_list(ciphers: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b":!+-@=_,. ".contains(&byte);
    !ciphers.trim().is_empty() && ciphers.len() <= LONGEST_TEXT && ciphers.bytes().all(known)
}

/// Whether this is an address, or one with the length of a prefix that it can have.
fn is_cidr(cidr: &str) -> bool {
    let (address, length) = cidr.split_once('/').unwrap_or((cidr, "0"));
    let Ok(address) = address.parse::<IpAddr>() else {
        return false;
    };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let digits = length.bytes().all(|byte| byte.is_ascii_digit());
    digits && length.parse().is_ok_and(|length: u8| length <= bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ProxySettings;

    /// What these settings come to, and what is wrong with them.
    fn read(yaml: &str) -> (Settings, Vec<String>) {
        let written = serde_saphyr::from_str(yaml).expect("the settings of an NginxFleet");
        let mut check = Check::of("nginx");
        (settings(&mut check, &written), check.problems)
    }

    #[test]
    fn empty_settings_are_the_defaults() {
        assert_eq!(read("{}"), (Settings::default(), Vec::new()));
    }

    #[test]
    fn every_field_is_read() {
        let (settings, _) = read(
            "{workerProcesses: 2, workerConnections: 64, clientMaxBodySize: 1Mi, timeouts: {read: 1m30s},
              accessLog: {format: Custom, customFormat: $status}, errorLogLevel: info,
              tls: {protocols: [TLSv1.3], ciphers: 'HIGH:!aNULL'},
              realIp: {trustedCidrs: ['10.0.0.0/8', '::1'], header: X-Real-IP, recursive: true}, ipv6: true}",
        );
        let wanted = Settings {
            origins: Vec::new(),
            worker_processes: Some(2),
            worker_connections: 64,
            client_max_body_size: 1 << 20,
            timeouts: Timeouts {
                read: Duration::from_secs(90),
                ..Timeouts::default()
            },
            access_log: Some(AccessLog::Custom("$status".to_owned())),
            error_log_level: ErrorLogLevel::Info,
            tls_protocols: vec!["TLSv1.3"],
            tls_ciphers: Some("HIGH:!aNULL".to_owned()),
            real_ip: Some(RealIp {
                trusted: vec!["10.0.0.0/8".to_owned(), "::1".to_owned()],
                source: RealIpSource::Header(HeaderName::new("x-real-ip").expect("a header's name")),
                recursive: true,
            }),
            ipv6: true,
            proxy: ProxySettings::default(),
        };
        assert_eq!(settings, wanted);
    }

    #[test]
    fn wrong_values_are_named_with_field_and_remedy() {
        for (yaml, problem) in [
            (
                "{timeouts: {read: 5 minutes}}",
                r#"spec.nginx.timeouts.read is "5 minutes"; it can be a duration above 0, such as 90s"#,
            ),
            (
                "{timeouts: {connect: 0s}}",
                r#"spec.nginx.timeouts.connect is "0s"; it can be a duration above 0, such as 90s"#,
            ),
            (
                "{workerConnections: 1}",
                "spec.nginx.workerConnections is 1; it can be a number from 16 to 1048576",
            ),
            (
                "{clientMaxBodySize: 8m}",
                r#"spec.nginx.clientMaxBodySize is "8m"; it can be a number of bytes, or a quantity such as 8Mi"#,
            ),
            (
                "{tls: {ciphers: 'HIGH; }'}}",
                r#"spec.nginx.tls.ciphers is "HIGH; }"; it can be a list of ciphers in OpenSSL's syntax, such as HIGH:!aNULL"#,
            ),
            (
                "{realIp: {trustedCidrs: [10.0.0.0/33]}}",
                r#"spec.nginx.realIp.trustedCidrs is ["10.0.0.0/33"]; it can be a list of networks such as 10.0.0.0/8"#,
            ),
            (
                "{accessLog: {format: Custom}}",
                r#"spec.nginx.accessLog.format is "Custom"; it can be Combined, Json, or Custom with a customFormat of at most 2000 bytes"#,
            ),
        ] {
            assert_eq!(read(yaml).1, [problem], "{yaml}");
        }
    }

    #[test]
    fn wrong_value_leaves_the_default_and_all_other_fields() {
        let (settings, _) = read("{timeouts: {read: soon, send: 1s}}");
        assert_eq!(settings.timeouts.read, Timeouts::default().read);
        assert_eq!(settings.timeouts.send, Duration::from_secs(1));
    }

    #[test]
    fn nobody_is_trusted_unless_named() {
        assert_eq!(read("{realIp: {source: ProxyProtocol}}").0.real_ip, None);
    }
}
