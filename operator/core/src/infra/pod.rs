//! The pods of a gateway: NGINX and its agent, with as few rights as they can do with.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{
    GatewayInfra, Provisioning,
    manifest::{restricted_container, restricted_pod, set},
    objects::{AUDIENCE, AUTHORITIES, Maker},
    patch::merge,
    template::{Marks, pod_template},
};
use crate::api::{self, NginxContainer, NginxDrain};

/// The user that NGINX and the agent run as; the one that NGINX's own images name `nginx`.
const USER: u32 = 101;

/// Where the agent answers probes, unless a listener has the port.
const ADMIN_PORT: u16 = 9113;

/// How long a pod serves on after it was told to stop: until nobody sends it new connections.
const DRAIN_DELAY: Duration = Duration::from_secs(5);

/// How long connections may then take to end.
const DRAIN_TIMEOUT: Duration = Duration::from_mins(1);

/// How long the agent may take over all that beside waiting.
const DRAIN_RESERVE: Duration = Duration::from_secs(10);

/// How long a token is good for, in seconds; the kubelet renews it after four fifths of that.
const TOKEN_LIFETIME: u32 = 3600;

/// The folder of the gateway: all that a pod writes to.
const PREFIX: &str = "/var/lib/flotilla";

/// Where token and authorities are mounted.
const IDENTITY: &str = "/var/run/flotilla";

/// How a pod ends.
struct Drain {
    delay: Duration,
    timeout: Duration,
}

impl Drain {
    fn new(NginxDrain { delay, timeout }: &NginxDrain) -> Self {
        let length = |length: &Option<api::Duration>| length.as_ref().and_then(api::Duration::length);
        Self {
            delay: length(delay).unwrap_or(DRAIN_DELAY),
            timeout: length(timeout).unwrap_or(DRAIN_TIMEOUT),
        }
    }

    /// In whole seconds.
    fn grace_period(&self) -> u64 {
        let Self { delay, timeout } = self;
        let whole = *delay + *timeout + DRAIN_RESERVE;
        whole.as_secs() + u64::from(whole.subsec_nanos() > 0)
    }
}

impl Maker<'_> {
    /// The template of a gateway's pods, with the patches of users.
    pub(super) fn pod_template(&self, provisioning: &Provisioning) -> Value {
        let mut spec = self.pod_spec(provisioning);
        if let Some(patch) = &provisioning.container.patch {
            merge(&mut spec["containers"][0], patch);
        }
        let marks = Marks {
            selector: self.selector(),
            labels: self.labels(BTreeMap::new()),
            annotations: self.annotations(BTreeMap::new()),
        };
        pod_template(spec, provisioning.pod.pod_settings(), &marks)
    }

    fn pod_spec(&self, provisioning: &Provisioning) -> Value {
        let drain = Drain::new(&provisioning.pod.drain);
        let mut security = restricted_pod(USER);
        // Ports below 1024 without a capability: the pod has a network of its own.
        security["sysctls"] = json!([{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]);
        json!({
            "serviceAccountName": self.name(),
            // The agent has a token of its own; nothing here talks to the API server.
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": drain.grace_period(),
            "securityContext": security,
            "containers": [self.container(provisioning, &drain)],
            "volumes": [
                {"name": "gateway", "emptyDir": {}},
                {"name": "identity", "projected": {"sources": [
                    {"serviceAccountToken": {
                        "audience": AUDIENCE, "expirationSeconds": TOKEN_LIFETIME, "path": "token",
                    }},
                    {"configMap": {"name": self.name(), "items": [{"key": AUTHORITIES, "path": AUTHORITIES}]}},
                ]}},
            ],
        })
    }

    /// NGINX and its agent. The listeners' ports are not named: a port more must not restart the pods.
    fn container(&self, provisioning: &Provisioning, drain: &Drain) -> Value {
        let NginxContainer {
            image,
            image_pull_policy,
            resources,
            patch: _,
        } = &provisioning.container;
        let admin = admin_port(self.infra);
        let mut container = json!({
            "name": "gateway",
            "image": image.as_ref().unwrap_or(&self.cluster.image),
            "command": [
                "flotilla-agent", "init",
                "--prefix", PREFIX,
                "--operator", self.cluster.operator,
                "--operator-ca", format!("{IDENTITY}/{AUTHORITIES}"),
                "--token-file", format!("{IDENTITY}/token"),
                "--instance", "$(POD_NAME)",
                // Every address: where the kubelet asks depends on the pod's first, which is not known yet.
                "--admin", format!("[::]:{admin}"),
                "--drain-delay", argument(drain.delay),
                "--drain-timeout", argument(drain.timeout),
            ],
            "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "ports": [{"name": "admin", "containerPort": admin}],
            // The first look comes early and then every second: a new gateway serves as soon as it can. An agent that is
            // slow to answer, as all are on a node with too much to do, is no reason to send its requests elsewhere.
            "readinessProbe": {
                "httpGet": {"path": "/readyz", "port": "admin"},
                "periodSeconds": 1,
                "timeoutSeconds": 5,
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
            "securityContext": restricted_container(),
            "volumeMounts": [
                {"name": "gateway", "mountPath": PREFIX},
                {"name": "identity", "mountPath": IDENTITY, "readOnly": true},
            ],
        });
        let policy = image_pull_policy.as_ref().map(ToString::to_string);
        let policy = policy.or_else(|| self.cluster.image_pull_policy.clone());
        set(&mut container, "imagePullPolicy", policy.as_ref());
        set(&mut container, "resources", resources.as_ref());
        container
    }
}

/// Where the agent of a gateway answers probes: no listener has that port.
pub(super) fn admin_port(infra: &GatewayInfra) -> u16 {
    (ADMIN_PORT..=u16::MAX)
        .find(|port| !infra.ports.contains(port))
        .unwrap_or(ADMIN_PORT)
}

/// A duration as the agent's command line takes it.
fn argument(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}
