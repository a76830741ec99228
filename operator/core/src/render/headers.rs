//! Headers of requests on their way to a backend, and of responses on their way to the client.

use super::{
    text::{FieldName, Value, Variable, Word},
    view::views,
};
use crate::{
    config::{HeaderChanges, Leg, Protocol},
    syntax::{HeaderName, Hostname, Id},
};

/// Response headers that NGINX would replace by its own if it were not told to pass them.
pub(super) const PASSED: [&str; 2] = ["date", "server"];

/// Fields that say where a message ends or what a connection is for: NGINX's own matter, on either side. To change
/// them could make a backend read one request as two.
const OF_THE_CONNECTION: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

views! {
    /// A field of a header.
    struct Field {
        name: FieldName,
        value: Value,
    }
}

impl Field {
    /// A field with a name from this program's source.
    pub(super) fn new(name: &'static str, value: Value) -> Self {
        let name = HeaderName::new(name).expect("names in the source are valid");
        Self {
            name: FieldName(name),
            value,
        }
    }
}

/// Fields that every request to a backend gets.
pub(super) fn base(protocol: Protocol) -> Vec<Field> {
    let mut fields = vec![
        Field::new("host", Value::nginx("request_host")),
        Field::new("x-real-ip", Value::nginx("remote_addr")),
        Field::new("x-forwarded-for", Value::nginx("proxy_add_x_forwarded_for")),
        Field::new("x-forwarded-host", Value::nginx("request_host")),
        Field::new("x-forwarded-proto", Value::nginx("scheme")),
    ];
    if protocol == Protocol::Http {
        fields.push(Field::new("upgrade", Value::nginx("upgrade_header")));
        fields.push(Field::new("connection", Value::nginx("connection_header")));
    }
    fields
}

/// Fields of a request after these changes; none if they are those that every request gets anyway.
///
/// NGINX inherits fields only where a location sets none of its own, so it gets all or none.
pub(super) fn request_fields(
    protocol: Protocol,
    host: Option<&Hostname>,
    changes: &HeaderChanges,
    leg: Option<Id>,
) -> Vec<Field> {
    if host.is_none() && *changes == HeaderChanges::default() && leg.is_none() {
        return Vec::new();
    }
    let mut fields = base(protocol);
    if let Some(host) = host {
        put(&mut fields, &named("host"), Value::text(host.as_str()));
    }
    let HeaderChanges { set, add, remove } = changes;
    for (name, value) in set.iter().filter(|(name, _)| changeable(name)) {
        put(&mut fields, name, Value::text(value));
    }
    for (name, values) in add.iter().filter(|(name, _)| changeable(name)) {
        let added = values.join(",");
        let ours = fields.iter().position(|field| field.name.0 == *name);
        let value = match ours.map(|index| fields[index].value.clone()) {
            Some(value) => value.then_text(",").then_text(&added),
            None => Value::variable(Variable::Joined(name.clone())).then_text(&added),
        };
        put(&mut fields, name, value);
    }
    // A request without a host is none, so that one cannot go.
    for name in remove
        .iter()
        .filter(|name| changeable(name) && name.as_str() != "host")
    {
        put(&mut fields, name, Value::text(""));
    }
    // Last, so that neither a client nor a filter can choose a leg.
    if let Some(leg) = leg {
        put(&mut fields, &named(Leg::HEADER), Value::text(&leg.to_string()));
    }
    fields
}

/// Changes to a response.
#[derive(Default)]
pub(super) struct ResponseFields {
    /// Fields of the backend's response that are dropped.
    pub(super) hidden: Vec<FieldName>,
    /// Fields that are put behind those that are left.
    pub(super) added: Vec<Field>,
}

impl ResponseFields {
    /// What these changes come to.
    pub(super) fn new(changes: &HeaderChanges) -> Self {
        let HeaderChanges { set, add, remove } = changes;
        let set = set.iter().filter(|(name, _)| changeable(name));
        let hidden = set.clone().map(|(name, _)| name).chain(remove);
        let added = add.iter().filter(|(name, _)| changeable(name));
        let added = added.flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        let set = set.map(|(name, value)| (name, value));
        Self {
            hidden: hidden
                .filter(|name| changeable(name))
                .cloned()
                .map(FieldName)
                .collect(),
            added: set
                .chain(added)
                .map(|(name, value)| Field {
                    name: FieldName(name.clone()),
                    value: Value::text(value),
                })
                .collect(),
        }
    }

    /// Which of the headers that are passed by default are still passed; none where that is all of them.
    ///
    /// Passing wins over hiding in NGINX, and an empty list would be inherited: in its place stands a name that no
    /// header has here.
    pub(super) fn passed(&self) -> Vec<Word> {
        let hidden = |name: &str| self.hidden.iter().any(|field| field.0.as_str() == name);
        if !PASSED.into_iter().any(hidden) {
            return Vec::new();
        }
        let left = PASSED
            .into_iter()
            .filter(|name| !hidden(name))
            .map(Word)
            .collect::<Vec<_>>();
        if left.is_empty() { vec![Word("_")] } else { left }
    }
}

fn changeable(name: &HeaderName) -> bool {
    !OF_THE_CONNECTION.contains(&name.as_str())
}

fn named(name: &str) -> HeaderName {
    HeaderName::new(name).expect("names in the source are valid")
}

fn put(fields: &mut Vec<Field>, name: &HeaderName, value: Value) {
    match fields.iter_mut().find(|field| field.name.0 == *name) {
        Some(field) => field.value = value,
        None => fields.push(Field {
            name: FieldName(name.clone()),
            value,
        }),
    }
}
