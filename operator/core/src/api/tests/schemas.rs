//! Upstream's own schemas as the judge: whatever they admit must be read and written without loss.
//!
//! The definitions are upstream's and not in this repository. To run this, name a folder of them:
//!
//! ```text
//! go mod download -json sigs.k8s.io/gateway-api@v1.7.0                           # config/crd/experimental
//! go mod download -json sigs.k8s.io/gateway-api-inference-extension@v1.6.0       # config/crd/bases
//! GATEWAY_API_CRDS=FOLDER cargo test -p operator-core schemas_are_covered -- --nocapture
//! ```

use std::collections::BTreeSet;
use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::round_trip;
use crate::api::with_kinds;

/// The environment variable that names the folder.
const FOLDER: &str = "GATEWAY_API_CRDS";

/// More than any enumeration has values.
const CHOICES: usize = 16;

#[test]
fn schemas_are_covered() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        println!("skipped: {FOLDER} names no folder with upstream's definitions");
        return;
    };
    let mut kinds = BTreeSet::new();
    for (kind, api_version, schema) in watched_schemas(Path::new(&folder)) {
        for choice in 0..CHOICES {
            for values in [Values::Known(choice), Values::Unknown(choice)] {
                check(&kind, &api_version, &schema, values);
            }
        }
        check(&kind, &api_version, &schema, Values::RequiredOnly);
        println!("{kind} {api_version}: {} properties", properties(&schema));
        kinds.insert(kind);
    }
    assert!(!kinds.is_empty(), "{FOLDER} has no definition of a watched kind");
}

/// Which of the objects that a schema admits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Values {
    /// Every property; of each enumeration the value at this place, or its last.
    Known(usize),
    /// Every property; for each enumeration a value that is none of its own.
    Unknown(usize),
    /// Only the properties that are required.
    RequiredOnly,
}

impl Values {
    /// Numbers alternate between the smallest and the largest that the schema admits.
    fn prefers_large_numbers(self) -> bool {
        match self {
            Self::Known(choice) | Self::Unknown(choice) => choice % 2 == 1,
            Self::RequiredOnly => false,
        }
    }
}

/// Decodes and encodes one object of the schema, and compares.
fn check(kind: &str, api_version: &str, schema: &JSONSchemaProps, values: Values) {
    let mut object = instance(schema, values);
    object["kind"] = json!(kind);
    object["apiVersion"] = json!(api_version);
    object["metadata"] = json!({ "name": "example" });
    let (written, debug) =
        round_trip(&object).unwrap_or_else(|error| panic!("{kind}, {values:?}: {error}\n{object:#}"));

    let lost = losses(&object, &written, kind);
    assert!(lost.is_empty(), "lost with {values:?}: {lost:#?}");
    if let Values::Known(_) = values {
        let known = enumerated(schema);
        let unknown: Vec<_> = known
            .iter()
            .filter(|value| debug.contains(&format!("Unknown({value:?})")))
            .collect();
        assert!(unknown.is_empty(), "{kind} has no variant for {unknown:?}");
    }
}

/// Kind, API version and schema of every watched kind that the folder defines in the version that we watch.
fn watched_schemas(folder: &Path) -> Vec<(String, String, JSONSchemaProps)> {
    macro_rules! versions {
        ($($field:ident: $type:ty = $kind:literal,)*) => {
            [$(($kind, <$type as kube::Resource>::api_version(&()))),*]
        };
    }
    let watched = with_kinds!(versions);
    let mut schemas = Vec::new();
    for definition in definitions(folder) {
        for version in definition.spec.versions {
            let kind = &definition.spec.names.kind;
            let api_version = format!("{}/{}", definition.spec.group, version.name);
            if watched.contains(&(kind.as_str(), api_version.as_str().into())) {
                let schema = version.schema.and_then(|schema| schema.open_api_v3_schema);
                schemas.push((
                    kind.clone(),
                    api_version,
                    schema.expect("a definition has a schema"),
                ));
            }
        }
    }
    schemas
}

/// Every definition of a custom resource in the folder's files.
fn definitions(folder: &Path) -> Vec<CustomResourceDefinition> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()))
        .map(|entry| entry.expect("the folder stays").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).expect("the file stays");
            let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
                .unwrap_or_else(|error| panic!("{} is no YAML: {error}", path.display()));
            documents
        })
        .filter(|document| document["kind"] == "CustomResourceDefinition")
        .map(|document| CustomResourceDefinition::deserialize(document).expect("the definition decodes"))
        .collect()
}

/// An object, or a value within one, that the schema admits (but for unknown values, where they are asked for).
fn instance(schema: &JSONSchemaProps, values: Values) -> Value {
    if let Some(known) = &schema.enum_ {
        return match values {
            Values::Known(choice) => known[choice.min(known.len() - 1)].0.clone(),
            Values::Unknown(_) if known[0].0.is_string() => json!("Tomorrow"),
            Values::Unknown(_) => json!(999),
            Values::RequiredOnly => known[0].0.clone(),
        };
    }
    match schema.type_.as_deref() {
        Some("object") => match (&schema.properties, &schema.additional_properties) {
            (Some(properties), _) => properties
                .iter()
                .filter(|(name, _)| {
                    values != Values::RequiredOnly
                        || schema
                            .required
                            .as_ref()
                            .is_some_and(|required| required.contains(name))
                })
                .map(|(name, property)| (name.clone(), instance(property, values)))
                .collect(),
            (None, Some(JSONSchemaPropsOrBool::Schema(value))) => json!({ "key": instance(value, values) }),
            (None, _) => json!({}),
        },
        Some("array") => match &schema.items {
            Some(JSONSchemaPropsOrArray::Schema(item)) => json!([instance(item, values)]),
            _ => panic!("an array without a schema for its items"),
        },
        Some("integer") => json!(number(schema, values)),
        Some("boolean") => json!(values.prefers_large_numbers()),
        Some("string") if schema.format.as_deref() == Some("date-time") => json!("2026-11-22T11:00:00Z"),
        Some("string") => json!("text"),
        other => panic!("{other:?} is no type that upstream uses"),
    }
}

/// The smallest or largest number that the schema admits.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the bounds in schemas are small whole numbers"
)]
fn number(schema: &JSONSchemaProps, values: Values) -> i64 {
    let (smallest, largest) = match schema.format.as_deref() {
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    if values.prefers_large_numbers() {
        schema.maximum.map_or(largest, |maximum| maximum as i64)
    } else {
        schema.minimum.map_or(smallest, |minimum| minimum as i64)
    }
}

/// Paths of the values that are in one object and not the same in the other.
fn losses(read: &Value, written: &Value, path: &str) -> Vec<String> {
    match (read, written) {
        (Value::Object(read), Value::Object(written)) => read
            .iter()
            .flat_map(|(name, value)| {
                losses(
                    value,
                    written.get(name).unwrap_or(&Value::Null),
                    &format!("{path}.{name}"),
                )
            })
            .collect(),
        (Value::Array(read), Value::Array(written)) if read.len() == written.len() => read
            .iter()
            .zip(written)
            .flat_map(|(read, written)| losses(read, written, &format!("{path}[]")))
            .collect(),
        _ if read == written => Vec::new(),
        _ => vec![format!("{path}: {read} became {written}")],
    }
}

/// The schemas of the properties, items and values within a schema.
fn parts(schema: &JSONSchemaProps) -> Vec<&JSONSchemaProps> {
    let mut parts: Vec<_> = schema
        .properties
        .iter()
        .flat_map(|properties| properties.values())
        .collect();
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
        parts.push(item);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &schema.additional_properties {
        parts.push(value);
    }
    parts
}

/// All strings that enumerations of the schema list.
fn enumerated(schema: &JSONSchemaProps) -> BTreeSet<&str> {
    let own = schema.enum_.iter().flatten().filter_map(|value| value.0.as_str());
    own.chain(parts(schema).into_iter().flat_map(enumerated))
        .collect()
}

/// How many properties the schema has, those of its parts included.
fn properties(schema: &JSONSchemaProps) -> usize {
    schema
        .properties
        .as_ref()
        .map_or(0, std::collections::BTreeMap::len)
        + parts(schema).into_iter().map(properties).sum::<usize>()
}
