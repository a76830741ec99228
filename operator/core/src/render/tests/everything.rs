//! A configuration that uses all there is.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    config::{
        AccessLog, Action, BackendTls, Certificates, ClientValidation, Condition, Config, Cors, Dispatch,
        HeaderChanges, Internal, Leg, Listen, Location, LocationPath, MirrorRequest, Misdirected, Origin,
        OriginPattern, PathRewrite, Picker, Protocol, Proxy, RealIp, RealIpSource, Redirect, RewrittenPath,
        Server, ServerTls, Settings, Share, Split, Step, Subject, Target, Then, Upstream, Verification,
    },
    syntax::{HeaderName, Hostname, Id, Method, Path, Pattern},
};

/// What stands where a user may write anything.
#[derive(Clone, Debug)]
pub(super) struct Words {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) path: String,
    pub(super) pattern: String,
}

impl Default for Words {
    fn default() -> Self {
        Self {
            name: "shop".to_owned(),
            value: "a value of $5; \"quoted\"".to_owned(),
            path: "/new%20path".to_owned(),
            pattern: "v[0-9]+(?:-beta)?".to_owned(),
        }
    }
}

pub(super) fn path(path: &str) -> Path {
    Path::new(path).expect("a valid path")
}

pub(super) fn header(name: &str) -> HeaderName {
    HeaderName::new(name).expect("a valid name")
}

pub(super) fn hostname(name: &str) -> Hostname {
    Hostname::new(name).expect("a valid hostname")
}

/// An action of the rule of that number.
pub(super) fn action(words: &Words, rule: usize, step: Step) -> Action {
    Action {
        origin: Origin {
            kind: "HTTPRoute",
            namespace: "default".to_owned(),
            name: words.name.clone(),
            part: format!("rule {rule}"),
        },
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        cors: None,
        mirrors: Vec::new(),
        step,
    }
}

pub(super) fn proxy(upstream: Id) -> Proxy {
    Proxy {
        target: Target::Upstream(upstream),
        protocol: Protocol::Http,
        tls: None,
        host: None,
        path: None,
    }
}

/// All there is, with these words in it, on two ports of an address.
pub(super) fn config(words: &Words, address: Option<IpAddr>) -> Config {
    let mut config = Config {
        settings: settings(words),
        ..Config::default()
    };
    let shop = upstream(&mut config, "shop");
    let cart = upstream(&mut config, "cart");
    let (actions, rules) = internal(&mut config, words, shop, cart);
    let dispatch = dispatch(&mut config, words, rules);
    let locations = locations(&mut config, words, [shop, cart], dispatch);
    let internal = || {
        let actions = actions.iter().cloned();
        actions.map(|(name, action)| (name, action.into())).collect()
    };
    let listen = |port, default| Listen {
        address,
        port,
        default,
    };
    config.servers = vec![
        Server {
            listen: listen(8080, false),
            hostname: Some(hostname("shop.example.com")),
            tls: None,
            locations: locations.clone(),
            internal: internal(),
        },
        Server {
            listen: listen(8080, true),
            hostname: None,
            tls: None,
            locations: Vec::new(),
            internal: BTreeMap::new(),
        },
        Server {
            listen: listen(8443, false),
            hostname: Some(hostname("*.example.com")),
            tls: Some(terminate(words, None, 0)),
            locations: locations.clone(),
            internal: internal(),
        },
        Server {
            listen: listen(8443, false),
            hostname: Some(hostname("private.example.com")),
            tls: Some(terminate(words, Some(false), 1)),
            locations: locations.clone(),
            internal: internal(),
        },
        Server {
            listen: listen(8443, false),
            hostname: Some(hostname("default")),
            tls: Some(terminate(words, Some(true), 2)),
            locations,
            internal: internal(),
        },
        Server {
            listen: listen(8443, true),
            hostname: None,
            tls: Some(ServerTls::Reject),
            locations: Vec::new(),
            internal: BTreeMap::new(),
        },
    ];
    let listeners = [("private.example.com", 1), ("default", 2), ("*.example.com", 0)];
    config.misdirected.insert(
        8443,
        Misdirected {
            listeners: listeners.map(|(name, number)| (hostname(name), number)).to_vec(),
            default: None,
        },
    );
    config
}

fn settings(words: &Words) -> Settings {
    Settings {
        origins: vec![Origin {
            kind: "NginxFleet",
            namespace: "default".to_owned(),
            name: words.name.clone(),
            part: String::new(),
        }],
        worker_processes: Some(2),
        worker_connections: 512,
        access_log: Some(AccessLog::Custom(format!(
            "$request_method {}",
            words.value.replace('$', "")
        ))),
        tls_protocols: vec!["TLSv1.2", "TLSv1.3"],
        tls_ciphers: Some("HIGH:!aNULL".to_owned()),
        real_ip: Some(RealIp {
            trusted: vec!["10.0.0.0/8".to_owned(), "fd00::/8".to_owned()],
            source: RealIpSource::Header(header("x-forwarded-for")),
            recursive: true,
        }),
        ..Settings::default()
    }
}

fn upstream(config: &mut Config, service: &str) -> Id {
    let upstream = Upstream::Service {
        namespace: "default".to_owned(),
        service: service.to_owned(),
        port: 80,
    };
    let id = Id::of(&upstream);
    config.upstreams.insert(id, upstream);
    id
}

fn tls(config: &mut Config, words: &Words) -> Id {
    let tls = BackendTls {
        server_name: words.name.clone(),
        verification: Some(Verification {
            authorities: Some(include_str!("authorities.pem").to_owned()),
            hostnames: Vec::new(),
            uris: Vec::new(),
        }),
        client_certificate: Some(format!("default_{}.pem", words.name)),
    };
    let id = Id::of(&tls);
    config.tls.insert(id, tls);
    id
}

fn leg(config: &mut Config, upstream: Id, fail_open: bool) -> Id {
    let leg = Leg {
        upstream,
        protocol: Protocol::H2c,
        tls: None,
        request_timeout: None,
        backend_request_timeout: None,
        retry: None,
        picker: Some(Picker {
            upstream,
            tls: None,
            fail_open,
            one_leads: false,
        }),
        metered: true,
    };
    let id = Id::of(&leg);
    config.legs.insert(id, leg);
    id
}

fn terminate(words: &Words, optional: Option<bool>, listener: usize) -> ServerTls {
    let certificate = format!("default_{}.pem", words.name);
    ServerTls::Terminate {
        certificates: Certificates {
            default: certificate.clone(),
            by_host: vec![(hostname("*.b.example.com"), certificate)],
        },
        client: optional.map(|optional| ClientValidation {
            authorities: include_str!("authorities.pem").to_owned(),
            optional,
        }),
        listener: Some(listener),
    }
}

/// Header changes of every kind, on fields that NGINX would set itself and on others.
fn changes(config: &mut Config, words: &Words) -> HeaderChanges {
    let added = header("x-added");
    config.joined_headers.insert(added.clone());
    HeaderChanges {
        set: vec![
            (header("x-set"), words.value.clone()),
            (header("server"), "ours".to_owned()),
            (header("x-forwarded-proto"), "https".to_owned()),
        ],
        add: vec![(added, vec!["one".to_owned(), words.value.clone()])],
        remove: vec![header("x-removed"), header("x-real-ip"), header("content-length")],
    }
}

/// Locations that others lead to, and the two of them that a dispatch chooses from: a split, and HTTP/2.
fn internal(
    config: &mut Config,
    words: &Words,
    shop: Id,
    cart: Id,
) -> (Vec<(Internal, Action)>, [Internal; 2]) {
    let mirror_split = split(
        config,
        "mirror",
        &[(Share::Flag(true), 1_250), (Share::Flag(false), 8_750)],
    );
    let mirror = action(
        words,
        2,
        Step::Mirror(MirrorRequest {
            target: Target::Leg(leg(config, cart, true)),
            protocol: Protocol::Http,
            tls: None,
            sample: Some(mirror_split),
        }),
    );
    let mirror_id = Id::of(&mirror);
    let changes = changes(config, words);
    let cors = Cors {
        origins: vec![
            OriginPattern::Exact(words.value.clone()),
            OriginPattern::Wildcard {
                scheme: "https://".to_owned(),
                rest: words.value.clone(),
            },
        ],
        credentials: true,
        methods: Some(["GET", "PUT"].into_iter().filter_map(Method::new).collect()),
        request_headers: None,
        exposed_headers: Some(vec![header("x-total")]),
        max_age: 600,
    };
    let cors_id = Id::of(&cors);
    config.cors.insert(cors_id, cors);
    let first = Action {
        request_headers: changes.clone(),
        response_headers: changes,
        cors: Some(cors_id),
        mirrors: vec![mirror_id],
        ..action(words, 2, Step::Proxy(proxy(shop)))
    };
    let second = action(
        words,
        2,
        Step::Proxy(Proxy {
            protocol: Protocol::H2c,
            path: Some(RewrittenPath::Full(words.path.clone())),
            ..proxy(cart)
        }),
    );
    let backends = [Share::Backend(Id::of(&first)), Share::Backend(Id::of(&second))];
    let backend_split = split(config, "backend", &[(backends[0], 7_000), (backends[1], 3_000)]);
    let rule = action(words, 2, Step::Split(backend_split));
    let h2c = action(
        words,
        3,
        Step::Proxy(Proxy {
            protocol: Protocol::H2c,
            ..proxy(shop)
        }),
    );
    let rules = [&rule, &h2c].map(|action| Internal::Rule(Id::of(action)));
    let internal = vec![
        (Internal::Backend(Id::of(&first)), first),
        (Internal::Backend(Id::of(&second)), second),
        (rules[0], rule),
        (rules[1], h2c),
        (Internal::Mirror(mirror_id), mirror),
    ];
    (internal, rules)
}

fn split(config: &mut Config, salt: &'static str, shares: &[(Share, u16)]) -> Id {
    let split = Split {
        salt,
        shares: shares.to_vec(),
    };
    let id = Id::of(&split);
    config.splits.insert(id, split);
    id
}

fn dispatch(config: &mut Config, words: &Words, [split, h2c]: [Internal; 2]) -> Id {
    let pattern =
        Pattern::regex(&words.pattern).unwrap_or_else(|_| Pattern::literal(words.pattern.as_bytes()));
    let mut is = |subject, pattern: &Pattern| {
        let pattern = pattern.clone();
        let condition = Condition { subject, pattern };
        let id = Id::of(&condition);
        config.conditions.insert(id, condition);
        id
    };
    let post = Method::new("POST").expect("a method");
    let version = is(Subject::Header(header("x-version")), &pattern);
    let value = is(
        Subject::Query(words.name.clone()),
        &Pattern::literal(words.value.as_bytes()),
    );
    let method = is(Subject::Method(post), &Pattern::literal(b"POST"));
    let below = is(Subject::Path, &pattern);
    let dispatch = Dispatch {
        choices: vec![
            (vec![version], split),
            (vec![value], h2c),
            (vec![method, below], h2c),
        ],
    };
    let id = Id::of(&dispatch);
    config.dispatches.insert(id, dispatch);
    id
}

/// Ways to a backend that are neither plain text nor NGINX's alone.
fn beyond(config: &mut Config, words: &Words, shop: Id) -> [Action; 4] {
    let tls = tls(config, words);
    let [closed, open] = [false, true].map(|fail_open| Target::Leg(leg(config, shop, fail_open)));
    [
        (Target::Upstream(shop), Protocol::Http, Some(tls)),
        (Target::Upstream(shop), Protocol::H2c, Some(tls)),
        (closed, Protocol::Http, None),
        (open, Protocol::H2c, None),
    ]
    .map(|(target, protocol, tls)| {
        let proxy = Proxy {
            target,
            protocol,
            tls,
            ..proxy(shop)
        };
        action(words, 7, Step::Proxy(proxy))
    })
}

fn locations(config: &mut Config, words: &Words, [shop, cart]: [Id; 2], dispatch: Id) -> Vec<Location> {
    let mut rewrite = |prefix| {
        let rewrite = PathRewrite {
            prefix: path(prefix),
            replacement: words.path.clone(),
        };
        let id = Id::of(&rewrite);
        config.rewrites.insert(id, rewrite);
        Some(RewrittenPath::Prefix(id))
    };
    let rewritten = action(
        words,
        0,
        Step::Proxy(Proxy {
            host: Some(hostname("internal.example")),
            path: rewrite("/old"),
            ..proxy(shop)
        }),
    );
    let rewritten_h2c = action(
        words,
        0,
        Step::Proxy(Proxy {
            protocol: Protocol::H2c,
            path: rewrite("/oldh2c"),
            ..proxy(shop)
        }),
    );
    let redirect = |path| {
        Step::Redirect(Redirect {
            status: 302,
            scheme: Some("https"),
            host: None,
            port: Some(8443),
            path,
        })
    };
    let balanced = [(Share::Upstream(shop), 5_000), (Share::Upstream(cart), 5_000)];
    let balanced = split(config, "backend", &balanced);
    let [encrypted, encrypted_h2, leg, open_leg] = beyond(config, words, shop);
    let steps = [
        ("/encrypted", encrypted),
        ("/encryptedh2", encrypted_h2),
        ("/leg", leg),
        ("/failopen", open_leg),
        ("/", action(words, 1, Step::Proxy(proxy(shop)))),
        ("/old", rewritten),
        ("/oldh2c", rewritten_h2c),
        (
            "/balanced",
            action(
                words,
                6,
                Step::Proxy(Proxy {
                    target: Target::Split(balanced),
                    protocol: Protocol::H2c,
                    ..proxy(shop)
                }),
            ),
        ),
        ("/moved", action(words, 4, redirect(None))),
        (
            "/replaced",
            action(words, 4, redirect(Some(RewrittenPath::Full(words.path.clone())))),
        ),
        ("/broken", action(words, 5, Step::Refuse(500))),
    ];
    let mut locations = vec![
        Location {
            path: LocationPath::Exact(path("/dispatched%20%22%3b%7b%24x%5c")),
            then: Then::Dispatch(dispatch),
        },
        Location {
            path: LocationPath::Below(path("/dispatched").trimmed()),
            then: Then::Dispatch(dispatch),
        },
    ];
    for (at, action) in steps {
        let trimmed = path(at).trimmed();
        let then = Then::Do(action.into());
        locations.extend(trimmed.clone().map(|path| Location {
            path: LocationPath::Exact(path),
            then: then.clone(),
        }));
        locations.push(Location {
            path: LocationPath::Below(trimmed),
            then,
        });
    }
    locations
}
