//! The Kubernetes objects that run a gateway.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    GatewayInfra,
    name::{label_value, object_name},
    pod,
};
use crate::{
    object::ObjectKey,
    syntax::{Id, digest},
};

/// Who the tokens of gateways' pods are meant for: nobody but the operator takes them.
pub const AUDIENCE: &str = "fleet.flotilla.dev";

/// The label that says whose object it is; see <https://gateway-api.sigs.k8s.io/geps/gep-1762/>.
pub const GATEWAY_NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-name";

/// The label that tells the objects of one operator from those of another; its value is made of the controller's name.
const CONTROLLER_LABEL: &str = "flotilla.dev/controller";

/// The annotation with a digest of what was wanted, so that an object shows whether it was made of something else.
const WANTED_ANNOTATION: &str = "flotilla.dev/wanted";

/// What all gateways of an operator have in common in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The `controllerName` of the operator's classes.
    pub controller_name: String,
    /// Image of the gateways: NGINX and the agent.
    pub image: String,
    /// When nodes look for a newer image; Kubernetes' choice by the image's tag where absent.
    pub image_pull_policy: Option<String>,
    /// Where agents find the operator, such as `https://flotilla.flotilla-system.svc:9443`.
    pub operator: String,
    /// Certificates of the authorities that the operator's certificate may come from, in PEM.
    pub authorities: String,
}

/// A kind of the objects that run gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectKind {
    /// Empty for the core group.
    pub group: &'static str,
    /// Of the group.
    pub version: &'static str,
    /// Such as `Service`.
    pub kind: &'static str,
    /// Its objects as a resource of the API, such as `services`.
    pub plural: &'static str,
}

const SERVICE_ACCOUNT: ObjectKind = ObjectKind::new("", "v1", "ServiceAccount", "serviceaccounts");
const CONFIG_MAP: ObjectKind = ObjectKind::new("", "v1", "ConfigMap", "configmaps");
const SERVICE: ObjectKind = ObjectKind::new("", "v1", "Service", "services");
const DEPLOYMENT: ObjectKind = ObjectKind::new("apps", "v1", "Deployment", "deployments");
const DISRUPTION_BUDGET: ObjectKind =
    ObjectKind::new("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets");

/// Every kind that there is, in the order in which its objects need each other.
pub const KINDS: [ObjectKind; 5] = [
    SERVICE_ACCOUNT,
    CONFIG_MAP,
    SERVICE,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
];

/// One object that must be there.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What it is.
    pub kind: ObjectKind,
    /// Whole, but for what the API server adds; `None` for one that may stay as it is, or stay away.
    pub manifest: Option<Value>,
}

impl ObjectKind {
    const fn new(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self {
            group,
            version,
            kind,
            plural,
        }
    }

    /// As objects say it, such as `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

impl Cluster {
    /// The label, as `key=value`, that all objects of this operator have and no others.
    #[must_use]
    pub fn label(&self) -> String {
        let (key, value) = self.controller_label();
        format!("{key}={value}")
    }

    /// Key and value of that label.
    pub(super) fn controller_label(&self) -> (&'static str, String) {
        (CONTROLLER_LABEL, Id::of(&self.controller_name).to_string())
    }
}

/// Namespace and name of everything that runs a gateway: each kind has one object.
#[must_use]
pub fn objects_key(gateway: &ObjectKey) -> ObjectKey {
    ObjectKey::new(&gateway.namespace, object_name(&gateway.name))
}

/// Everything that runs a gateway, in the order of [`KINDS`].
#[must_use]
pub fn objects(gateway: &ObjectKey, infra: &GatewayInfra, cluster: &Cluster) -> Vec<Object> {
    let maker = Maker {
        gateway,
        infra,
        cluster,
    };
    let budget = json!({"spec": {"maxUnavailable": 1, "selector": {"matchLabels": maker.selector()}}});
    vec![
        maker.object(SERVICE_ACCOUNT, json!({"automountServiceAccountToken": false})),
        maker.object(
            CONFIG_MAP,
            json!({"data": {(pod::AUTHORITIES): cluster.authorities}}),
        ),
        maker.service(),
        maker.deployment(),
        maker.object(DISRUPTION_BUDGET, budget),
    ]
}

/// Makes the objects of one gateway.
struct Maker<'a> {
    gateway: &'a ObjectKey,
    infra: &'a GatewayInfra,
    cluster: &'a Cluster,
}

impl Maker<'_> {
    /// What clients connect to. Without a port there can be none, but one that is there may stay: its address is worth
    /// keeping while somebody repairs the listeners.
    fn service(&self) -> Object {
        if self.infra.ports.is_empty() {
            return Object {
                kind: SERVICE,
                manifest: None,
            };
        }
        let ports = self.infra.ports.iter();
        let ports =
            ports.map(|port| json!({"name": format!("port-{port}"), "port": port, "protocol": "TCP"}));
        let mut spec = json!({
            "type": "LoadBalancer",
            "selector": self.selector(),
            "ports": ports.collect::<Vec<_>>(),
        });
        if let Some((first, others)) = self.infra.addresses.split_first() {
            spec["loadBalancerIP"] = json!(first);
            if !others.is_empty() {
                spec["externalIPs"] = json!(others);
            }
        }
        self.object(SERVICE, json!({"spec": spec}))
    }

    /// The pods. How many is for whoever scales it to say: at first there is one.
    fn deployment(&self) -> Object {
        let name = object_name(&self.gateway.name);
        let template = json!({
            "metadata": {"labels": self.labels(), "annotations": self.infra.annotations},
            "spec": pod::spec(&name, &self.selector(), self.infra, self.cluster),
        });
        let spec = json!({
            "selector": {"matchLabels": self.selector()},
            // A pod goes only when another one serves.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
            "template": template,
        });
        self.object(DEPLOYMENT, json!({"spec": spec}))
    }

    /// An object with the content that is its own, and all the rest that objects have.
    fn object(&self, kind: ObjectKind, mut content: Value) -> Object {
        let mut annotations = self.infra.annotations.clone();
        let content_digest = digest([
            content.to_string().as_bytes(),
            json!([self.labels(), annotations]).to_string().as_bytes(),
        ]);
        annotations.insert(WANTED_ANNOTATION.to_owned(), content_digest);
        content["apiVersion"] = kind.api_version().into();
        content["kind"] = kind.kind.into();
        content["metadata"] = json!({
            "namespace": self.gateway.namespace,
            "name": object_name(&self.gateway.name),
            "labels": self.labels(),
            "annotations": annotations,
        });
        if !self.infra.uid.is_empty() {
            content["metadata"]["ownerReferences"] = json!([{
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "name": self.gateway.name,
                "uid": self.infra.uid,
                "controller": true,
                "blockOwnerDeletion": false,
            }]);
        }
        Object {
            kind,
            manifest: Some(content),
        }
    }

    /// The labels that tell this gateway's pods from all others; they can never change.
    fn selector(&self) -> BTreeMap<String, String> {
        let labels = [
            (GATEWAY_NAME_LABEL, label_value(&self.gateway.name)),
            (
                CONTROLLER_LABEL,
                Id::of(&self.cluster.controller_name).to_string(),
            ),
        ];
        labels.map(|(key, value)| (key.to_owned(), value)).into()
    }

    /// The user's labels and ours, which win.
    fn labels(&self) -> BTreeMap<String, String> {
        let ours = [
            ("app.kubernetes.io/name", "flotilla-gateway".to_owned()),
            ("app.kubernetes.io/instance", label_value(&self.gateway.name)),
            ("app.kubernetes.io/managed-by", "flotilla".to_owned()),
        ];
        let ours = ours.map(|(key, value)| (key.to_owned(), value));
        let labels = self.infra.labels.clone().into_iter();
        labels.chain(ours).chain(self.selector()).collect()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
    };
    use serde::de::DeserializeOwned;

    use super::*;

    fn cluster() -> Cluster {
        Cluster {
            controller_name: "flotilla.dev/gateway-controller".to_owned(),
            image: "flotilla.dev/gateway:1".to_owned(),
            image_pull_policy: None,
            operator: "https://flotilla.flotilla-system.svc:9443".to_owned(),
            authorities: "PEM".to_owned(),
        }
    }

    fn infra() -> GatewayInfra {
        GatewayInfra {
            uid: "11".to_owned(),
            ports: [80, 443].into(),
            ..GatewayInfra::default()
        }
    }

    fn objects_of(infra: &GatewayInfra) -> Vec<Value> {
        let objects = objects(&ObjectKey::new("default", "edge"), infra, &cluster());
        assert_eq!(
            objects.iter().map(|object| object.kind).collect::<Vec<_>>(),
            KINDS
        );
        objects
            .into_iter()
            .map(|object| object.manifest.unwrap_or_default())
            .collect()
    }

    /// The object as its type; all that it says is something that the type knows.
    fn typed<K: DeserializeOwned + serde::Serialize>(object: &Value) -> K {
        let typed: K = serde_json::from_value(object.clone()).expect("the object has the shape of its kind");
        let known = serde_json::to_value(&typed).expect("an object serializes");
        assert!(
            super::super::covers(&known, object),
            "{known:#} lacks something of {object:#}"
        );
        typed
    }

    #[test]
    fn every_object_has_the_shape_of_its_kind() {
        let [account, map, service, deployment, budget] =
            objects_of(&infra()).try_into().expect("five objects");
        typed::<ServiceAccount>(&account);
        typed::<ConfigMap>(&map);
        typed::<Service>(&service);
        typed::<Deployment>(&deployment);
        typed::<PodDisruptionBudget>(&budget);
    }

    #[test]
    fn labels_and_annotations_of_the_user_are_on_everything_and_never_hide_ours() {
        let infra = GatewayInfra {
            labels: [("team", "web"), (GATEWAY_NAME_LABEL, "other")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            annotations: [("team".to_owned(), "web".to_owned())].into(),
            ..infra()
        };
        let objects = objects_of(&infra);
        let pod = &objects[3]["spec"]["template"];
        for object in objects.iter().chain([pod]) {
            let metadata = &object["metadata"];
            assert_eq!(metadata["labels"]["team"], "web");
            assert_eq!(metadata["labels"][GATEWAY_NAME_LABEL], "edge");
            assert_eq!(metadata["annotations"]["team"], "web");
        }
    }

    #[test]
    fn a_port_more_changes_the_service_and_nothing_else() {
        let mut more = infra();
        more.ports.insert(8443);
        let changed = std::iter::zip(objects_of(&infra()), objects_of(&more))
            .filter(|(before, after)| before != after)
            .map(|(before, _)| before["kind"].clone());
        assert_eq!(changed.collect::<Vec<_>>(), ["Service"]);
    }

    #[test]
    fn a_listener_on_the_port_of_the_probes_moves_those() {
        let mut infra = infra();
        infra.ports.insert(9113);
        let container = &objects_of(&infra)[3]["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["ports"][0]["containerPort"], 9114);
    }

    #[test]
    fn a_gateway_without_ports_keeps_the_service_that_it_has() {
        let infra = GatewayInfra::default();
        assert_eq!(objects_of(&infra)[2], Value::Null);
    }

    #[test]
    fn addresses_that_are_asked_for_are_the_services() {
        let infra = GatewayInfra {
            addresses: ["192.0.2.1", "192.0.2.2"]
                .map(|address| address.parse().expect("an address"))
                .into(),
            ..infra()
        };
        let spec = &objects_of(&infra)[2]["spec"];
        assert_eq!(spec["loadBalancerIP"], "192.0.2.1");
        assert_eq!(spec["externalIPs"], json!(["192.0.2.2"]));
    }

    #[test]
    fn what_is_wanted_leaves_its_mark() {
        let mark =
            |infra: &GatewayInfra| objects_of(infra)[2]["metadata"]["annotations"][WANTED_ANNOTATION].clone();
        let mut other = infra();
        other.ports.insert(8080);
        assert_ne!(mark(&infra()), mark(&other));
    }
}
