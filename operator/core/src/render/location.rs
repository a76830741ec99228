//! What is done with the requests of one location.

use std::time::Duration;

use super::{
    backend_tls::{TlsView, tls_view},
    cors,
    headers::{Field, ResponseFields, request_fields},
    rewrites::decoded,
    text::{
        Comment, FieldName, InternalName, LocationName, Number, Time, UpstreamName, Value, Variable, Word,
    },
    upstreams,
    view::views,
};
use crate::{
    config::{
        Action, Config, HeaderChanges, MirrorRequest, Protocol, Proxy, Redirect, RewrittenPath, Step, Target,
    },
    syntax::Id,
};

/// How long a mirror's answer is waited for: the client's connection is not free for its next request before.
const MIRROR_TIME: Duration = Duration::from_secs(5);

/// How long the agent's proxy may take: it knows by itself how long to wait, so this only has to be longer.
const PATIENCE: Duration = Duration::from_hours(24);

views! {
    /// A location.
    struct LocationView {
        /// The objects that asked for it.
        origins: Vec<Comment>,
        name: LocationName,
        internal: bool,
        /// Headers of the answer to a preflight request, where the gateway gives one.
        preflight: Option<Vec<Field>>,
        /// The split that says whether a copy is made of this request.
        sample: Option<Variable>,
        /// The new path, which is empty if the path as sent does not start with what is to be replaced.
        rewrite: Option<Variable>,
        added: Vec<Field>,
        next: Option<Variable>,
        answer: Option<AnswerView>,
        mirrors: Vec<InternalName>,
        proxy: Option<ProxyView>,
    }

    /// An answer of NGINX's own.
    struct AnswerView {
        status: Number,
        url: Option<Value>,
    }

    /// A request to a backend.
    struct ProxyView {
        module: Word,
        path: Option<Value>,
        restores_path: bool,
        headers: Vec<Field>,
        hidden: Vec<FieldName>,
        passed: Vec<Word>,
        time: Option<Time>,
        /// How long the agent's proxy may take for some bytes of the request; every one of its sockets is tried.
        leg: Option<Time>,
        tls: Option<TlsView>,
        target: Value,
    }
}

/// A location that leads to others.
pub(super) fn dispatch(name: LocationName, dispatch: Id) -> LocationView {
    LocationView {
        next: Some(Variable::Dispatch(dispatch)),
        ..empty(name)
    }
}

/// A location that does something itself, with the upstream of this name if it depends on the host.
pub(super) fn action(
    name: LocationName,
    action: &Action,
    by_host: Option<Variable>,
    config: &Config,
) -> LocationView {
    let Action {
        origin,
        request_headers,
        response_headers,
        cors,
        mirrors,
        step,
    } = action;
    let internal = matches!(name, LocationName::Internal(_));
    let mut view = LocationView {
        origins: vec![Comment(origin.to_string())],
        internal,
        ..empty(name)
    };
    let mut response = ResponseFields::new(response_headers);
    if let Some((id, policy)) = cors.and_then(|id| config.cors.get_key_value(&id)) {
        view.preflight = Some(cors::preflight(*id, policy));
        response.hidden.extend(cors::hidden());
        response.added.extend(cors::response(*id, policy));
    }
    match step {
        Step::Refuse(status) => view.answer = Some(refusal(*status)),
        Step::Split(split) => view.next = Some(Variable::Split(*split)),
        Step::Redirect(redirect) => {
            view.rewrite = prefix(redirect.path.as_ref()).map(Variable::Rewrite);
            view.answer = Some(redirection(redirect));
        }
        Step::Proxy(proxy) => {
            view.rewrite = prefix(proxy.path.as_ref()).map(|id| rewritten(proxy.protocol, id));
            view.mirrors = mirrors.iter().copied().map(InternalName::Mirror).collect();
            let upstream = by_host.map_or_else(|| upstream(proxy, config), Value::variable);
            view.proxy = Some(ProxyView {
                passed: response.passed(),
                hidden: std::mem::take(&mut response.hidden),
                ..proxied(proxy, upstream, internal, request_headers, config)
            });
        }
        Step::Mirror(mirror) => {
            view.sample = mirror.sample.map(Variable::Split);
            view.proxy = Some(mirrored(mirror, request_headers, config));
        }
    }
    view.added = response.added;
    view
}

fn empty(name: LocationName) -> LocationView {
    LocationView {
        origins: Vec::new(),
        name,
        internal: false,
        preflight: None,
        sample: None,
        rewrite: None,
        added: Vec::new(),
        next: None,
        answer: None,
        mirrors: Vec::new(),
        proxy: None,
    }
}

fn refusal(status: u16) -> AnswerView {
    AnswerView {
        status: Number(status.into()),
        url: None,
    }
}

fn redirection(redirect: &Redirect) -> AnswerView {
    let Redirect {
        status,
        scheme,
        host,
        port,
        path,
    } = redirect;
    let mut url = match scheme {
        Some(scheme) => Value::text(scheme),
        None => Value::nginx("scheme"),
    };
    url = url.then_text("://");
    url = match host {
        Some(host) => url.then_text(host.as_str()),
        None => url.then_nginx("client_host"),
    };
    if let Some(port) = port {
        url = url.then_text(&format!(":{port}"));
    }
    AnswerView {
        status: Number((*status).into()),
        url: Some(uri(url, path.as_ref())),
    }
}

/// The value with a path and query behind it, both encoded.
fn uri(value: Value, path: Option<&RewrittenPath>) -> Value {
    match path {
        None => value.then_nginx("request_uri"),
        Some(RewrittenPath::Prefix(id)) => value.then(Variable::Rewrite(*id)),
        Some(RewrittenPath::Full(path)) => value.then_text(path).then_nginx("is_args").then_nginx("args"),
    }
}

fn prefix(path: Option<&RewrittenPath>) -> Option<Id> {
    match path {
        Some(RewrittenPath::Prefix(id)) => Some(*id),
        Some(RewrittenPath::Full(_)) | None => None,
    }
}

fn rewritten(protocol: Protocol, rewrite: Id) -> Variable {
    match protocol {
        Protocol::Http => Variable::Rewrite(rewrite),
        Protocol::H2c => Variable::DecodedRewrite(rewrite),
    }
}

fn proxied(
    proxy: &Proxy,
    upstream: Value,
    internal: bool,
    request_headers: &HeaderChanges,
    config: &Config,
) -> ProxyView {
    let Proxy {
        target,
        protocol,
        tls,
        host,
        path,
    } = proxy;
    let to = Destination {
        upstream,
        leg: leg(*target),
        protocol: *protocol,
        tls: *tls,
    };
    ProxyView {
        headers: request_fields(*protocol, host.as_ref(), request_headers, to.leg),
        ..request(to, internal, path.as_ref(), config)
    }
}

fn mirrored(mirror: &MirrorRequest, request_headers: &HeaderChanges, config: &Config) -> ProxyView {
    let MirrorRequest {
        target,
        protocol,
        tls,
        sample: _,
    } = mirror;
    let to = Destination {
        upstream: name(*target, *protocol, *tls, config),
        leg: leg(*target),
        protocol: *protocol,
        tls: *tls,
    };
    ProxyView {
        headers: request_fields(*protocol, None, request_headers, to.leg),
        time: Some(Time(MIRROR_TIME)),
        ..request(to, true, None, config)
    }
}

/// Where a request goes, and what is spoken there.
struct Destination {
    upstream: Value,
    leg: Option<Id>,
    protocol: Protocol,
    tls: Option<Id>,
}

fn leg(target: Target) -> Option<Id> {
    match target {
        Target::Leg(leg) => Some(leg),
        Target::Upstream(_) | Target::Split(_) => None,
    }
}

/// The name of the upstream that requests go to.
pub(super) fn upstream(proxy: &Proxy, config: &Config) -> Value {
    name(proxy.target, proxy.protocol, proxy.tls, config)
}

fn name(target: Target, protocol: Protocol, tls: Option<Id>, config: &Config) -> Value {
    match target {
        Target::Upstream(id) => Value::text(&UpstreamName::Endpoints(id, protocol, tls).to_string()),
        Target::Split(id) => {
            Value::variable(Variable::Split(id)).then_text(&UpstreamName::suffix(protocol, tls))
        }
        Target::Leg(id) => Value::text(&upstreams::proxy(id, protocol, config).to_string()),
    }
}

/// A request as the client sent it, but for its path.
///
/// In a location that others lead to, NGINX has the location's name for the path: HTTP gets the URI as sent behind
/// the upstream's name. The module for HTTP/2 has no place for that, so the decoded path is made the path again.
fn request(to: Destination, internal: bool, path: Option<&RewrittenPath>, config: &Config) -> ProxyView {
    let Destination {
        upstream,
        leg,
        protocol,
        tls,
    } = to;
    let changed = internal || path.is_some();
    let patience = leg.map(|_| Time(PATIENCE));
    let (module, scheme) = match (protocol, tls) {
        (Protocol::Http, None) => ("proxy", "http://"),
        (Protocol::Http, Some(_)) => ("proxy", "https://"),
        (Protocol::H2c, None) => ("grpc", "grpc://"),
        (Protocol::H2c, Some(_)) => ("grpc", "grpcs://"),
    };
    let target = Value::text(scheme).then_value(upstream);
    let h2c = protocol == Protocol::H2c;
    ProxyView {
        module: Word(module),
        path: path.filter(|_| h2c).map(|path| match path {
            RewrittenPath::Full(path) => Value::text(&decoded(path)),
            RewrittenPath::Prefix(id) => Value::variable(Variable::DecodedRewrite(*id)),
        }),
        restores_path: h2c && changed,
        headers: Vec::new(),
        hidden: Vec::new(),
        passed: Vec::new(),
        time: patience,
        leg: patience,
        tls: tls
            .and_then(|id| config.tls.get(&id))
            .map(|tls| tls_view(tls, config)),
        target: if changed && !h2c {
            uri(target, path)
        } else {
            target
        },
    }
}
