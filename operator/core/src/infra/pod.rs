//! The pods of a gateway: NGINX and its agent, with as few rights as they can do with.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    GatewayInfra,
    objects::{AUDIENCE, Cluster},
};

/// The entry of the ConfigMap, and the file, with the authorities that the operator's certificate may come from.
pub(super) const AUTHORITIES: &str = "ca.crt";

/// The user that NGINX and the agent run as; the one that NGINX's own images name `nginx`.
const USER: u32 = 101;

/// Where the agent answers probes, unless a listener has the port.
const ADMIN_PORT: u16 = 9113;

/// How long a pod serves on after it was told to stop, in seconds: until nobody sends it new connections.
const DRAIN_DELAY: u32 = 5;

/// How long connections may then take to end, in seconds.
const DRAIN_TIMEOUT: u32 = 60;

/// How long a token is good for, in seconds; the kubelet renews it after four fifths of that.
const TOKEN_LIFETIME: u32 = 3600;

/// The folder of the gateway: all that a pod writes to.
const PREFIX: &str = "/var/lib/flotilla";

/// Where token and authorities are mounted.
const IDENTITY: &str = "/var/run/flotilla";

/// The specification of a gateway's pods, whose objects have that name.
pub(super) fn spec(
    name: &str,
    selector: &BTreeMap<String, String>,
    infra: &GatewayInfra,
    cluster: &Cluster,
) -> Value {
    let mut spec = json!({
        "serviceAccountName": name,
        // The agent has a token of its own; nothing here talks to the API server.
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": DRAIN_DELAY + DRAIN_TIMEOUT + 10,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
            // Ports below 1024 without a capability: the pod has a network of its own.
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
        },
        "topologySpreadConstraints": [{
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector},
        }],
        "containers": [container(infra, cluster)],
        "volumes": [
            {"name": "gateway", "emptyDir": {}},
            {"name": "identity", "projected": {"sources": [
                {"serviceAccountToken": {"audience": AUDIENCE, "expirationSeconds": TOKEN_LIFETIME, "path": "token"}},
                {"configMap": {"name": name, "items": [{"key": AUTHORITIES, "path": AUTHORITIES}]}},
            ]}},
        ],
    });
    if let Some(policy) = &cluster.image_pull_policy {
        spec["containers"][0]["imagePullPolicy"] = json!(policy);
    }
    spec
}

/// NGINX and its agent. The listeners' ports are not named: a port more must not restart the pods.
fn container(infra: &GatewayInfra, cluster: &Cluster) -> Value {
    let admin = (ADMIN_PORT..=u16::MAX)
        .find(|port| !infra.ports.contains(port))
        .unwrap_or(ADMIN_PORT);
    json!({
        "name": "gateway",
        "image": cluster.image,
        "command": [
            "flotilla-agent", "init",
            "--prefix", PREFIX,
            "--operator", cluster.operator,
            "--operator-ca", format!("{IDENTITY}/{AUTHORITIES}"),
            "--token-file", format!("{IDENTITY}/token"),
            "--instance", "$(POD_NAME)",
            "--admin", format!("0.0.0.0:{admin}"),
            "--drain-delay", format!("{DRAIN_DELAY}s"),
            "--drain-timeout", format!("{DRAIN_TIMEOUT}s"),
        ],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [{"name": "admin", "containerPort": admin}],
        // The first look comes early and then every second: a new gateway serves as soon as it can.
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "admin"},
            "periodSeconds": 1,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "admin"},
            "initialDelaySeconds": 10,
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "gateway", "mountPath": PREFIX},
            {"name": "identity", "mountPath": IDENTITY, "readOnly": true},
        ],
    })
}
