//! The pods of an endpoint picker.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{GRPC_PORT, METRICS_PORT, Maker, picker_image};
use crate::{
    api::EndpointPickerSpec,
    infra::{
        Object,
        kind::DEPLOYMENT,
        manifest::{restricted_container, restricted_pod, set},
        template::{Marks, pod_template},
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
        let marks = Marks {
            selector: self.selector(),
            labels: self.labels(),
            // It reads its configuration at its start.
            annotations: BTreeMap::from([(
                "flotilla.dev/configuration".to_owned(),
                digest([configuration.as_bytes()]),
            )]),
        };
        let spec = json!({
            "replicas": self.infra.spec.replicas.unwrap_or(1),
            "selector": {"matchLabels": self.selector()},
            // A pod goes only when another one picks.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": pod_template(self.pod(), self.infra.spec.pod_settings(), &marks),
        });
        self.object(DEPLOYMENT, json!({"spec": spec}))
    }

    fn pod(&self) -> Value {
        json!({
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
        })
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
            // It says why it cannot start in the last line of its log.
            "terminationMessagePolicy": "FallbackToLogsOnError",
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

    /// Arguments that both implementations know. None of them has pickers elect a leader: gateways agree on one without,
    /// and the others can take over at once, as each is ready.
    fn args(&self) -> Vec<String> {
        let args = [
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
            // At its default of 2 it logs three lines of each request.
            "--v=1".to_owned(),
            "--zap-encoder=json".to_owned(),
        ];
        args.into_iter()
            .chain(self.infra.spec.extra_args.iter().flatten().cloned())
            .collect()
    }
}
