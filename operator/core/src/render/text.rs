//! The only types that a template may print.
//!
//! Each is made from something that is not NGINX syntax yet, and its `Display` is the escaping. A structure that
//! holds anything else is not [`Printable`], so a template that could let a string through does not compile.

use std::{fmt, net::SocketAddr, time::Duration};

use super::view::Printable;
use crate::{
    config::{Protocol, Share},
    syntax::{HeaderName, Hostname, Id, Path},
};

/// A word that stands in this program's source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word(pub(super) &'static str);

/// A number without a unit, or with the unit that NGINX assumes: bytes, or what a directive counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(pub(super) u64);

/// A span of time, to the millisecond.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(pub(super) Duration);

/// A share of a split, in hundredths of a percent; all of it, or what others leave, is `*`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Percentage(pub(super) Option<u16>);

/// What stands behind `#`: one line, at most 500 characters.
#[derive(Clone, Debug)]
pub(super) struct Comment(pub(super) String);

/// A parameter in which NGINX looks for no variables, such as a path.
#[derive(Clone, Debug)]
pub(super) struct Verbatim(pub(super) String);

/// The left side of an entry of a `map` that compares strings.
#[derive(Clone, Debug)]
pub(super) struct Key(pub(super) String);

/// A parameter in which NGINX looks for variables: text and variables in turn.
///
/// A control character of the text becomes a space: no header, address or path could have it.
#[derive(Clone, Debug, Default)]
pub(super) struct Value(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Variable(Variable),
}

/// A parameter that an administrator wrote with variables.
#[derive(Clone, Debug)]
pub(super) struct Format(pub(super) String);

/// A name with which a value can be had again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Variable {
    /// One that NGINX has.
    Nginx(&'static str),
    /// A header of the request, as NGINX has it.
    Header(HeaderName),
    /// A header of the request with a comma behind it, to append to.
    Joined(HeaderName),
    /// The answer to a condition.
    Is(Id),
    /// Some of the answers that a dispatch looks at.
    Answers(Id, usize),
    /// Where a dispatch leads.
    Dispatch(Id),
    /// What a split chose.
    Split(Id),
    /// The upstream of a host.
    HostUpstream(Id),
    /// A path with replaced prefix, percent-encoded, with the query.
    Rewrite(Id),
    /// A path with replaced prefix, decoded, without the query.
    DecodedRewrite(Id),
    /// A value of a policy for cross-origin requests.
    Cors(Id, &'static str),
    /// The file of the certificate for the name of the handshake.
    Certificate(Id),
    /// The listener of a port that the name of the handshake belongs to.
    TlsListener(u16),
}

/// The name of an upstream, for one of the ways in which it is spoken to.
///
/// It cannot be taken for an address, which is how `$no_endpoint` tells the two in `$upstream_addr`. What tells most of
/// them apart comes first: NGINX compares the name that a variable holds with one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UpstreamName {
    /// Endpoints, spoken to in a protocol, with this TLS if any.
    Endpoints(Id, Protocol, Option<Id>),
    /// The agent's proxy.
    Proxy(Protocol),
    /// The agent's proxy, and endpoints while it is gone.
    ProxyOr(Id, Protocol),
}

/// Which requests a location takes.
#[derive(Clone, Debug)]
pub(super) enum LocationName {
    /// Those for this path.
    Exact(Path),
    /// Those for all paths below this one; the root is `None`.
    Below(Option<Path>),
    /// Those that other locations send there.
    Internal(InternalName),
}

/// The name of a location that no client can ask for, as it has no leading slash.
#[derive(Clone, Copy, Debug)]
pub(super) enum InternalName {
    /// A rule.
    Rule(Id),
    /// What is done when no rule takes a request.
    NoRule,
    /// A backend of a rule.
    Backend(Id),
    /// A copy of a request.
    Mirror(Id),
}

/// What a split can choose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice(pub(super) Share);

/// A hostname, exact or with a wildcard, where NGINX knows it to be one.
#[derive(Clone, Debug)]
pub(super) struct Host(pub(super) Hostname);

/// The name of a header field.
#[derive(Clone, Debug)]
pub(super) struct FieldName(pub(super) HeaderName);

/// An address to listen on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Address {
    /// One port of one address.
    Of(SocketAddr),
    /// One port of all IPv4 addresses.
    AnyV4(u16),
    /// One port of all IPv6 addresses.
    AnyV6(u16),
}

/// The name of a file among those that are rendered.
#[derive(Clone, Debug)]
pub(super) enum FileName {
    /// The servers of a port.
    Servers(u16),
    /// The authorities that clients' certificates are verified with.
    Clients(Id),
    /// The authorities that backends' certificates are verified with.
    Backends(Id),
}

macro_rules! printable {
    ($($name:ty),*) => { $( impl Printable for $name {} )* };
}
printable!(
    Word,
    Number,
    Time,
    Percentage,
    Comment,
    Verbatim,
    Key,
    Value,
    Format,
    Variable,
    UpstreamName,
    LocationName,
    InternalName,
    Choice,
    Host,
    FieldName,
    Address,
    FileName
);

impl Value {
    /// This text.
    pub(super) fn text(text: &str) -> Self {
        Self::default().then_text(text)
    }

    /// The value of this variable.
    pub(super) fn variable(variable: Variable) -> Self {
        Self::default().then(variable)
    }

    /// The value of this variable of NGINX.
    pub(super) fn nginx(name: &'static str) -> Self {
        Self::variable(Variable::Nginx(name))
    }

    /// This and a text behind it.
    pub(super) fn then_text(mut self, text: &str) -> Self {
        self.0.push(Part::Text(text.to_owned()));
        self
    }

    /// This and the value of a variable behind it.
    pub(super) fn then(mut self, variable: Variable) -> Self {
        self.0.push(Part::Variable(variable));
        self
    }

    /// This and another value behind it.
    pub(super) fn then_value(mut self, value: Self) -> Self {
        self.0.extend(value.0);
        self
    }

    /// This and the value of a variable of NGINX behind it.
    pub(super) fn then_nginx(self, name: &'static str) -> Self {
        self.then(Variable::Nginx(name))
    }
}

impl fmt::Display for Word {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            milliseconds if milliseconds % 1000 == 0 => write!(formatter, "{}s", milliseconds / 1000),
            milliseconds => write!(formatter, "{milliseconds}ms"),
        }
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => formatter.write_str("*"),
            Some(share) if share % 100 == 0 => write!(formatter, "{}%", share / 100),
            Some(share) => write!(formatter, "{}.{:02}%", share / 100, share % 100),
        }
    }
}

impl fmt::Display for Comment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A longer comment could overflow the buffer through which NGINX reads its configuration.
        let line = self.0.chars().take(500);
        line.map(|character| if character.is_control() { ' ' } else { character })
            .try_for_each(|character| fmt::Write::write_char(formatter, character))
    }
}

impl fmt::Display for Verbatim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        parameter(formatter, &escaped(&self.0))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.0;
        let special = key.starts_with(['~', '\\'])
            || ["default", "hostnames", "include", "volatile"].contains(&key.as_str());
        let literal = if special { r"\" } else { "" };
        parameter(formatter, &escaped(&format!("{literal}{key}")))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut printed = String::new();
        let mut parts = self.0.iter().peekable();
        while let Some(part) = parts.next() {
            match (part, parts.peek()) {
                (Part::Text(text), _) => {
                    let text = text.replace(|character: char| character.is_ascii_control(), " ");
                    printed += &escaped(&text).replace('$', "${dollar}");
                }
                (Part::Variable(variable), Some(Part::Text(next))) if continues_a_name(next) => {
                    printed.extend(["${", &variable.name(), "}"]);
                }
                (Part::Variable(variable), _) => printed += &variable.to_string(),
            }
        }
        parameter(formatter, &printed)
    }
}

/// Whether a variable that stands before this text needs braces around its name.
fn continues_a_name(text: &str) -> bool {
    text.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_')
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", escaped(&self.0))
    }
}

/// Prints a parameter whose special characters are escaped, in quotes where it needs them.
fn parameter(formatter: &mut fmt::Formatter<'_>, escaped: &str) -> fmt::Result {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:*,$%@+=!&?".contains(&byte);
    if !escaped.is_empty() && escaped.bytes().all(plain) {
        formatter.write_str(escaped)
    } else {
        write!(formatter, "\"{escaped}\"")
    }
}

/// The text as it stands between double quotes; NUL, which would end the parameter early, becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 2);
    for character in text.chars() {
        match character {
            '"' => escaped += "\\\"",
            '\\' => escaped += r"\\",
            '\n' => escaped += r"\n",
            '\r' => escaped += r"\r",
            '\t' => escaped += r"\t",
            '\0' => escaped.push(char::REPLACEMENT_CHARACTER),
            other => escaped.push(other),
        }
    }
    escaped
}

impl Variable {
    /// The name without its dollar sign: letters, digits and underscores.
    fn name(&self) -> String {
        match self {
            Self::Nginx(name) => (*name).to_owned(),
            Self::Header(header) => format!("http_{}", header.variable_suffix()),
            Self::Joined(header) => format!("joined_{}", header.variable_suffix()),
            Self::Is(id) => format!("is_{id}"),
            Self::Answers(id, part) => format!("answers_{id}_{part}"),
            Self::Dispatch(id) => format!("dispatch_{id}"),
            Self::Split(id) => format!("split_{id}"),
            Self::HostUpstream(id) => format!("upstream_{id}"),
            Self::Rewrite(id) => format!("rewrite_{id}"),
            Self::DecodedRewrite(id) => format!("decoded_rewrite_{id}"),
            Self::Cors(id, what) => format!("cors_{id}_{what}"),
            Self::Certificate(id) => format!("certificate_{id}"),
            Self::TlsListener(port) => format!("tls_listener_{port}"),
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "${}", self.name())
    }
}

impl UpstreamName {
    /// What tells the names of an upstream apart; a split chooses the name without it.
    pub(super) fn suffix(protocol: Protocol, tls: Option<Id>) -> String {
        let protocol = match protocol {
            Protocol::Http => "",
            Protocol::H2c => "-h2c",
        };
        match tls {
            None => protocol.to_owned(),
            Some(tls) => format!("{protocol}-tls-{tls}"),
        }
    }
}

impl fmt::Display for UpstreamName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Endpoints(id, protocol, tls) => {
                write!(formatter, "{id}-service{}", Self::suffix(protocol, tls))
            }
            Self::Proxy(protocol) => write!(formatter, "proxy{}", Self::suffix(protocol, None)),
            Self::ProxyOr(id, protocol) => write!(formatter, "proxy-or-{id}{}", Self::suffix(protocol, None)),
        }
    }
}

impl fmt::Display for LocationName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => write!(formatter, "= {}", Verbatim(path.to_string())),
            Self::Below(None) => formatter.write_str("/"),
            Self::Below(Some(path)) => Verbatim(format!("{path}/")).fmt(formatter),
            Self::Internal(name) => write!(formatter, "= {name}"),
        }
    }
}

impl fmt::Display for InternalName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(id) => write!(formatter, "rule:{id}"),
            Self::NoRule => formatter.write_str("rule:none"),
            Self::Backend(id) => write!(formatter, "backend:{id}"),
            Self::Mirror(id) => write!(formatter, "mirror:{id}"),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Share::Upstream(id) => UpstreamName::Endpoints(id, Protocol::Http, None).fmt(formatter),
            Share::Backend(id) => InternalName::Backend(id).fmt(formatter),
            Share::Flag(flag) => u8::from(flag).fmt(formatter),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(address) => address.fmt(formatter),
            Self::AnyV4(port) => port.fmt(formatter),
            Self::AnyV6(port) => write!(formatter, "[::]:{port}"),
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Servers(port) => write!(formatter, "servers/{port}.conf"),
            Self::Clients(id) => write!(formatter, "clients/{id}.pem"),
            Self::Backends(id) => write!(formatter, "backends/{id}.pem"),
        }
    }
}
