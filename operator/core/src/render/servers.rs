use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use askama::Template;

use super::{
    actions,
    alike::Alike,
    clients_file,
    location::{self, LocationView},
    maps::certificates_id,
    text::{
        Address, Comment, FileName, Host, InternalName, Key, LocationName, Number, Value, Variable, Word,
    },
    view::{print, views},
};
use crate::{
    config::{
        Action, Config, Internal, Listen, Location, LocationPath, MirrorRequest, Origin, Protocol, Proxy,
        RealIpSource, Server, ServerTls, Settings, Step, Target, Then,
    },
    syntax::{Hostname, Id},
};

/// `servers/PORT.conf`.
pub(super) fn view(servers: &[&Server], config: &Config) -> String {
    let servers = Alike::among(servers);
    print(&Servers {
        servers: servers
            .iter()
            .map(|servers| server_view(servers, config))
            .collect(),
    })
}

fn server_view(servers: &Alike<'_>, config: &Config) -> ServerView {
    let Server {
        listen,
        hostname: _,
        tls,
        locations,
        internal,
    } = servers.first();
    let protocols = actions(servers.first())
        .filter_map(upstream_protocol)
        .collect::<BTreeSet<_>>();
    let mut upstreams = BTreeMap::new();
    let mut views = Vec::new();
    for (position, location) in locations.iter().enumerate() {
        let by_host = servers.proxies(position).map(|proxies| {
            let id = upstreams_id(listen, &proxies);
            let view = || upstreams_view(id, &proxies, config);
            upstreams.entry(id).or_insert_with(view).variable.clone()
        });
        views.push(LocationView {
            origins: comments(servers.origins(position)),
            ..location_view(location, by_host, config)
        });
    }
    let names = servers.servers().filter_map(|server| server.hostname.clone());
    let internal = internal
        .iter()
        .map(|(name, action)| location::action(LocationName::Internal((*name).into()), action, None, config));
    let mut view = ServerView {
        upstreams: upstreams.into_values().collect(),
        addresses: addresses(listen, &config.settings),
        default: listen.default,
        tls: tls.is_some(),
        proxy_protocol: expects_proxy_protocol(&config.settings),
        names: names.map(Host).collect(),
        reject: false,
        certificate: None,
        client: None,
        listener: None,
        proxies: !protocols.is_empty(),
        hands_over: actions(servers.first()).any(is_handed_over),
        keeps_path: protocols.contains(&Protocol::H2c),
        locations: views.into_iter().chain(internal).collect(),
        no_rule: locations
            .iter()
            .any(|location| may_find_no_rule(location, config)),
        no_path: locations
            .iter()
            .all(|location| location.path != LocationPath::Below(None)),
    };
    match tls {
        None => {}
        Some(ServerTls::Reject) => view.reject = true,
        Some(ServerTls::Terminate {
            certificates,
            client,
            listener,
        }) => {
            view.certificate = Some(Variable::Certificate(certificates_id(certificates)));
            view.client = client.as_ref().map(|client| ClientView {
                authorities: clients_file(&client.authorities),
                optional: client.optional,
            });
            view.listener = listener.map(|number| ListenerView {
                of_handshake: Variable::TlsListener(listen.port),
                own: Number(number as u64),
            });
        }
    }
    view
}

fn comments<'a>(origins: impl IntoIterator<Item = &'a Origin>) -> Vec<Comment> {
    let origins = origins.into_iter();
    origins.map(|origin| Comment(origin.to_string())).collect()
}

/// Name of the upstreams of these hosts. Each port has maps of its own, even if they are equal.
fn upstreams_id(listen: &Listen, proxies: &[(&Hostname, &Proxy)]) -> Id {
    let upstreams = proxies
        .iter()
        .map(|(host, proxy)| (host, proxy.target, proxy.protocol, proxy.tls));
    Id::of(&(listen, upstreams.collect::<Vec<_>>()))
}

/// Requests that name no host go to the server that has none, whatever was named in the TLS handshake.
fn upstreams_view(id: Id, proxies: &[(&Hostname, &Proxy)], config: &Config) -> UpstreamsView {
    let hosts = proxies.iter().map(|(host, proxy)| HostUpstreamView {
        name: Key(host.to_string()),
        upstream: location::upstream(proxy, config),
    });
    UpstreamsView {
        variable: Variable::HostUpstream(id),
        hosts: hosts.collect(),
    }
}

fn addresses(listen: &Listen, settings: &Settings) -> Vec<Address> {
    match listen.address {
        Some(address) => vec![Address::Of(SocketAddr::new(address, listen.port))],
        None if settings.ipv6 => vec![Address::AnyV4(listen.port), Address::AnyV6(listen.port)],
        None => vec![Address::AnyV4(listen.port)],
    }
}

fn expects_proxy_protocol(settings: &Settings) -> bool {
    let source = settings.real_ip.as_ref().map(|real_ip| &real_ip.source);
    source == Some(&RealIpSource::ProxyProtocol)
}

fn location_view(location: &Location, by_host: Option<Variable>, config: &Config) -> LocationView {
    let name = match &location.path {
        LocationPath::Exact(path) => LocationName::Exact(path.clone()),
        LocationPath::Below(path) => LocationName::Below(path.clone()),
    };
    match &location.then {
        Then::Do(action) => location::action(name, action, by_host, config),
        Then::Dispatch(dispatch) => location::dispatch(name, *dispatch),
    }
}

fn may_find_no_rule(location: &Location, config: &Config) -> bool {
    let Then::Dispatch(id) = &location.then else {
        return false;
    };
    let dispatch = config.dispatches.get(id);
    dispatch.is_some_and(|dispatch| {
        dispatch
            .choices
            .iter()
            .all(|(conditions, _)| !conditions.is_empty())
    })
}

/// What the backend of an action speaks, if it has one.
fn upstream_protocol(action: &Action) -> Option<Protocol> {
    match &action.step {
        Step::Proxy(Proxy { protocol, .. }) | Step::Mirror(MirrorRequest { protocol, .. }) => Some(*protocol),
        Step::Redirect(_) | Step::Split(_) | Step::Refuse(_) => None,
    }
}

/// Whether requests go to the agent's proxy.
fn is_handed_over(action: &Action) -> bool {
    let (Step::Proxy(Proxy { target, .. }) | Step::Mirror(MirrorRequest { target, .. })) = &action.step
    else {
        return false;
    };
    matches!(target, Target::Leg(_))
}

impl From<Internal> for InternalName {
    fn from(internal: Internal) -> Self {
        match internal {
            Internal::Rule(id) => Self::Rule(id),
            Internal::Backend(id) => Self::Backend(id),
            Internal::Mirror(id) => Self::Mirror(id),
        }
    }
}

views! {
    #[derive(Template)]
    #[template(path = "servers.conf")]
    struct Servers {
        servers: Vec<ServerView>,
    }

    struct ServerView {
        /// The upstreams of locations that depend on the host.
        upstreams: Vec<UpstreamsView>,
        addresses: Vec<Address>,
        default: bool,
        tls: bool,
        proxy_protocol: bool,
        names: Vec<Host>,
        reject: bool,
        certificate: Option<Variable>,
        client: Option<ClientView>,
        listener: Option<ListenerView>,
        proxies: bool,
        /// Whether some requests go to the agent's proxy.
        hands_over: bool,
        keeps_path: bool,
        locations: Vec<LocationView>,
        no_rule: bool,
        no_path: bool,
    }

    struct UpstreamsView {
        variable: Variable,
        hosts: Vec<HostUpstreamView>,
    }

    struct HostUpstreamView {
        name: Key,
        upstream: Value,
    }

    struct ClientView {
        authorities: FileName,
        optional: bool,
    }

    struct ListenerView {
        of_handshake: Variable,
        own: Number,
    }
}
