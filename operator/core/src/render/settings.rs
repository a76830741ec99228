use askama::Template;

use super::{
    headers::{Field, PASSED, base},
    text::{Comment, FileName, Format, Number, Time, Verbatim, Word},
    view::{print, views},
};
use crate::config::{AccessLog, ErrorLogLevel, Origin, Protocol, RealIp, RealIpSource, Settings, Timeouts};

/// One object a line: what happened, how long it took, and who answered.
const JSON: &str = concat!(
    r#"{"time":"$time_iso8601","request_id":"$request_id","client":"$remote_addr","method":"$request_method","#,
    r#""scheme":"$scheme","host":"$host","uri":"$request_uri","protocol":"$server_protocol","#,
    r#""status":"$status","received":"$request_length","sent":"$bytes_sent","seconds":"$request_time","#,
    r#""upstream":"$upstream_addr","upstream_status":"$upstream_status","#,
    r#""upstream_seconds":"$upstream_response_time","user_agent":"$http_user_agent"}"#,
);

/// `nginx.conf`.
pub(super) fn view(settings: &Settings, ports: impl Iterator<Item = u16>) -> String {
    let Settings {
        origins,
        worker_processes,
        worker_connections,
        client_max_body_size,
        timeouts,
        access_log,
        error_log_level,
        tls_protocols,
        tls_ciphers,
        real_ip,
        ipv6: _,
        proxy: _,
    } = settings;
    let (log_format, access_log) = match access_log {
        None => (None, None),
        Some(AccessLog::Combined) => (None, Some(Word("combined"))),
        Some(AccessLog::Json) => (Some(("json", JSON)), Some(Word("access"))),
        Some(AccessLog::Custom(format)) => (Some(("default", format.as_str())), Some(Word("access"))),
    };
    print(&Main {
        origin: origin(origins),
        worker_processes: worker_processes.map(|number| Number(number.into())),
        worker_connections: Number((*worker_connections).into()),
        error_log_level: error_log_level_word(*error_log_level),
        client_max_body_size: Number(*client_max_body_size),
        timeouts: timeouts_view(timeouts),
        log_format: log_format.map(|(escape, format)| LogFormat {
            escape: Word(escape),
            format: Format(format.to_owned()),
        }),
        access_log,
        tls_protocols: (!tls_protocols.is_empty()).then(|| tls_protocols.iter().copied().map(Word).collect()),
        tls_ciphers: tls_ciphers.clone().map(Verbatim),
        real_ip: real_ip.as_ref().map(real_ip_view),
        passed_headers: PASSED.map(Word).to_vec(),
        proxy_headers: base(Protocol::Http),
        grpc_headers: base(Protocol::H2c),
        servers: ports.map(FileName::Servers).collect(),
    })
}

/// What all lines come from that are not the same in every file.
fn origin(fleets: &[Origin]) -> Option<Comment> {
    let fleets: Vec<String> = fleets.iter().map(Origin::to_string).collect();
    (!fleets.is_empty()).then(|| Comment(fleets.join(" or ")))
}

fn error_log_level_word(level: ErrorLogLevel) -> Word {
    Word(match level {
        ErrorLogLevel::Info => "info",
        ErrorLogLevel::Notice => "notice",
        ErrorLogLevel::Warn => "warn",
        ErrorLogLevel::Error => "error",
        ErrorLogLevel::Crit => "crit",
        ErrorLogLevel::Alert => "alert",
        ErrorLogLevel::Emerg => "emerg",
    })
}

fn timeouts_view(timeouts: &Timeouts) -> TimeoutsView {
    TimeoutsView {
        connect: Time(timeouts.connect),
        read: Time(timeouts.read),
        send: Time(timeouts.send),
        keepalive: Time(timeouts.keepalive),
        client_header: Time(timeouts.client_header),
        client_body: Time(timeouts.client_body),
        shutdown: timeouts.shutdown.map(Time),
    }
}

fn real_ip_view(real_ip: &RealIp) -> RealIpView {
    RealIpView {
        trusted: real_ip.trusted.iter().cloned().map(Verbatim).collect(),
        source: match &real_ip.source {
            RealIpSource::Header(name) => Verbatim(name.to_string()),
            RealIpSource::ProxyProtocol => Verbatim("proxy_protocol".to_owned()),
        },
        recursive: real_ip.recursive,
    }
}

views! {
    #[derive(Template)]
    #[template(path = "nginx.conf")]
    struct Main {
        origin: Option<Comment>,
        worker_processes: Option<Number>,
        worker_connections: Number,
        error_log_level: Word,
        client_max_body_size: Number,
        timeouts: TimeoutsView,
        log_format: Option<LogFormat>,
        access_log: Option<Word>,
        tls_protocols: Option<Vec<Word>>,
        tls_ciphers: Option<Verbatim>,
        real_ip: Option<RealIpView>,
        passed_headers: Vec<Word>,
        proxy_headers: Vec<Field>,
        grpc_headers: Vec<Field>,
        servers: Vec<FileName>,
    }

    struct TimeoutsView {
        connect: Time,
        read: Time,
        send: Time,
        keepalive: Time,
        client_header: Time,
        client_body: Time,
        shutdown: Option<Time>,
    }

    struct LogFormat {
        escape: Word,
        format: Format,
    }

    struct RealIpView {
        trusted: Vec<Verbatim>,
        source: Verbatim,
        recursive: bool,
    }
}
