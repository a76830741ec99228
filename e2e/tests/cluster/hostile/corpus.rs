//! Objects with something in each place where text can be that means something to NGINX, or to nobody.

use std::iter;

use anyhow::Result;
use e2e::certificates::Certificate;
use serde_json::{Value, json};

/// Lists of an object to change and of those for which it matters, one for each kind and purpose.
const BUNDLES: &str = include_str!("bundles.yaml");

/// A prime with which all cases of a bundle are come by in an order that mixes places and values.
const STRIDE: usize = 7919;

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

/// Of each bundle this many objects at most, each with one thing in one place, with those for which it matters.
pub(crate) fn cases(most: usize) -> Result<Vec<Vec<Value>>> {
    let certificate = Certificate::self_signed(&["hostile.example"]);
    // Quoted in YAML as in JSON.
    let quoted = |text: &str| json!(text).to_string();
    let bundles = BUNDLES
        .replace("\"{certificate}\"", &quoted(&certificate.certificate))
        .replace("\"{key}\"", &quoted(&certificate.key));
    let mut cases = Vec::new();
    for bundle in bundles.split("\n---\n") {
        let harmless: Vec<Value> = serde_saphyr::from_str(bundle)?;
        let places = places(&harmless[0]);
        let values: Vec<Value> = values().collect();
        let all = places.len() * values.len();
        for number in (0..all.min(most)).map(|number| number * STRIDE % all) {
            let text = bundle.replace("{number}", &number.to_string());
            let mut case: Vec<Value> = serde_saphyr::from_str(&text)?;
            let place = case[0].pointer_mut(&places[number / values.len()]);
            *place.expect("all cases of a bundle have the same places") =
                values[number % values.len()].clone();
            cases.push(case);
        }
    }
    Ok(cases)
}

/// JSON pointers to all parts of an object that have no parts themselves, but for those that say which object it is.
fn places(object: &Value) -> Vec<String> {
    let mut places = Vec::new();
    let mut rest = vec![(String::new(), object)];
    while let Some((place, part)) = rest.pop() {
        match part {
            Value::Object(fields) => {
                let names = fields
                    .iter()
                    .map(|(name, part)| (name.replace('~', "~0").replace('/', "~1"), part));
                rest.extend(names.map(|(name, part)| (format!("{place}/{name}"), part)));
            }
            Value::Array(items) => {
                rest.extend(
                    items
                        .iter()
                        .enumerate()
                        .map(|(index, part)| (format!("{place}/{index}"), part)),
                );
            }
            _ => places.push(place),
        }
    }
    places.retain(|place| {
        !["/apiVersion", "/kind"].contains(&place.as_str()) && !place.starts_with("/metadata/")
    });
    places.sort();
    places
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
