//! What answers at the loopback addresses of a folder of manifests: echoes, model servers and pickers.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::{IpAddr, SocketAddr},
};

use anyhow::Result;
use serde_json::Value;

use crate::{
    echo::Echo,
    inference::{
        model_server::{ModelServer, Pace},
        queue_picker::QueuePicker,
    },
};

/// All that was started, by address.
#[derive(Debug, Default)]
pub(super) struct Backends {
    started: BTreeMap<SocketAddr, Started>,
}

/// What was started at an address.
#[derive(Debug)]
enum Started {
    Echo(#[expect(dead_code, reason = "kept so that it goes on")] Echo),
    ModelServer(#[expect(dead_code, reason = "kept so that it goes on")] ModelServer),
    Picker(QueuePicker),
    /// Nothing: somebody else's server is as good a backend.
    Nothing,
}

/// What a folder wants to be at an address.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// With what it is called.
    Echo(String),
    /// With its pod's name.
    ModelServer(String),
    /// With its Service's name, and what it chooses among.
    Picker(String, BTreeSet<SocketAddr>),
}

impl Backends {
    /// Starts what the objects name and nobody has started, and tells pickers about new model servers.
    pub(super) async fn follow(&mut self, objects: &[Value]) {
        for (address, wanted) in wanted(objects) {
            let started = match self.started.entry(address) {
                Entry::Occupied(occupied) => occupied.into_mut(),
                Entry::Vacant(vacant) => {
                    let (line, started) = wanted.start(address).await;
                    eprintln!("{line}");
                    vacant.insert(started)
                }
            };
            if let (Wanted::Picker(_, endpoints), Started::Picker(picker)) = (&wanted, started) {
                let endpoints: Vec<SocketAddr> = endpoints.iter().copied().collect();
                picker.set_endpoints(&endpoints);
            }
        }
    }
}

impl Wanted {
    /// Starts it, and says in a line what that came to.
    async fn start(&self, address: SocketAddr) -> (String, Started) {
        let (name, what, started) = match self {
            Self::Echo(name) => {
                let name = format!("{name} at {address}");
                let echo = Echo::start(&name, address).await.map(Started::Echo);
                return (
                    line(&name, "echo backend", &echo),
                    echo.unwrap_or(Started::Nothing),
                );
            }
            Self::ModelServer(name) => {
                let server = ModelServer::start(name, address, Pace::READING).await;
                (name, "simulated model server", server.map(Started::ModelServer))
            }
            Self::Picker(name, _) => {
                let picker = QueuePicker::start(address).await;
                (
                    name,
                    "endpoint picker by queue length",
                    picker.map(Started::Picker),
                )
            }
        };
        let line = line(&format!("{name} at {address}"), what, &started);
        (line, started.unwrap_or(Started::Nothing))
    }
}

fn line(name: &str, what: &str, started: &Result<Started>) -> String {
    let what = started.as_ref().map_or("somebody listens already", |_| what);
    format!("{name}: {what}")
}

/// What the objects want to be where.
fn wanted(objects: &[Value]) -> BTreeMap<SocketAddr, Wanted> {
    let kind = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
    let mut wanted: BTreeMap<SocketAddr, Wanted> = kind("EndpointSlice")
        .flat_map(|slice| {
            loopback_endpoints(slice)
                .into_iter()
                .map(move |address| (slice, address))
        })
        .map(|(slice, address)| {
            let name = service(slice).unwrap_or("backend");
            (address, Wanted::Echo(name.to_owned()))
        })
        .collect();
    for pool in kind("InferencePool") {
        let servers: BTreeMap<SocketAddr, &Value> = kind("Pod")
            .filter(|pod| is_selected(pod, pool))
            .flat_map(|pod| {
                addresses(pod, pool)
                    .into_iter()
                    .map(move |address| (address, pod))
            })
            .collect();
        let picker = &pool["spec"]["endpointPickerRef"]["name"];
        let is_pickers = |slice: &&Value| {
            slice["metadata"]["namespace"] == pool["metadata"]["namespace"]
                && service(slice).is_some_and(|service| service == picker)
        };
        for address in kind("EndpointSlice")
            .filter(is_pickers)
            .flat_map(loopback_endpoints)
        {
            let endpoints = servers.keys().copied().collect();
            wanted.insert(address, Wanted::Picker(text(picker), endpoints));
        }
        for (address, pod) in servers {
            wanted.insert(address, Wanted::ModelServer(text(&pod["metadata"]["name"])));
        }
    }
    wanted
}

/// The name of the Service whose endpoints these are.
fn service(slice: &Value) -> Option<&str> {
    slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str()
}

/// Whether a pod has the labels that a pool asks for.
fn is_selected(pod: &Value, pool: &Value) -> bool {
    let labels = pool["spec"]["selector"]["matchLabels"].as_object();
    pod["metadata"]["namespace"] == pool["metadata"]["namespace"]
        && labels.is_some_and(|labels| {
            labels
                .iter()
                .all(|(label, value)| pod["metadata"]["labels"][label] == *value)
        })
}

/// Where a pod serves a pool, as far as that is on this machine.
fn addresses(pod: &Value, pool: &Value) -> Vec<SocketAddr> {
    let address = pod["status"]["podIP"].as_str();
    let address = address.and_then(|address| address.parse::<IpAddr>().ok());
    let ports = numbers(&pool["spec"]["targetPorts"], "number");
    let address = address.filter(IpAddr::is_loopback);
    ports
        .into_iter()
        .filter_map(|port| Some(SocketAddr::new(address?, port)))
        .collect()
}

fn loopback_endpoints(slice: &Value) -> Vec<SocketAddr> {
    let ports = numbers(&slice["ports"], "port");
    let addresses = list(&slice["endpoints"])
        .iter()
        .flat_map(|endpoint| list(&endpoint["addresses"]))
        .filter_map(|address| address.as_str()?.parse::<IpAddr>().ok());
    let loopback = addresses.filter(IpAddr::is_loopback);
    loopback
        .flat_map(|address| ports.iter().map(move |port| SocketAddr::new(address, *port)))
        .collect()
}

/// A number of each object in a list.
fn numbers(objects: &Value, name: &str) -> Vec<u16> {
    let numbers = list(objects).iter();
    numbers
        .filter_map(|object| u16::try_from(object[name].as_u64()?).ok())
        .collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: &str, name: &str, rest: &Value) -> Value {
        let mut object = json!({ "kind": kind, "metadata": { "name": name, "namespace": "n" } });
        for (field, value) in rest.as_object().into_iter().flatten() {
            object[field] = value.clone();
        }
        object
    }

    fn slice(service: &str, address: &str, port: u16) -> Value {
        let mut slice = object(
            "EndpointSlice",
            service,
            &json!({ "ports": [{ "port": port }], "endpoints": [{ "addresses": [address] }] }),
        );
        slice["metadata"]["labels"] = json!({ "kubernetes.io/service-name": service });
        slice
    }

    #[test]
    fn pools_get_model_servers_and_the_picker_they_name() {
        let mut pod = object("Pod", "tide-0", &json!({ "status": { "podIP": "127.0.0.1" } }));
        pod["metadata"]["labels"] = json!({ "app": "tide", "more": "there" });
        let mut other = object("Pod", "other", &json!({ "status": { "podIP": "127.0.0.2" } }));
        other["metadata"]["labels"] = json!({ "app": "other" });
        let pool = object(
            "InferencePool",
            "tide",
            &json!({ "spec": {
                "selector": { "matchLabels": { "app": "tide" } },
                "targetPorts": [{ "number": 8000 }, { "number": 8001 }],
                "endpointPickerRef": { "name": "picker" },
            } }),
        );
        let objects = [
            pod,
            other,
            pool,
            slice("picker", "127.0.0.9", 9002),
            slice("shop", "127.0.0.3", 3000),
            slice("far", "198.18.0.1", 3000),
        ];
        let address = |address: &str| address.parse::<SocketAddr>().unwrap();
        let servers = [address("127.0.0.1:8000"), address("127.0.0.1:8001")];
        let expected = [
            (servers[0], Wanted::ModelServer("tide-0".into())),
            (servers[1], Wanted::ModelServer("tide-0".into())),
            (
                address("127.0.0.9:9002"),
                Wanted::Picker("picker".into(), servers.into()),
            ),
            (address("127.0.0.3:3000"), Wanted::Echo("shop".into())),
        ];
        assert_eq!(wanted(&objects), BTreeMap::from(expected));
    }
}
