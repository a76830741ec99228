//! Cross-origin resource sharing: the answers to browsers that ask what a script may do.
//!
//! See <https://gateway-api.sigs.k8s.io/reference/spec/#httpcorsfilter> and <https://fetch.spec.whatwg.org/#http-cors-protocol>.
//! Every value is empty for an origin that is not let in, and NGINX does not print a header with an empty value.

use super::{
    headers::Field,
    pattern::Regex,
    text::{FieldName, Key, Value, Variable},
    view::views,
};
use crate::{
    config::{Cors, OriginPattern},
    syntax::{HeaderName, Id},
};

/// Headers that are the gateway's to send where there is a policy, so those of the backend are dropped.
const HEADERS: [&str; 6] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "access-control-max-age",
];

views! {
    /// The values of a policy.
    struct CorsView {
        origin: Variable,
        any: bool,
        exact: Vec<Key>,
        wildcards: Vec<Regex>,
        headers: Vec<HeaderView>,
    }

    /// A value for origins that are let in.
    struct HeaderView {
        variable: Variable,
        value: Value,
    }
}

/// The maps of a policy.
pub(super) fn view(id: Id, cors: &Cors) -> CorsView {
    let mut exact = Vec::new();
    let mut wildcards = Vec::new();
    for origin in &cors.origins {
        match origin {
            OriginPattern::Any => {}
            OriginPattern::Exact(origin) => exact.push(Key(without_default_port(origin).to_owned())),
            OriginPattern::Wildcard { scheme, rest } => {
                wildcards.push(Regex::origin(scheme, rest));
            }
        }
    }
    let headers = values(cors).into_iter().map(|(what, value)| HeaderView {
        variable: Variable::Cors(id, what),
        value,
    });
    CorsView {
        origin: Variable::Cors(id, "origin"),
        any: cors.origins.contains(&OriginPattern::Any),
        exact,
        wildcards,
        headers: headers.collect(),
    }
}

/// Headers of the backend that are dropped.
pub(super) fn hidden() -> impl Iterator<Item = FieldName> {
    let names = HEADERS.into_iter().map(HeaderName::new);
    names.map(|name| FieldName(name.expect("names in the source are valid")))
}

/// Headers of the answer to a preflight request.
///
/// Browsers take the exposed headers from the answer that follows, but the conformance suite looks for them here too.
pub(super) fn preflight(id: Id, cors: &Cors) -> Vec<Field> {
    fields(
        id,
        cors,
        &["credentials", "methods", "headers", "expose", "max_age"],
    )
}

/// Headers of every other response.
pub(super) fn response(id: Id, cors: &Cors) -> Vec<Field> {
    fields(id, cors, &["credentials", "expose"])
}

fn fields(id: Id, cors: &Cors, wanted: &[&str]) -> Vec<Field> {
    let value = |what| Value::variable(Variable::Cors(id, what));
    let mut fields = vec![
        Field::new("vary", Value::text("Origin")),
        Field::new("access-control-allow-origin", value("origin")),
    ];
    for (what, _) in values(cors) {
        if wanted.contains(&what) {
            fields.push(Field::new(header(what), value(what)));
        }
    }
    fields
}

fn header(what: &str) -> &'static str {
    match what {
        "credentials" => "access-control-allow-credentials",
        "methods" => "access-control-allow-methods",
        "headers" => "access-control-allow-headers",
        "expose" => "access-control-expose-headers",
        _ => "access-control-max-age",
    }
}

/// The values for origins that are let in. What is let in without limit is answered with what was asked for, as a
/// wildcard would not hold for requests with credentials.
fn values(cors: &Cors) -> Vec<(&'static str, Value)> {
    let Cors {
        origins: _,
        credentials,
        methods,
        request_headers,
        exposed_headers,
        max_age,
    } = cors;
    let mut values = Vec::new();
    if *credentials {
        values.push(("credentials", Value::text("true")));
    }
    match methods {
        None => values.push(("methods", Value::nginx("http_access_control_request_method"))),
        Some(methods) if methods.is_empty() => {}
        Some(methods) => values.push(("methods", list(methods))),
    }
    match request_headers {
        None => values.push(("headers", Value::nginx("http_access_control_request_headers"))),
        Some(names) if names.is_empty() => {}
        Some(names) => values.push(("headers", list(names))),
    }
    match exposed_headers {
        // With credentials there is no way to name all of them.
        None if *credentials => {}
        None => values.push(("expose", Value::text("*"))),
        Some(names) if names.is_empty() => {}
        Some(names) => values.push(("expose", list(names))),
    }
    values.push(("max_age", Value::text(&max_age.to_string())));
    values
}

fn list<T: ToString>(names: &[T]) -> Value {
    let names = names.iter().map(ToString::to_string).collect::<Vec<_>>();
    Value::text(&names.join(", "))
}

/// The origin as browsers send it, who leave out the port that the scheme implies.
fn without_default_port(origin: &str) -> &str {
    let port = if origin.starts_with("https:") {
        ":443"
    } else {
        ":80"
    };
    origin.strip_suffix(port).unwrap_or(origin)
}
