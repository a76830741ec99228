//! NGINX, as Flotilla configures it, picks the rule that the reference matcher picks, and `flotilla explain` names it.
//!
//! `PAIRS` sets the number of pairs of routes and requests, `SEED` where the random numbers begin.

use std::env;

use anyhow::{Context, Result, ensure};
use e2e::{
    client::{self, Connection},
    echo::Echo,
    loopback::Loopback,
    plain::Plain,
    random::Random,
    reference::{Gateway, Match, PathMatch, Request, Route, Rule, ValueMatch, normalized, winner},
};
use hyper::Method;
use serde_json::{Value, json};

/// How many requests meet the same routes.
const REQUESTS: u64 = 50;

/// One in so many requests is explained, too.
const EXPLAINED: u64 = 10;

/// How many pairs are tried when nobody says.
const PAIRS: u64 = 5000;

/// The ports of Services for HTTP/1.1 and for HTTP/2.
const HTTP: u16 = 80;
const H2C: u16 = 81;

/// The header by which a backend knows the rule that led to it.
const RULE: &str = "x-rule";

/// A route and a rule of it, as indices; none for 404.
type Picked = Option<(usize, usize)>;

#[tokio::test]
async fn nginx_picks_the_rule_that_the_specification_picks() -> Result<()> {
    let number = |name: &str, default| env::var(name).map_or(Ok(default), |text| text.parse());
    let (pairs, first) = (number("PAIRS", PAIRS)?, number("SEED", 0)?);
    let loopback = Loopback::lease()?;
    let mut backends = Vec::new();
    for (route, host) in (0..Random::ROUTES).zip(100..) {
        backends.push(Echo::start(&service(route), loopback.socket(host, 3000)).await?);
    }
    let mut served = 0;
    for seed in first..first + pairs.div_ceil(REQUESTS) {
        served += compare(&loopback, &backends, seed)
            .await
            .with_context(|| format!("with SEED={seed}"))?;
        if pairs > PAIRS && seed % 100 == 99 {
            eprintln!("{} of {pairs} pairs", (seed - first + 1) * REQUESTS);
        }
    }
    println!(
        "{} pairs, {served} of them served by a rule",
        pairs.div_ceil(REQUESTS) * REQUESTS
    );
    Ok(())
}

/// Sends random requests to the routes of a seed; returns how many were served by a rule.
async fn compare(loopback: &Loopback, backends: &[Echo], seed: u64) -> Result<u64> {
    let mut random = Random::seeded(seed);
    let gateway = random.gateway();
    let manifests = manifests(&gateway);
    let endpoint = |service: &str| Some(backends[number_of(service)?].address());
    let rendered = Plain::rendered(loopback, &manifests, endpoint)
        .await
        .with_context(|| manifests.clone())?;
    let mut connection = rendered.target().connect().await?;
    let mut served = 0;
    for number in 0..REQUESTS {
        let request = random.request();
        if !connection.ready().await {
            connection = rendered.target().connect().await?;
        }
        let expected = winner(&gateway, &request);
        let found = answer(&mut connection, &request)
            .await
            .with_context(|| format!("{}\n{request:#?}", rendered.log()))?;
        ensure!(
            found == expected,
            "NGINX picks {found:?}, the reference {expected:?}\n{request:#?}\n{}",
            in_question(&gateway, found, expected),
        );
        if number % EXPLAINED == 0 {
            let explanation = explanation(&rendered, &request)?;
            let named = named(&explanation, &gateway.routes)?;
            ensure!(
                named == expected,
                "explain names {named:?}, NGINX and the reference pick {expected:?}\n{request:#?}\n{explanation}",
            );
        }
        served += u64::from(found.is_some());
    }
    Ok(served)
}

/// The route and rule that a redirect, a CORS filter or a backend names.
async fn answer(connection: &mut Connection, request: &Request) -> Result<Picked> {
    let Request {
        method,
        host,
        path,
        headers,
        ..
    } = request;
    let target = request.target();
    let sent = client::Request::new(method.parse::<Method>()?, &target).host(host);
    let sent = headers
        .iter()
        .fold(sent, |sent, (name, value)| sent.header(name, value));
    let answer = connection.send(sent).await?;
    let location = answer.header("location");
    match answer.status.as_u16() {
        404 => Ok(None),
        204 => picked(answer.header("access-control-expose-headers")),
        302 => {
            let host = location.split('/').nth(2).unwrap_or_default();
            picked(host.split('.').next().unwrap_or_default())
        }
        _ => {
            let seen = answer.seen()?;
            // To a backend that speaks HTTP/2, NGINX encodes the path anew.
            let is_as_sent = if seen.proto == "HTTP/1.1" {
                seen.path == target
            } else {
                seen.path.split('?').next().and_then(normalized) == normalized(path)
            };
            ensure!(is_as_sent, "the backend is asked for {}", seen.path);
            let rule = seen.headers.iter().find(|(name, _)| name == RULE);
            let rule = rule.context("the backend is not told the rule")?.1.parse()?;
            Ok(number_of(&seen.backend).map(|route| (route, rule)))
        }
    }
}

/// The Service of a route, and its backend.
fn service(route: usize) -> String {
    format!("service-{route}")
}

/// The route of a [`service`].
fn number_of(service: &str) -> Option<usize> {
    service.strip_prefix("service-")?.parse().ok()
}

/// What [`name`] was made of.
fn picked(name: &str) -> Result<Picked> {
    let (route, rule) = name
        .split_once('-')
        .with_context(|| format!("{name:?} is no rule of ours"))?;
    Ok(Some((route.parse()?, rule.parse()?)))
}

/// How a rule is named where it leads.
fn name(route: usize, rule: usize) -> String {
    format!("{route}-{rule}")
}

fn explanation(rendered: &Plain, request: &Request) -> Result<String> {
    let Request {
        method,
        host,
        headers,
        ..
    } = request;
    let host = host.split(':').next().unwrap_or_default();
    let (port, target) = (Plain::RENDERED_PORT, request.target());
    let headers = headers.iter().map(|(name, value)| format!("{name}: {value}"));
    rendered.explanation(
        &format!("{method} http://{host}:{port}{target}"),
        &headers.collect::<Vec<_>>(),
    )
}

/// The route and rule that an explanation ends with: `+ HTTPRoute NAMESPACE/NAME rule NUMBER match NUMBER: PATH`.
fn named(explanation: &str, routes: &[Route]) -> Result<Picked> {
    let taken = explanation
        .lines()
        .find_map(|line| line.strip_prefix("  + HTTPRoute "));
    let Some(taken) = taken else {
        ensure!(explanation.contains("  404: "), "{explanation}");
        return Ok(None);
    };
    let mut words = taken.split(' ');
    let (key, rule) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
    let is_named = |route: &Route| format!("{}/{}", route.name.0, route.name.1) == key;
    let route = routes.iter().position(is_named).with_context(|| key.to_owned())?;
    Ok(Some((route, rule.parse()?)))
}

/// Only the rules in question: the whole is reproduced by its seed.
fn in_question(gateway: &Gateway, found: Picked, expected: Picked) -> String {
    let one = |(route, rule): (usize, usize)| {
        let Route {
            name: (_, name),
            created,
            listener,
            hostnames,
            rules,
        } = &gateway.routes[route];
        format!(
            "{name}, created {created}, listener {listener:?}, {hostnames:?}, rule {rule}: {:#?}\n",
            rules[rule]
        )
    };
    let rules = [found, expected].into_iter().flatten().map(one);
    format!("{:?}\n{}", gateway.listeners, rules.collect::<String>())
}

/// A class, a Gateway, and the routes with a Service each that speaks HTTP/1.1 on one port and HTTP/2 on another.
fn manifests(gateway: &Gateway) -> String {
    let Gateway { listeners, routes } = gateway;
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": { "name": "flotilla" },
        "spec": { "controllerName": "flotilla.dev/gateway-controller" },
    });
    let listeners = listeners.iter().enumerate().map(|(number, hostname)| {
        json!({
            "name": listener(number), "protocol": "HTTP", "port": Plain::RENDERED_PORT, "hostname": hostname,
            "allowedRoutes": { "namespaces": { "from": "All" } },
        })
    });
    let edge = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": { "name": "edge", "namespace": "default" },
        "spec": { "gatewayClassName": "flotilla", "listeners": listeners.collect::<Vec<_>>() },
    });
    let services = (0..routes.len()).map(|route| {
        let ports = [("http", HTTP, "http"), ("h2c", H2C, "kubernetes.io/h2c")];
        let ports = ports
            .map(|(name, port, protocol)| json!({ "name": name, "port": port, "appProtocol": protocol }));
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": service(route), "namespace": "routes" },
            "spec": { "ports": ports },
        })
    });
    let routes = routes
        .iter()
        .enumerate()
        .map(|(number, route)| manifest(number, route));
    let objects = [class, edge]
        .into_iter()
        .chain(services)
        .chain(routes)
        .map(|object| object.to_string());
    objects.collect::<Vec<_>>().join("\n---\n")
}

fn listener(number: usize) -> String {
    format!("listener-{number}")
}

fn manifest(number: usize, route: &Route) -> Value {
    let rules = route.rules.iter().enumerate().map(|(index, rule)| {
        let mut leading = leading(number, index, rule);
        leading["matches"] = rule.matches.iter().map(condition).collect();
        leading
    });
    let (namespace, name) = &route.name;
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": name, "namespace": namespace,
            "creationTimestamp": format!("2026-01-01T00:00:{:02}Z", route.created),
        },
        "spec": {
            "parentRefs": [{ "name": "edge", "namespace": "default", "sectionName": route.listener.map(listener) }],
            "hostnames": route.hostnames,
            "rules": rules.collect::<Vec<_>>(),
        },
    })
}

/// A rule that leads to one of three, and names itself there: a host, or a backend of either version of HTTP, whose name
/// is the route's. With a policy for CORS it also names itself in its answers to preflight requests.
fn leading(route: usize, index: usize, rule: &Rule) -> Value {
    let name = name(route, index);
    let mut filters = Vec::new();
    if rule.cors {
        let policy = json!({ "allowOrigins": ["*"], "exposeHeaders": [name] });
        filters.push(json!({ "type": "CORS", "cors": policy }));
    }
    // Routes that have the same rules lead to the same.
    let port = match (index + rule.matches.len()) % 3 {
        0 => {
            let redirect = json!({ "hostname": format!("{name}.example") });
            filters.push(json!({ "type": "RequestRedirect", "requestRedirect": redirect }));
            return json!({ "filters": filters });
        }
        1 => HTTP,
        _ => H2C,
    };
    let set = json!({ "set": [{ "name": RULE, "value": index.to_string() }] });
    filters.push(json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": set }));
    json!({ "filters": filters, "backendRefs": [{ "name": service(route), "port": port }] })
}

fn condition(wanted: &Match) -> Value {
    let (path_type, path) = match &wanted.path {
        PathMatch::Exact(path) => ("Exact", path),
        PathMatch::Regex(pattern) => ("RegularExpression", pattern),
        PathMatch::Prefix(prefix) => ("PathPrefix", prefix),
    };
    let values = |wanted: &[(String, ValueMatch)]| {
        let values = wanted.iter().map(|(name, value)| match value {
            ValueMatch::Exact(value) => json!({ "name": name, "type": "Exact", "value": value }),
            ValueMatch::Regex(pattern) => {
                json!({ "name": name, "type": "RegularExpression", "value": pattern })
            }
        });
        values.collect::<Vec<_>>()
    };
    let mut condition = json!({
        "path": { "type": path_type, "value": path },
        "headers": values(&wanted.headers),
        "queryParams": values(&wanted.query),
    });
    if let Some(method) = &wanted.method {
        condition["method"] = json!(method);
    }
    condition
}
