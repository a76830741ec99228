//! `curl` lines for what a folder of manifests serves: one per rule, hostname and listener.

use serde_json::{Value, json};

use crate::inference::model_server::MODEL;

/// Where model servers are asked to go on with a conversation.
const CHAT: &str = "/v1/chat/completions";

/// Lines to try, made from objects with their statuses; empty while no Gateway is programmed.
pub fn suggestions(objects: &[Value]) -> String {
    let kind = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
    let mut lines = Vec::new();
    for gateway in kind("Gateway").filter(|gateway| is_programmed(gateway)) {
        let Some(address) = gateway["status"]["addresses"][0]["value"].as_str() else {
            continue;
        };
        for listener in list(&gateway["spec"]["listeners"]) {
            for route in kind("HTTPRoute").filter(|route| is_attached(route, gateway, listener)) {
                for hostname in hostnames(route, listener) {
                    let paths = list(&route["spec"]["rules"]).iter().map(first_request);
                    lines.extend(paths.map(|request| curl(listener, address, &hostname, &request)));
                }
            }
        }
    }
    lines.dedup();
    lines
        .iter()
        .map(|line| format!("  {line}\n"))
        .collect::<Vec<_>>()
        .concat()
}

/// What the first match of a rule asks for: path with query, and arguments of `curl`.
struct Sample {
    path: String,
    arguments: String,
}

fn first_request(rule: &Value) -> Sample {
    let wanted = &rule["matches"][0];
    if rule["backendRefs"][0]["kind"] == "InferencePool" {
        return chat(wanted);
    }
    let path = match wanted["path"]["type"].as_str() {
        // A path that fits a regular expression is for people to find.
        Some("RegularExpression") => "/",
        _ => wanted["path"]["value"].as_str().unwrap_or("/"),
    };
    let pairs = |list_name: &str| {
        let pairs = list(&wanted[list_name]).iter();
        pairs
            .filter_map(|pair| Some((pair["name"].as_str()?, pair["value"].as_str()?)))
            .collect::<Vec<_>>()
    };
    let query = pairs("queryParams")
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>();
    let path = if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", query.join("&"))
    };
    let method = wanted["method"].as_str().map(|method| format!("-X {method} "));
    let headers = pairs("headers")
        .into_iter()
        .map(|(name, value)| format!("-H '{name}: {value}' "));
    let arguments = method.into_iter().chain(headers).collect();
    Sample { path, arguments }
}

/// A chat completion, a word at a time.
fn chat(wanted: &Value) -> Sample {
    let prefix = wanted["path"]["value"].as_str().unwrap_or("/");
    let path = if CHAT.starts_with(prefix) { CHAT } else { prefix };
    let body = json!({
        "model": MODEL,
        "stream": true,
        "messages": [{ "role": "user", "content": "Where does the fleet go?" }],
    });
    Sample {
        path: path.to_owned(),
        arguments: format!("-N -H 'content-type: application/json' -d '{body}' "),
    }
}

fn curl(listener: &Value, address: &str, hostname: &str, Sample { path, arguments }: &Sample) -> String {
    let port = &listener["port"];
    let (scheme, insecure) = if listener["protocol"] == "HTTPS" {
        ("https", "-k ")
    } else {
        ("http", "")
    };
    format!(
        "curl -i {insecure}{arguments}--resolve {hostname}:{port}:{address} '{scheme}://{hostname}:{port}{path}'"
    )
}

/// The route's hostnames, else the listener's, else any; wildcards with a label filled in.
fn hostnames(route: &Value, listener: &Value) -> Vec<String> {
    let own = list(&route["spec"]["hostnames"])
        .iter()
        .filter_map(Value::as_str)
        .collect::<Vec<_>>();
    let listeners = listener["hostname"].as_str();
    let hostnames = if own.is_empty() {
        vec![listeners.unwrap_or("any.example")]
    } else {
        own
    };
    hostnames
        .iter()
        .map(|hostname| hostname.replace('*', "www"))
        .collect()
}

fn is_programmed(gateway: &Value) -> bool {
    let conditions = list(&gateway["status"]["conditions"]);
    conditions
        .iter()
        .any(|condition| condition["type"] == "Programmed" && condition["status"] == "True")
}

fn is_attached(route: &Value, gateway: &Value, listener: &Value) -> bool {
    list(&route["spec"]["parentRefs"]).iter().any(|parent| {
        let namespace = parent.get("namespace").unwrap_or(&route["metadata"]["namespace"]);
        parent["name"] == gateway["metadata"]["name"]
            && *namespace == gateway["metadata"]["namespace"]
            && parent
                .get("sectionName")
                .is_none_or(|section| *section == listener["name"])
            && parent.get("port").is_none_or(|port| *port == listener["port"])
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_host_address_port_and_headers() {
        let gateway = json!({
            "kind": "Gateway",
            "metadata": { "name": "edge", "namespace": "shop" },
            "spec": { "listeners": [{ "name": "tls", "protocol": "HTTPS", "port": 8443 }] },
            "status": {
                "addresses": [{ "value": "127.9.9.1" }],
                "conditions": [{ "type": "Programmed", "status": "True" }],
            },
        });
        let route = json!({
            "kind": "HTTPRoute",
            "metadata": { "name": "r", "namespace": "shop" },
            "spec": {
                "parentRefs": [{ "name": "edge" }],
                "hostnames": ["*.shop.example"],
                "rules": [{ "matches": [{ "headers": [{ "name": "x-preview", "value": "yes" }] }] }],
            },
        });
        assert_eq!(
            suggestions(&[gateway, route]),
            "  curl -i -k -H 'x-preview: yes' --resolve www.shop.example:8443:127.9.9.1 \
             'https://www.shop.example:8443/'\n",
        );
    }
}
