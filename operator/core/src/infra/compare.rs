//! What is there, held against what is wanted.

use std::{iter, net::IpAddr};

use serde_json::Value;

/// The addresses that clients can reach a Service at, and which of the wanted ones are not among them.
#[must_use]
pub fn addresses(service: &Value, wanted: &[IpAddr]) -> (Vec<String>, Vec<IpAddr>) {
    let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
    let balanced = ingress.into_iter().flatten();
    let balanced =
        balanced.filter_map(|ingress| ingress["ip"].as_str().or_else(|| ingress["hostname"].as_str()));
    let external = service["spec"]["externalIPs"].as_array();
    let external = external.into_iter().flatten().filter_map(Value::as_str);
    let addresses: Vec<String> = balanced.chain(external).map(str::to_owned).collect();
    let has = |wanted: &&IpAddr| {
        let mut parsed = addresses
            .iter()
            .filter_map(|address| address.parse::<IpAddr>().ok());
        parsed.any(|address| address == **wanted)
    };
    let missing = wanted.iter().filter(|wanted| !has(wanted)).copied().collect();
    (addresses, missing)
}

/// Whether all that is wanted of an object is in it. What others added does not matter, but for selectors: with a label
/// more they select something else, and the API takes them for one value.
#[must_use]
pub fn covers(object: &Value, wanted: &Value) -> bool {
    match (object, wanted) {
        (Value::Object(object), Value::Object(wanted)) => wanted.iter().all(|(key, value)| {
            let there = object.get(key);
            match key.as_str() {
                _ if is_nothing(value) => true,
                "selector" => there == Some(value),
                _ => there.is_some_and(|there| covers(there, value)),
            }
        }),
        (Value::Array(object), Value::Array(wanted)) => {
            object.len() == wanted.len()
                && iter::zip(object, wanted).all(|(object, wanted)| covers(object, wanted))
        }
        _ => object == wanted,
    }
}

/// Whether the API server leaves a value out.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_add_does_not_matter_and_what_they_change_does() {
        let wanted = json!({"spec": {"ports": [{"port": 80}], "selector": {}}});
        let object = json!({"spec": {"ports": [{"port": 80, "nodePort": 30080}], "clusterIP": "10.0.0.1"}, "status": {}});
        assert!(covers(&object, &wanted));
        assert!(!covers(&json!({"spec": {"ports": [{"port": 81}]}}), &wanted));
        assert!(!covers(
            &json!({"spec": {"ports": [{"port": 80}, {"port": 81}]}}),
            &wanted
        ));
        assert!(!covers(&json!({}), &wanted));
    }

    #[test]
    fn a_selector_with_a_label_more_is_another_one() {
        let wanted = json!({"spec": {"selector": {"app": "edge"}}});
        assert!(covers(&wanted, &wanted));
        assert!(!covers(
            &json!({"spec": {"selector": {"app": "edge", "team": "web"}}}),
            &wanted
        ));
    }

    #[test]
    fn addresses_are_the_load_balancers_and_the_external_ones() {
        let service = json!({
            "spec": {"externalIPs": ["192.0.2.2"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "edge.example"}]}},
        });
        let wanted = ["192.0.2.2", "192.0.2.3"].map(|address| address.parse().expect("an address"));
        let (addresses, missing) = addresses(&service, &wanted);
        assert_eq!(addresses, ["192.0.2.1", "edge.example", "192.0.2.2"]);
        assert_eq!(missing, [wanted[1]]);
    }
}
