//! What is true of every snapshot, whatever is in it.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, LazyLock},
};

use operator_core::{
    explain::{Request, explain},
    generation::Generation,
    object::ObjectKey,
    observed::{Instance, Observed, ObservedGateway},
    options::Options,
    outcome::{Outcome, StatusChange},
    reconcile,
    resolve::resolve,
    snapshot::Snapshot,
    with_kinds,
};
use serde_json::{Value, json};

use crate::objects;

/// A Gateway with all it needs, in a namespace that nothing else is put into.
const HEALTHY: &str = include_str!("healthy.yaml");

/// The namespace of [`HEALTHY`], and the name of its class and Gateway.
const NAME: &str = "healthy";

/// When the statuses that a test writes have changed last.
const WRITTEN: &str = "2026-01-01T00:00:00Z";

/// What [`HEALTHY`] is served from where nothing else is.
static ALONE: LazyLock<Arc<Generation>> = LazyLock::new(|| {
    healthy_generation(&reconcile(
        &with_healthy(Vec::new()),
        &Observed::default(),
        &Options::default(),
    ))
});

/// Reconciles documents and asserts all that is to be true of the outcome, which is returned.
pub(crate) fn assert_claims(documents: Vec<Value>) -> Outcome {
    let snapshot = with_healthy(documents);
    let options = Options::default();
    let outcome = reconcile(&snapshot, &Observed::default(), &options);
    assert_eq!(
        outcome,
        reconcile(&snapshot, &Observed::default(), &options),
        "the outcome depends on its arguments alone"
    );
    assert_eq!(
        healthy_generation(&outcome),
        *ALONE,
        "an object that is right is served as if there were no others"
    );
    assert_statuses_settle(&snapshot, &outcome);
    for url in [
        "GET http://shop.example.com/a?q=1",
        "POST https://a.example.com/.flotilla/%ff",
    ] {
        let request = Request::parse(url, ["x-a: b"]).expect("this is a request");
        let _ = explain(&resolve(&snapshot, &Observed::default(), &options), &request);
    }
    outcome
}

/// Statuses that are written are no change; those of gateways that run as wanted change once more, and keep the time
/// of what is as it was.
fn assert_statuses_settle(snapshot: &Snapshot, outcome: &Outcome) {
    let options = Options::default();
    let written = written(snapshot, &outcome.statuses);
    let again = reconcile(&written, &Observed::default(), &options);
    assert_eq!(again.statuses, [], "what was written is not written again");
    assert!(
        again.gateways == outcome.gateways,
        "statuses change nothing that is served"
    );

    let observed = serving(outcome);
    let served = reconcile(&written, &observed, &options);
    for change in &served.statuses {
        let before = status_of(&written, change);
        let after = conditions(&serde_json::to_value(&change.status).expect("a status is JSON"));
        for (place, condition) in conditions(&before) {
            if let Some(now) = after
                .get(&place)
                .filter(|now| now["status"] == condition["status"])
            {
                assert_eq!(
                    now["lastTransitionTime"], condition["lastTransitionTime"],
                    "{place}"
                );
            }
        }
    }
    let settled = self::written(&written, &served.statuses);
    assert_eq!(
        reconcile(&settled, &observed, &options).statuses,
        [],
        "statuses settle"
    );
}

/// The objects that can be read, and the healthy ones, which nothing takes the place of.
fn with_healthy(documents: Vec<Value>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for document in documents {
        if document["metadata"]["namespace"] != NAME {
            // What cannot be read is not in a snapshot.
            let _ = objects::insert(&mut snapshot, document);
        }
    }
    // Empty is what `namespace: null` is.
    snapshot.namespaces.remove(&ObjectKey::new("", NAME));
    for document in serde_saphyr::from_multiple::<Value>(HEALTHY).expect("this is YAML") {
        objects::insert(&mut snapshot, document).expect("these are objects");
    }
    snapshot
}

fn healthy_generation(outcome: &Outcome) -> Arc<Generation> {
    let gateway = &outcome.gateways[&ObjectKey::new(NAME, NAME)];
    Arc::clone(gateway.generation.as_ref().expect("a healthy Gateway is served"))
}

/// What is observed where every gateway serves what is wanted.
fn serving(outcome: &Outcome) -> Observed {
    let gateways = outcome.gateways.iter().map(|(key, gateway)| {
        let config = gateway
            .generation
            .as_ref()
            .map(|generation| generation.config.version.clone());
        let instance = Instance {
            config: config.unwrap_or_default(),
            ready: true,
            ..Instance::default()
        };
        let observed = ObservedGateway {
            addresses: vec![Ipv4Addr::LOCALHOST.to_string()],
            instances: BTreeMap::from([("one".to_owned(), instance)]),
            ..ObservedGateway::default()
        };
        (key.clone(), observed)
    });
    Observed {
        gateways: gateways.collect(),
        ..Observed::default()
    }
}

macro_rules! statuses {
    ($($field:ident: $type:ty = $kind:literal,)*) => {
        /// The snapshot after these statuses were written.
        fn written(snapshot: &Snapshot, changes: &[StatusChange]) -> Snapshot {
            let mut snapshot = snapshot.clone();
            for change in changes {
                let mut status = serde_json::to_value(&change.status).expect("a status is JSON");
                date(&mut status);
                match change.kind {
                    $($kind => {
                        let mut object = serde_json::to_value(&*snapshot.$field[&change.object]).expect("an object is JSON");
                        object["status"] = status;
                        let object: $type = serde_json::from_value(object).expect("a status of ours can be read");
                        snapshot.$field.insert(change.object.clone(), Arc::new(object));
                    })*
                    other => panic!("{other} is no kind"),
                }
            }
            snapshot
        }

        /// The stored status of the object that a change is about.
        fn status_of(snapshot: &Snapshot, change: &StatusChange) -> Value {
            let object = match change.kind {
                $($kind => serde_json::to_value(&*snapshot.$field[&change.object]),)*
                other => panic!("{other} is no kind"),
            };
            object.expect("an object is JSON")["status"].take()
        }
    };
}
with_kinds!(statuses);

/// Puts a time where core, which knows none, leaves the epoch.
fn date(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(time) = fields.get_mut("lastTransitionTime")
                && *time == json!("1970-01-01T00:00:00Z")
            {
                *time = WRITTEN.into();
            }
            fields.values_mut().for_each(date);
        }
        Value::Array(items) => items.iter_mut().for_each(date),
        _ => {}
    }
}

/// Every condition of a status, by its place.
fn conditions(status: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut parts = vec![(String::new(), status)];
    while let Some((place, part)) = parts.pop() {
        match part {
            Value::Object(fields) if fields.contains_key("lastTransitionTime") => {
                found.insert(format!("{place} {}", fields["type"]), part.clone());
            }
            Value::Object(fields) => parts.extend(
                fields
                    .iter()
                    .map(|(name, part)| (format!("{place}/{name}"), part)),
            ),
            Value::Array(items) => {
                // Conditions are told apart by their types, wherever in the list they are.
                let place = |index| {
                    if place.ends_with("/conditions") {
                        place.clone()
                    } else {
                        format!("{place}/{index}")
                    }
                };
                parts.extend(items.iter().enumerate().map(|(index, part)| (place(index), part)));
            }
            _ => {}
        }
    }
    found
}
