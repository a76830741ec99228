//! The Kubernetes objects that run an endpoint picker.

mod pod;

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::{
    Cluster, Object, ObjectKind,
    kind::{
        CONFIG_MAP, DISRUPTION_BUDGET, PICKER_KINDS, ROLE, ROLE_BINDING, SECRET, SERVICE, SERVICE_ACCOUNT,
    },
    objects::WANTED_ANNOTATION,
};
use crate::{
    api::{EndpointPickerImplementation, EndpointPickerSpec},
    config::{BackendTls, Verification},
    object::ObjectKey,
    observed::ObservedPicker,
    syntax::digest,
};

/// Image of the inference extension's picker in the version that tests run with.
pub const DEFAULT_IMAGE: &str = "registry.k8s.io/gateway-api-inference-extension/epp:v1.5.0";

/// The label that says whose picker it is.
pub const PICKER_LABEL: &str = "flotilla.dev/endpoint-picker";

/// Where the picker listens for gateways, whatever the port of its Service.
const GRPC_PORT: u16 = 9002;

/// Where it tells metrics.
const METRICS_PORT: u16 = 9090;

/// Files of its Secret, as the picker looks for them.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

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
    /// Whether what runs is left alone: while the `EndpointPicker` makes no sense, and when it is on its way out, for
    /// then what runs goes with it by itself.
    pub stays_as_it_is: bool,
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

/// The names that a picker's certificate holds; the first is [`picker_host`].
#[must_use]
pub fn picker_names(picker: &ObjectKey) -> Vec<String> {
    let host = picker_host(picker);
    let ObjectKey { namespace, name } = picker;
    vec![
        host.clone(),
        format!("{name}.{namespace}"),
        format!("{host}.cluster.local"),
    ]
}

/// The TLS with which gateways know a picker that we run from any other, given the authorities that its certificate may
/// come from, in PEM.
#[must_use]
pub fn picker_tls(picker: &ObjectKey, authorities: &str) -> BackendTls {
    let host = picker_host(picker);
    BackendTls {
        server_name: host.clone(),
        verification: Some(Verification {
            authorities: Some(authorities.to_owned()),
            hostnames: vec![host],
            uris: Vec::new(),
        }),
        client_certificate: None,
    }
}

/// The certificate that a picker's Secret holds, if it holds one.
#[must_use]
pub fn stored_certificate(secret: &Value) -> Option<ServingCertificate> {
    let text = |name: &str| {
        let ByteString(bytes) = serde_json::from_value(secret["data"].get(name)?.clone()).ok()?;
        String::from_utf8(bytes).ok()
    };
    Some(ServingCertificate {
        certificate: text(CERTIFICATE)?,
        key: text(KEY)?,
    })
}

/// What a picker's Deployment says of its pods.
#[must_use]
pub fn observed_picker(deployment: &Value) -> ObservedPicker {
    let count = |value: &Value| {
        value
            .as_i64()
            .and_then(|count| i32::try_from(count).ok())
            .unwrap_or_default()
    };
    let conditions = deployment["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let failure = conditions.find(|condition| {
        matches!(
            (condition["type"].as_str(), condition["status"].as_str()),
            (Some("ReplicaFailure"), Some("True")) | (Some("Progressing"), Some("False"))
        )
    });
    let message = failure.and_then(|condition| condition["message"].as_str());
    ObservedPicker {
        ready: count(&deployment["status"]["readyReplicas"]),
        wanted: count(&deployment["spec"]["replicas"]),
        failure: message.map(|message| message.trim_end_matches('.').to_owned()),
    }
}

/// Everything that runs an endpoint picker, in the order of [`PICKER_KINDS`](super::PICKER_KINDS).
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
    if infra.stays_as_it_is {
        return PICKER_KINDS.map(Object::as_it_is).into();
    }
    let maker = Maker {
        picker,
        infra,
        cluster,
    };
    let configuration = configuration(&infra.spec);
    let subject = json!({"kind": "ServiceAccount", "name": picker.name, "namespace": picker.namespace});
    let role = json!({"apiGroup": ROLE.group, "kind": "Role", "name": picker.name});
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    vec![
        maker.object(SERVICE_ACCOUNT, json!({"automountServiceAccountToken": false})),
        maker.object(ROLE, json!({"rules": rules()})),
        maker.object(ROLE_BINDING, json!({"roleRef": role, "subjects": [subject]})),
        maker.object(CONFIG_MAP, json!({"data": {"config.yaml": configuration}})),
        maker.object(
            SECRET,
            json!({
                "type": "kubernetes.io/tls",
                "data": {(CERTIFICATE): bytes(&certificate.certificate), (KEY): bytes(&certificate.key)},
            }),
        ),
        maker.service(),
        maker.deployment(&configuration),
        maker.disruption_budget(),
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

    /// How many pods may be missing while nodes are drained. Of those that elect a leader only that one is ready, and it
    /// may go: another one takes over.
    fn disruption_budget(&self) -> Object {
        let unavailable = if self.replicas() > 1 {
            json!("100%")
        } else {
            json!(1)
        };
        let spec = json!({"maxUnavailable": unavailable, "selector": {"matchLabels": self.selector()}});
        self.object(DISRUPTION_BUDGET, json!({"spec": spec}))
    }

    /// An object with the content that is its own, and all the rest that objects have.
    fn object(&self, kind: ObjectKind, mut content: Value) -> Object {
        let content_digest = digest([content.to_string().as_bytes()]);
        content["apiVersion"] = kind.api_version().into();
        content["kind"] = kind.kind.into();
        content["metadata"] = json!({
            "namespace": self.picker.namespace,
            "name": self.picker.name,
            "labels": self.labels(),
            "annotations": {(WANTED_ANNOTATION): content_digest},
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
            stays_as_it_is: false,
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

    #[test]
    fn nothing_of_a_picker_that_stays_as_it_is_is_made_again_or_deleted() {
        let infra = PickerInfra {
            stays_as_it_is: true,
            ..PickerInfra::default()
        };
        let (picker, certificate) = (ObjectKey::new("ai", "llm-picker"), ServingCertificate::default());
        let objects = picker_objects(&picker, &infra, &certificate, &Cluster::default());
        assert_eq!(objects, PICKER_KINDS.map(Object::as_it_is));
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

    #[test]
    fn what_the_secret_holds_is_read_back() {
        let certificate = ServingCertificate {
            certificate: "CERTIFICATE".to_owned(),
            key: "KEY".to_owned(),
        };
        let infra = PickerInfra::default();
        let picker = ObjectKey::new("ai", "llm-picker");
        let objects = picker_objects(&picker, &infra, &certificate, &Cluster::default());
        let secret = objects[4].manifest.clone().expect("it is wanted");
        assert!(stored_certificate(&secret) == Some(certificate));
        assert!(stored_certificate(&json!({"data": {"tls.crt": "QQ=="}})).is_none());
    }

    #[test]
    fn a_field_that_is_no_longer_wanted_makes_an_object_differ() {
        let with = objects_of(json!({"nodeSelector": {"gpu": "none"}}));
        let without = objects_of(json!({}));
        assert!(!covers(&with[6], &without[6]));
    }

    #[test]
    fn nodes_can_be_drained_of_pods_of_which_one_is_ready() {
        let budget = |spec: Value| objects_of(spec)[7]["spec"]["maxUnavailable"].clone();
        assert_eq!(budget(json!({})), 1);
        assert_eq!(budget(json!({"replicas": 3})), "100%");
    }

    #[test]
    fn a_deployment_tells_how_many_pods_pick_and_what_hinders_them() {
        let mut deployment = json!({
            "spec": {"replicas": 2},
            "status": {"readyReplicas": 1, "conditions": [{"type": "Progressing", "status": "True", "message": "fine"}]},
        });
        let observed = observed_picker(&deployment);
        assert_eq!((observed.ready, observed.wanted, observed.failure), (1, 2, None));
        deployment["status"]["conditions"][0]["status"] = json!("False");
        assert_eq!(observed_picker(&deployment).failure.as_deref(), Some("fine"));
    }
}
