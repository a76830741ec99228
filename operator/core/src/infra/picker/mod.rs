//! The Kubernetes objects that run an endpoint picker.

mod certificate;
mod configuration;
mod pod;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use self::certificate::{ServingCertificate, picker_host, picker_names, picker_tls, stored_certificate};
use super::{
    Cluster, ObjectKind,
    cluster::common_labels,
    kind::{
        CONFIG_MAP, DISRUPTION_BUDGET, PICKER_KINDS, ROLE, ROLE_BINDING, SECRET, SERVICE, SERVICE_ACCOUNT,
    },
    manifest::{Metadata, Object, Owner},
};
use crate::{
    api::{EndpointPicker, EndpointPickerSpec},
    object::ObjectKey,
    observed::ObservedPicker,
};

/// Image of the inference extension's picker in the version that tests run with.
pub const DEFAULT_IMAGE: &str = "registry.k8s.io/gateway-api-inference-extension/epp:v1.5.0";

/// The label that says whose picker it is.
pub const PICKER_LABEL: &str = "flotilla.dev/endpoint-picker";

/// Where the picker listens for gateways, whatever the port of its Service.
const GRPC_PORT: u16 = 9002;

/// Where it tells metrics.
const METRICS_PORT: u16 = 9090;

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

/// The image that is run.
#[must_use]
pub fn picker_image(spec: &EndpointPickerSpec) -> &str {
    spec.image.as_deref().unwrap_or(DEFAULT_IMAGE)
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
        pods: BTreeMap::new(),
    }
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
    if infra.stays_as_it_is {
        return PICKER_KINDS.map(Object::as_it_is).into();
    }
    let maker = Maker {
        picker,
        infra,
        cluster,
    };
    let configuration = configuration::text(&infra.spec);
    let subject = json!({"kind": "ServiceAccount", "name": picker.name, "namespace": picker.namespace});
    let role = json!({"apiGroup": ROLE.group, "kind": "Role", "name": picker.name});
    vec![
        maker.object(SERVICE_ACCOUNT, json!({"automountServiceAccountToken": false})),
        maker.object(ROLE, json!({"rules": rules()})),
        maker.object(ROLE_BINDING, json!({"roleRef": role, "subjects": [subject]})),
        maker.object(CONFIG_MAP, json!({"data": {"config.yaml": configuration}})),
        maker.object(SECRET, certificate.secret()),
        maker.service(),
        maker.deployment(&configuration),
        maker.disruption_budget(),
    ]
}

/// What a picker reads in its namespace.
fn rules() -> Value {
    json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["inference.networking.k8s.io"], "resources": ["inferencepools"], "verbs": ["get", "list", "watch"]},
        {
            "apiGroups": ["inference.networking.x-k8s.io", "llm-d.ai"],
            "resources": ["inferenceobjectives", "inferencemodelrewrites"],
            "verbs": ["get", "list", "watch"],
        },
    ])
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

    /// How many pods may be missing while nodes are drained. One that is alone goes as well: another one is made
    /// meanwhile.
    fn disruption_budget(&self) -> Object {
        let spec = json!({"maxUnavailable": 1, "selector": {"matchLabels": self.selector()}});
        self.object(DISRUPTION_BUDGET, json!({"spec": spec}))
    }

    /// An object with the content that is its own, and all the rest that objects have.
    fn object(&self, kind: ObjectKind, content: Value) -> Object {
        let metadata = Metadata {
            key: self.picker.clone(),
            owner: Owner::of::<EndpointPicker>(&self.picker.name, &self.infra.uid),
            labels: self.labels(),
            annotations: BTreeMap::new(),
        };
        Object::new(kind, content, metadata)
    }

    /// The labels that tell this picker's pods from all others; they can never change.
    fn selector(&self) -> BTreeMap<String, String> {
        self.cluster.selector(PICKER_LABEL, &self.picker.name)
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let common = common_labels("endpoint-picker", &self.picker.name);
        self.selector().into_iter().chain(common).collect()
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

    use super::*;
    use crate::infra::{covers, manifest::tests::typed};

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

    #[test]
    fn every_object_has_the_shape_of_its_kind() {
        let objects = objects_of(json!({
            "nodeSelector": {"gpu": "none"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "env": [{"name": "A", "value": "b"}],
        }));
        typed::<ServiceAccount>(&objects[0]);
        typed::<Role>(&objects[1]);
        typed::<RoleBinding>(&objects[2]);
        typed::<ConfigMap>(&objects[3]);
        typed::<Secret>(&objects[4]);
        typed::<Service>(&objects[5]);
        typed::<Deployment>(&objects[6]);
        typed::<PodDisruptionBudget>(&objects[7]);
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
    fn settings_of_all_pods_are_those_of_pickers_too() {
        let objects = objects_of(json!({
            "labels": {"team": "ai", "flotilla.dev/endpoint-picker": "another"},
            "annotations": {"sidecar": "none"},
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
            "patch": {"spec": {"containers": [{"name": "picker", "workingDir": "/tmp"}]}},
        }));
        let template = &objects[6]["spec"]["template"];
        typed::<Deployment>(&objects[6]);
        assert_eq!(template["metadata"]["labels"]["team"], "ai");
        assert_eq!(template["metadata"]["labels"][PICKER_LABEL], "llm-picker");
        assert_eq!(template["metadata"]["annotations"]["sidecar"], "none");
        let spread = &template["spec"]["topologySpreadConstraints"][0];
        assert_eq!(spread["labelSelector"]["matchLabels"][PICKER_LABEL], "llm-picker");
        let container = &template["spec"]["containers"][0];
        assert_eq!(
            (&container["workingDir"], &container["name"]),
            (&json!("/tmp"), &json!("picker"))
        );
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
    fn a_field_that_is_no_longer_wanted_makes_an_object_differ() {
        let with = objects_of(json!({"nodeSelector": {"gpu": "none"}}));
        let without = objects_of(json!({}));
        assert!(!covers(&with[6], &without[6]));
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
