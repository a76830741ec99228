//! The Kubernetes objects that run an endpoint picker.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Cluster, Object, ObjectKind};
use crate::{
    api::{EndpointPickerImplementation, EndpointPickerSpec},
    object::ObjectKey,
    syntax::digest,
};

/// Image of the inference extension's picker in the version that tests run with.
pub const DEFAULT_IMAGE: &str = "registry.k8s.io/gateway-api-inference-extension/epp:v1.5.0";

/// The label that says whose picker it is.
const PICKER_LABEL: &str = "flotilla.dev/endpoint-picker";

/// Where the picker listens for gateways, whatever the port of its Service.
const GRPC_PORT: u16 = 9002;

/// Where it answers probes.
const HEALTH_PORT: u16 = 9003;

/// Where it tells metrics.
const METRICS_PORT: u16 = 9090;

/// How long it goes on for requests that wait for its choice, in seconds.
const GRACE_PERIOD: u32 = 130;

const SERVICE_ACCOUNT: ObjectKind = kind("", "v1", "ServiceAccount", "serviceaccounts");
const ROLE: ObjectKind = kind("rbac.authorization.k8s.io", "v1", "Role", "roles");
const ROLE_BINDING: ObjectKind = kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings");
const CONFIG_MAP: ObjectKind = kind("", "v1", "ConfigMap", "configmaps");
const SECRET: ObjectKind = kind("", "v1", "Secret", "secrets");
const SERVICE: ObjectKind = kind("", "v1", "Service", "services");
const DEPLOYMENT: ObjectKind = kind("apps", "v1", "Deployment", "deployments");
const DISRUPTION_BUDGET: ObjectKind = kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets");

/// Every kind that there is, in the order in which its objects need each other.
pub const PICKER_KINDS: [ObjectKind; 8] = [
    SERVICE_ACCOUNT,
    ROLE,
    ROLE_BINDING,
    CONFIG_MAP,
    SECRET,
    SERVICE,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
];

const fn kind(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
) -> ObjectKind {
    ObjectKind {
        group,
        version,
        kind,
        plural,
    }
}

/// What one endpoint picker needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PickerInfra {
    /// `metadata.uid` of the `EndpointPicker`.
    pub uid: String,
    /// The pool that it picks for.
    pub pool: String,
    /// Port of the Service that the pool names.
    pub port: u16,
    /// What the user wants of it.
    pub spec: EndpointPickerSpec,
}

/// A serving certificate with its key, in PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ServingCertificate {
    /// The chain.
    pub certificate: String,
    /// The key; never shown.
    pub key: String,
}

/// The name that gateways verify a picker's certificate by.
#[must_use]
pub fn picker_host(picker: &ObjectKey) -> String {
    format!("{}.{}.svc", picker.name, picker.namespace)
}

/// The image that is run.
#[must_use]
pub fn picker_image(spec: &EndpointPickerSpec) -> &str {
    spec.image.as_deref().unwrap_or(DEFAULT_IMAGE)
}

/// Everything that runs an endpoint picker, in the order of [`PICKER_KINDS`].
///
/// All objects have the picker's name, as the pool knows it by that. Roles are its own: it sees the pods and pools of
/// its namespace.
#[must_use]
pub fn picker_objects(
    picker: &ObjectKey,
    infra: &PickerInfra,
    certificate: &ServingCertificate,
    cluster: &Cluster,
) -> Vec<Object> {
    let maker = Maker {
        picker,
        infra,
        cluster,
    };
    let configuration = configuration(&infra.spec);
    let subject = json!({"kind": "ServiceAccount", "name": picker.name, "namespace": picker.namespace});
    let role = json!({"apiGroup": ROLE.group, "kind": "Role", "name": picker.name});
    let budget = json!({"maxUnavailable": 1, "selector": {"matchLabels": maker.selector()}});
    vec![
        maker.object(SERVICE_ACCOUNT, json!({"automountServiceAccountToken": false})),
        maker.object(ROLE, json!({"rules": rules()})),
        maker.object(ROLE_BINDING, json!({"roleRef": role, "subjects": [subject]})),
        maker.object(CONFIG_MAP, json!({"data": {"config.yaml": configuration}})),
        maker.object(
            SECRET,
            json!({
                "type": "kubernetes.io/tls",
                "stringData": {"tls.crt": certificate.certificate, "tls.key": certificate.key},
            }),
        ),
        maker.service(),
        maker.deployment(&configuration),
        maker.object(DISRUPTION_BUDGET, json!({"spec": budget})),
    ]
}

/// What a picker reads and, to elect a leader, writes in its namespace.
fn rules() -> Value {
    json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["inference.networking.k8s.io"], "resources": ["inferencepools"], "verbs": ["get", "list", "watch"]},
        {
            "apiGroups": ["inference.networking.x-k8s.io", "llm-d.ai"],
            "resources": ["inferenceobjectives", "inferencemodelrewrites"],
            "verbs": ["get", "list", "watch"],
        },
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
        },
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ])
}

/// The picker's configuration as it reads it; JSON is YAML.
fn configuration(spec: &EndpointPickerSpec) -> String {
    let mut configuration = spec.configuration.clone().unwrap_or_else(|| {
        json!({
            "plugins": [
                {"type": "queue-scorer"},
                {"type": "kv-cache-utilization-scorer"},
                {"type": "prefix-cache-scorer"},
                // Further endpoints, for the gateway to try when the first is gone by then.
                {"type": "max-score-picker", "parameters": {"maxNumOfEndpoints": 3}},
                {"type": "single-profile-handler"},
            ],
            "schedulingProfiles": [{
                "name": "default",
                "plugins": [
                    {"pluginRef": "queue-scorer", "weight": 2},
                    {"pluginRef": "kv-cache-utilization-scorer", "weight": 2},
                    {"pluginRef": "prefix-cache-scorer", "weight": 3},
                    {"pluginRef": "max-score-picker"},
                ],
            }],
        })
    });
    if let Some(fields) = configuration.as_object_mut() {
        let version = match implementation(spec) {
            EndpointPickerImplementation::LlmD => "llm-d.ai/v1alpha1",
            _ => "inference.networking.x-k8s.io/v1alpha1",
        };
        fields.entry("apiVersion").or_insert_with(|| version.into());
        fields
            .entry("kind")
            .or_insert_with(|| "EndpointPickerConfig".into());
    }
    configuration.to_string()
}

fn implementation(spec: &EndpointPickerSpec) -> EndpointPickerImplementation {
    spec.implementation.clone().unwrap_or_default()
}

/// Makes the objects of one picker.
struct Maker<'a> {
    picker: &'a ObjectKey,
    infra: &'a PickerInfra,
    cluster: &'a Cluster,
}

impl Maker<'_> {
    /// What the pool names. Gateways read its endpoints, each a connection of its own; HTTP/2 would stay with one pod
    /// behind a cluster address.
    fn service(&self) -> Object {
        let spec = json!({
            "selector": self.selector(),
            "ports": [{
                "name": "grpc-ext-proc",
                "port": self.infra.port,
                "targetPort": GRPC_PORT,
                "protocol": "TCP",
                "appProtocol": "http2",
            }, {
                "name": "metrics",
                "port": if self.infra.port == METRICS_PORT { METRICS_PORT + 1 } else { METRICS_PORT },
                "targetPort": METRICS_PORT,
                "protocol": "TCP",
            }],
        });
        self.object(SERVICE, json!({"spec": spec}))
    }

    fn deployment(&self, configuration: &str) -> Object {
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
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [self.container()],
            "volumes": [
                {"name": "configuration", "configMap": {"name": self.picker.name}},
                {"name": "certificate", "secret": {"secretName": self.picker.name}},
            ],
        });
        set(&mut spec, "imagePullSecrets", image_pull_secrets);
        set(&mut spec, "nodeSelector", node_selector);
        set(&mut spec, "tolerations", tolerations);
        set(&mut spec, "affinity", affinity);
        set(&mut spec, "priorityClassName", priority_class_name);
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
            "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": "configuration", "mountPath": "/etc/picker", "readOnly": true},
                {"name": "certificate", "mountPath": "/etc/picker-certificate", "readOnly": true},
            ],
        });
        set(&mut container, "imagePullPolicy", image_pull_policy);
        set(&mut container, "resources", resources);
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

    fn replicas(&self) -> i32 {
        self.infra.spec.replicas.unwrap_or(1)
    }

    /// An object with the content that is its own, and all the rest that objects have.
    fn object(&self, kind: ObjectKind, mut content: Value) -> Object {
        content["apiVersion"] = kind.api_version().into();
        content["kind"] = kind.kind.into();
        content["metadata"] = json!({
            "namespace": self.picker.namespace,
            "name": self.picker.name,
            "labels": self.labels(),
            "ownerReferences": [{
                "apiVersion": "flotilla.dev/v1alpha1",
                "kind": "EndpointPicker",
                "name": self.picker.name,
                "uid": self.infra.uid,
                "controller": true,
                "blockOwnerDeletion": false,
            }],
        });
        Object {
            kind,
            manifest: Some(content),
        }
    }

    /// The labels that tell this picker's pods from all others; they can never change.
    fn selector(&self) -> BTreeMap<String, String> {
        let (controller, value) = self.cluster.controller_label();
        BTreeMap::from([
            (controller.to_owned(), value),
            (PICKER_LABEL.to_owned(), self.picker.name.clone()),
        ])
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.selector();
        for (key, value) in [
            ("app.kubernetes.io/name", "endpoint-picker"),
            ("app.kubernetes.io/instance", &self.picker.name),
            ("app.kubernetes.io/managed-by", "flotilla"),
        ] {
            labels.insert(key.to_owned(), value.to_owned());
        }
        labels
    }
}

/// Sets a field to what the user wants, if that is anything.
fn set<T: serde::Serialize>(object: &mut Value, field: &str, value: &Option<T>) {
    if let Some(value) = value {
        object[field] = json!(value);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Secret, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{Role, RoleBinding},
    };
    use serde::{Serialize, de::DeserializeOwned};

    use super::*;
    use crate::infra::covers;

    fn objects_of(spec: Value) -> Vec<Value> {
        let infra = PickerInfra {
            uid: "11".to_owned(),
            pool: "llm".to_owned(),
            port: 9002,
            spec: serde_json::from_value(spec).expect("the settings decode"),
        };
        let objects = picker_objects(
            &ObjectKey::new("ai", "llm-picker"),
            &infra,
            &ServingCertificate::default(),
            &Cluster::default(),
        );
        let kinds: Vec<ObjectKind> = objects.iter().map(|object| object.kind).collect();
        assert_eq!(kinds, PICKER_KINDS);
        objects
            .into_iter()
            .map(|object| object.manifest.expect("all of them are wanted"))
            .collect()
    }

    fn container(spec: Value) -> Value {
        objects_of(spec)[6]["spec"]["template"]["spec"]["containers"][0].clone()
    }

    /// That all that the object says is something that its type knows.
    fn check<K: DeserializeOwned + Serialize>(object: &Value) {
        let typed: K = serde_json::from_value(object.clone()).expect("the object has the shape of its kind");
        let known = serde_json::to_value(&typed).expect("an object serializes");
        assert!(covers(&known, object), "{known:#} lacks something of {object:#}");
    }

    #[test]
    fn every_object_has_the_shape_of_its_kind() {
        let objects = objects_of(json!({
            "nodeSelector": {"gpu": "none"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "env": [{"name": "A", "value": "b"}],
        }));
        check::<ServiceAccount>(&objects[0]);
        check::<Role>(&objects[1]);
        check::<RoleBinding>(&objects[2]);
        check::<ConfigMap>(&objects[3]);
        check::<Secret>(&objects[4]);
        check::<Service>(&objects[5]);
        check::<Deployment>(&objects[6]);
        check::<PodDisruptionBudget>(&objects[7]);
    }

    #[test]
    fn configuration_is_of_the_group_that_the_implementation_reads() {
        let group = |spec: Value| {
            let text = &objects_of(spec)[3]["data"]["config.yaml"];
            let configuration: Value =
                serde_json::from_str(text.as_str().expect("a text")).expect("JSON is what is written");
            configuration["apiVersion"].clone()
        };
        assert_eq!(group(json!({})), "inference.networking.x-k8s.io/v1alpha1");
        assert_eq!(group(json!({"implementation": "LlmD"})), "llm-d.ai/v1alpha1");
        assert_eq!(group(json!({"configuration": {"apiVersion": "x/v1"}})), "x/v1");
    }

    #[test]
    fn another_configuration_replaces_the_pods() {
        let template = |spec: Value| objects_of(spec)[6]["spec"]["template"]["metadata"].clone();
        assert_ne!(
            template(json!({})),
            template(json!({"configuration": {"plugins": []}}))
        );
        assert_eq!(template(json!({})), template(json!({"replicas": 1})));
    }

    #[test]
    fn several_pods_elect_a_leader() {
        let elects = |spec: Value| {
            let container = container(spec);
            let args = container["args"].as_array().expect("arguments");
            args.contains(&json!("--ha-enable-leader-election"))
        };
        assert!(!elects(json!({})));
        assert!(elects(json!({"replicas": 2})));
    }

    #[test]
    fn arguments_of_the_user_come_last() {
        let container = container(json!({"extraArgs": ["--v=4"], "image": "epp:1"}));
        let args = container["args"].as_array().expect("arguments");
        assert_eq!(args.last(), Some(&json!("--v=4")));
        assert!(args.contains(&json!("--pool-name=llm")));
        assert_eq!(container["image"], "epp:1");
    }
}
