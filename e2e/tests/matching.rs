//! NGINX, as Flotilla configures it, picks the rule that the reference matcher picks.
//!
//! `PAIRS` sets the number of pairs of routes and requests, `SEED` where the random numbers begin.

use std::env;

use anyhow::{Context, Result, ensure};
use e2e::{
    client::{self, Connection},
    loopback::Loopback,
    plain::Plain,
    random::Random,
    reference::{Match, PathMatch, Request, Route, ValueMatch, winner},
};
use hyper::Method;
use serde_json::{Value, json};

/// How many requests meet the same routes.
const REQUESTS: u64 = 50;

/// How many pairs are tried when nobody says.
const PAIRS: u64 = 5000;

#[tokio::test]
async fn nginx_picks_the_rule_that_the_specification_picks() -> Result<()> {
    let number = |name: &str, default| env::var(name).map_or(Ok(default), |text| text.parse());
    let (pairs, first) = (number("PAIRS", PAIRS)?, number("SEED", 0)?);
    let loopback = Loopback::lease()?;
    let mut served = 0;
    for seed in first..first + pairs.div_ceil(REQUESTS) {
        served += compare(&loopback, seed)
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
async fn compare(loopback: &Loopback, seed: u64) -> Result<u64> {
    let mut random = Random::seeded(seed);
    let routes = random.routes();
    let manifests = manifests(&routes);
    let rendered = Plain::rendered(loopback, &manifests)
        .await
        .with_context(|| manifests.clone())?;
    let mut connection = rendered.target().connect().await?;
    let mut served = 0;
    for _ in 0..REQUESTS {
        let request = random.request();
        if !connection.ready().await {
            connection = rendered.target().connect().await?;
        }
        let (expected, found) = (
            winner(&routes, &request),
            answer(&mut connection, &request)
                .await
                .with_context(|| rendered.log())?,
        );
        ensure!(
            found == expected,
            "NGINX picks {found:?}, the reference {expected:?}\n{request:#?}\n{}",
            explained(&routes, found, expected),
        );
        served += u64::from(found.is_some());
    }
    Ok(served)
}

/// The route and rule whose redirect is the answer.
async fn answer(connection: &mut Connection, request: &Request) -> Result<Option<(usize, usize)>> {
    let Request {
        method,
        host,
        path,
        query,
        headers,
    } = request;
    let target = if query.is_empty() {
        path.clone()
    } else {
        format!("{path}?{query}")
    };
    let request = client::Request::new(method.parse::<Method>()?, &target).host(host);
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(name, value));
    let answer = connection.send(request).await?;
    if answer.status == 404 {
        return Ok(None);
    }
    ensure!(answer.status == 302, "{answer}");
    let location = answer.header("location");
    let host = location
        .split('/')
        .nth(2)
        .and_then(|host| host.split('.').next())
        .unwrap_or_default();
    let (route, rule) = host
        .split_once('-')
        .with_context(|| format!("no redirect of ours: {location}"))?;
    Ok(Some((route.parse()?, rule.parse()?)))
}

/// Only the rules in question: the whole is reproduced by its seed.
fn explained(routes: &[Route], found: Option<(usize, usize)>, expected: Option<(usize, usize)>) -> String {
    let one = |(route, rule): (usize, usize)| {
        let Route {
            name: (_, name),
            created,
            hostnames,
            rules,
        } = &routes[route];
        format!(
            "{name}, created {created}, {hostnames:?}, rule {rule}: {:#?}\n",
            rules[rule]
        )
    };
    [found, expected].into_iter().flatten().map(one).collect()
}

/// A class, a Gateway, and the routes; each rule redirects to a host that names it.
fn manifests(routes: &[Route]) -> String {
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": { "name": "flotilla" },
        "spec": { "controllerName": "flotilla.dev/gateway-controller" },
    });
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": { "name": "edge", "namespace": "default" },
        "spec": {
            "gatewayClassName": "flotilla",
            "listeners": [{
                "name": "http", "protocol": "HTTP", "port": Plain::RENDERED_PORT,
                "allowedRoutes": { "namespaces": { "from": "All" } },
            }],
        },
    });
    let routes = routes
        .iter()
        .enumerate()
        .map(|(number, route)| manifest(number, route));
    let objects = [class, gateway]
        .into_iter()
        .chain(routes)
        .map(|object| object.to_string());
    objects.collect::<Vec<_>>().join("\n---\n")
}

fn manifest(number: usize, route: &Route) -> Value {
    let rules = route.rules.iter().enumerate().map(|(rule, matches)| {
        let hostname = format!("{number}-{rule}.example");
        json!({
            "matches": matches.iter().map(condition).collect::<Vec<_>>(),
            "filters": [{ "type": "RequestRedirect", "requestRedirect": { "hostname": hostname } }],
        })
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
            "parentRefs": [{ "name": "edge", "namespace": "default" }],
            "hostnames": route.hostnames,
            "rules": rules.collect::<Vec<_>>(),
        },
    })
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
