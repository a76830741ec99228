//! Specs of routes with something in each place where text can be that means something to NGINX, or to nobody.

use std::iter;

use serde_json::{Value, json};

use crate::harness::ECHO;

/// Where something can be.
const PLACES: [&str; 22] = [
    "/parentRefs/0/name",
    "/parentRefs/0/sectionName",
    "/hostnames/0",
    "/rules/0/name",
    "/rules/0/matches/0/path/type",
    "/rules/0/matches/0/path/value",
    "/rules/0/matches/0/headers/0/type",
    "/rules/0/matches/0/headers/0/name",
    "/rules/0/matches/0/headers/0/value",
    "/rules/0/matches/0/queryParams/0/type",
    "/rules/0/matches/0/queryParams/0/name",
    "/rules/0/matches/0/queryParams/0/value",
    "/rules/0/matches/0/method",
    "/rules/0/filters/0/requestHeaderModifier/set/0/name",
    "/rules/0/filters/0/requestHeaderModifier/set/0/value",
    "/rules/0/filters/1/urlRewrite/hostname",
    "/rules/0/filters/1/urlRewrite/path/replacePrefixMatch",
    "/rules/0/filters/2/cors/allowOrigins/0",
    "/rules/0/filters/2/cors/allowHeaders/0",
    "/rules/0/backendRefs/0/name",
    "/rules/0/backendRefs/0/port",
    "/rules/0/backendRefs/0/weight",
];

/// What has a value and can be a regular expression, with which the value means more.
const PATTERNS: [&str; 3] = [
    "/rules/0/matches/0/path",
    "/rules/0/matches/0/headers/0",
    "/rules/0/matches/0/queryParams/0",
];

const TEXTS: [&str; 41] = [
    "",
    "/",
    "*",
    "*.example",
    "RegularExpression",
    "Exact",
    "/a b",
    "/\"",
    "'",
    "\\",
    "/\\",
    "/$host",
    "${request_uri}",
    "$",
    "/;",
    "/{",
    "}",
    "#",
    "/%00",
    "/%zz",
    "/../../etc/passwd",
    "/\n",
    "\u{0}",
    "\u{7f}",
    "/☃",
    "(",
    "(((",
    "[",
    "a{1000000}",
    "(a+)+$",
    "(?<name>",
    "; return 200 taken; #",
    "\"; } server { listen 81; } #",
    "include /etc/passwd;",
    "X-Forwarded-For",
    "host",
    "content-length",
    "connection",
    "x-flotilla-leg",
    "https://*",
    "*://*",
];

/// All of them, each with one thing in one place.
pub(crate) fn specs() -> impl Iterator<Item = Value> {
    let places = PLACES.iter().flat_map(|place| {
        values().map(|value| {
            let mut spec = harmless();
            *part(&mut spec, place) = value;
            spec
        })
    });
    let patterns = PATTERNS.iter().flat_map(|place| {
        values().map(|value| {
            let mut spec = harmless();
            let pattern = part(&mut spec, place);
            pattern["type"] = "RegularExpression".into();
            pattern["value"] = value;
            spec
        })
    });
    places.chain(patterns)
}

fn part<'a>(spec: &'a mut Value, place: &str) -> &'a mut Value {
    spec.pointer_mut(place)
        .expect("the harmless spec has every place")
}

fn values() -> impl Iterator<Item = Value> {
    let long = format!("/{}", "long".repeat(250));
    let others = [
        json!(0),
        json!(-1),
        json!(65_536),
        json!(1_000_000),
        json!(i64::MAX),
        Value::Null,
        json!([]),
        json!({}),
    ];
    TEXTS
        .map(Value::from)
        .into_iter()
        .chain(iter::once(long.into()))
        .chain(others)
}

fn harmless() -> Value {
    json!({
        "parentRefs": [{"name": "edge", "sectionName": "http"}],
        "hostnames": ["hostile.example"],
        "rules": [{
            "name": "rule",
            "matches": [{
                "path": {"type": "PathPrefix", "value": "/"},
                "headers": [{"type": "Exact", "name": "x-header", "value": "value"}],
                "queryParams": [{"type": "Exact", "name": "parameter", "value": "value"}],
                "method": "GET",
            }],
            "filters": [
                {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-set", "value": "value"}]}},
                {"type": "URLRewrite", "urlRewrite": {
                    "hostname": "rewritten.example",
                    "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/prefix"},
                }},
                {"type": "CORS", "cors": {"allowOrigins": ["https://origin.example"], "allowHeaders": ["x-header"]}},
            ],
            "backendRefs": [{"name": ECHO, "port": 80, "weight": 1}],
        }],
    })
}
