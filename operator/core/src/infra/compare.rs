//! What is there, held against what is wanted.

use std::{collections::BTreeMap, iter, net::IpAddr};

use serde_json::Value;

/// The addresses that clients can reach a Service at, and which of the wanted ones are not among them.
///
/// Where no load balancer is asked for one, they are those that the Service has in its cluster, for a `NodePort` too:
/// there the listeners' ports are open. Nodes have others, see [`node_ports`].
#[must_use]
pub fn addresses(service: &Value, wanted: &[IpAddr]) -> (Vec<String>, Vec<IpAddr>) {
    let given = if service["spec"]["type"] == "LoadBalancer" {
        let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
        let ingress = ingress.into_iter().flatten();
        let address = |ingress: &Value| {
            let address = ingress["ip"].as_str().or_else(|| ingress["hostname"].as_str());
            address.map(str::to_owned)
        };
        ingress.filter_map(address).collect()
    } else {
        texts(&service["spec"]["clusterIPs"])
    };
    let addresses = [given, texts(&service["spec"]["externalIPs"])].concat();
    let has = |wanted: &&IpAddr| {
        let mut parsed = addresses
            .iter()
            .filter_map(|address| address.parse::<IpAddr>().ok());
        parsed.any(|address| address == **wanted)
    };
    let missing = wanted.iter().filter(|wanted| !has(wanted)).copied().collect();
    (addresses, missing)
}

/// The port of each node that leads to each port of a Service; none but for one of type `NodePort`, as others are reached
/// at their addresses.
#[must_use]
pub fn node_ports(service: &Value) -> BTreeMap<u16, u16> {
    let is_reached_at_nodes = service["spec"]["type"] == "NodePort";
    let ports = service["spec"]["ports"]
        .as_array()
        .filter(|_| is_reached_at_nodes);
    let number = |number: &Value| u16::try_from(number.as_u64()?).ok();
    let ports = ports.into_iter().flatten();
    ports
        .filter_map(|port| Some((number(&port["port"])?, number(&port["nodePort"])?)))
        .collect()
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether as many pods of a Deployment or `DaemonSet` serve as there are to be, all of them as it is now.
#[must_use]
pub fn is_ready(workload: &Value) -> bool {
    let status = &workload["status"];
    let count = |value: &Value| value.as_u64().unwrap_or_default();
    let (wanted, updated, available) = if workload["kind"] == "DaemonSet" {
        (
            // One that no node is for serves nobody.
            count(&status["desiredNumberScheduled"]).max(1),
            count(&status["updatedNumberScheduled"]),
            count(&status["numberAvailable"]),
        )
    } else {
        (
            count(&workload["spec"]["replicas"]),
            count(&status["updatedReplicas"]),
            count(&status["availableReplicas"]),
        )
    };
    let is_current = status["observedGeneration"] == workload["metadata"]["generation"];
    is_current && updated >= wanted && available >= wanted
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
            "spec": {"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"], "externalIPs": ["192.0.2.2"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "edge.example"}]}},
        });
        let wanted = ["192.0.2.2", "192.0.2.3"].map(|address| address.parse().expect("an address"));
        let (addresses, missing) = addresses(&service, &wanted);
        assert_eq!(addresses, ["192.0.2.1", "edge.example", "192.0.2.2"]);
        assert_eq!(missing, [wanted[1]]);
    }

    #[test]
    fn addresses_without_a_load_balancer_are_those_of_the_cluster() {
        let service = json!({"spec": {"type": "ClusterIP", "clusterIPs": ["10.0.0.1", "fd00::1"]}});
        assert_eq!(addresses(&service, &[]).0, ["10.0.0.1", "fd00::1"]);
    }

    #[test]
    fn ports_of_nodes_are_those_of_a_service_that_is_reached_there() {
        let service = |type_: &str| {
            let ports =
                json!([{"port": 80, "nodePort": 30080}, {"port": 443, "nodePort": 30443}, {"port": 81}]);
            json!({"spec": {"type": type_, "ports": ports}})
        };
        assert_eq!(
            node_ports(&service("NodePort")),
            [(80, 30080), (443, 30443)].into()
        );
        assert_eq!(node_ports(&service("LoadBalancer")), BTreeMap::new());
    }

    #[test]
    fn a_workload_is_ready_when_all_its_pods_serve_as_it_is_now() {
        let deployment = |generation: u64, replicas: u64, updated: u64, available: u64| {
            json!({
                "kind": "Deployment",
                "metadata": {"generation": 2},
                "spec": {"replicas": replicas},
                "status": {
                    "observedGeneration": generation, "updatedReplicas": updated, "availableReplicas": available,
                },
            })
        };
        assert!(is_ready(&deployment(2, 2, 2, 2)));
        assert!(!is_ready(&deployment(1, 2, 2, 2)));
        assert!(!is_ready(&deployment(2, 2, 1, 2)));
        assert!(!is_ready(&deployment(2, 2, 2, 1)));
        let daemon_set = |wanted: u64, available: u64| {
            json!({
                "kind": "DaemonSet",
                "metadata": {"generation": 1},
                "status": {
                    "observedGeneration": 1, "desiredNumberScheduled": wanted, "updatedNumberScheduled": wanted,
                    "numberAvailable": available,
                },
            })
        };
        assert!(is_ready(&daemon_set(3, 3)));
        assert!(!is_ready(&daemon_set(3, 2)));
        assert!(!is_ready(&daemon_set(0, 0)));
    }
}
