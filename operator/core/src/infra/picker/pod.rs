//! The pods of an endpoint picker.

use serde_json::{Value, json};

use super::{GRPC_PORT, METRICS_PORT, Maker, picker_image};
use crate::{
    api::EndpointPickerSpec,
    infra::{
        Object,
        kind::DEPLOYMENT,
        manifest::{restricted_container, restricted_pod, set},
    },
    syntax::digest,
};

/// Where it answers probes.
const HEALTH_PORT: u16 = 9003;

/// The user that it runs as; the one that images without a system name `nonroot`.
const USER: u32 = 65532;

/// How long it goes on as if nothing were when it is told to stop, in seconds: until another one is ready, where it is
/// the only one. Gateways ask it as long as there is no other.
const NOTICE: u32 = 10;

/// How long it goes on for requests that wait for its choice, in seconds, the notice included.
const GRACE_PERIOD: u32 = 140;

impl Maker<'_> {
    pub(super) fn deployment(&self, configuration: &str) -> Object {
        let replicas = self.replicas();
        let rolling = if replicas > 1 {
            // Who stands by is not ready: to wait for that would be to wait for ever.
            json!({"maxUnavailable": "100%", "maxSurge": 0})
        } else {
            json!({"maxUnavailable": 0, "maxSurge": 1})
        };
        let spec = json!({
            "replicas": replicas,
            "selector": {"matchLabels": self.selector()},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            "template": {
                "metadata": {
                    "labels": self.labels(),
                    // It reads its configuration at its start.
                    "annotations": {"flotilla.dev/configuration": digest([configuration.as_bytes()])},
                },
                "spec": self.pod(),
            },
        });
        self.object(DEPLOYMENT, json!({"spec": spec}))
    }

    fn pod(&self) -> Value {
        let EndpointPickerSpec {
            image_pull_secrets,
            node_selector,
            tolerations,
            affinity,
            priority_class_name,
            ..
        } = &self.infra.spec;
        let mut spec = json!({
            "serviceAccountName": self.picker.name,
            "automountServiceAccountToken": true,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": GRACE_PERIOD,
            "securityContext": restricted_pod(USER),
            "containers": [self.container()],
            "volumes": [
                {"name": "configuration", "configMap": {"name": self.picker.name}},
                {"name": "certificate", "secret": {"secretName": self.picker.name}},
            ],
        });
        set(&mut spec, "imagePullSecrets", image_pull_secrets.as_ref());
        set(&mut spec, "nodeSelector", node_selector.as_ref());
        set(&mut spec, "tolerations", tolerations.as_ref());
        set(&mut spec, "affinity", affinity.as_ref());
        set(&mut spec, "priorityClassName", priority_class_name.as_ref());
        spec
    }

    fn container(&self) -> Value {
        let EndpointPickerSpec {
            image_pull_policy,
            env,
            resources,
            ..
        } = &self.infra.spec;
        let field =
            |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        let mut variables = vec![
            field("NAMESPACE", "metadata.namespace"),
            field("POD_NAME", "metadata.name"),
        ];
        variables.extend(env.iter().flatten().map(|variable| json!(variable)));
        let probe = |service: &str| json!({"grpc": {"port": HEALTH_PORT, "service": service}});
        let mut readiness = probe("readiness");
        readiness["periodSeconds"] = json!(2);
        let mut liveness = probe("liveness");
        liveness["initialDelaySeconds"] = json!(30);
        let mut container = json!({
            "name": "picker",
            "image": picker_image(&self.infra.spec),
            "args": self.args(),
            "env": variables,
            "ports": [
                {"name": "grpc", "containerPort": GRPC_PORT},
                {"name": "health", "containerPort": HEALTH_PORT},
                {"name": "metrics", "containerPort": METRICS_PORT},
            ],
            "readinessProbe": readiness,
            "livenessProbe": liveness,
            "lifecycle": {"preStop": {"sleep": {"seconds": NOTICE}}},
            "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}},
            "securityContext": restricted_container(),
            "volumeMounts": [
                {"name": "configuration", "mountPath": "/etc/picker", "readOnly": true},
                {"name": "certificate", "mountPath": "/etc/picker-certificate", "readOnly": true},
            ],
        });
        set(&mut container, "imagePullPolicy", image_pull_policy.as_ref());
        set(&mut container, "resources", resources.as_ref());
        container
    }

    /// Arguments that both implementations know.
    fn args(&self) -> Vec<String> {
        let mut args = vec![
            format!("--pool-name={}", self.infra.pool),
            format!("--pool-namespace={}", self.picker.namespace),
            "--config-file=/etc/picker/config.yaml".to_owned(),
            format!("--grpc-port={GRPC_PORT}"),
            format!("--grpc-health-port={HEALTH_PORT}"),
            format!("--metrics-port={METRICS_PORT}"),
            "--metrics-endpoint-auth=false".to_owned(),
            "--tracing=false".to_owned(),
            "--enable-pprof=false".to_owned(),
            "--cert-path=/etc/picker-certificate".to_owned(),
            "--enable-cert-reload=true".to_owned(),
        ];
        if self.replicas() > 1 {
            args.push("--ha-enable-leader-election".to_owned());
        }
        args.extend(self.infra.spec.extra_args.iter().flatten().cloned());
        args
    }

    pub(super) fn replicas(&self) -> i32 {
        self.infra.spec.replicas.unwrap_or(1)
    }
}
