//! The Kubernetes objects that run a gateway.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Cluster, GatewayInfra, Provisioning,
    cluster::common_labels,
    kind::{CONFIG_MAP, KINDS, ObjectKind, SERVICE_ACCOUNT},
    manifest::{Metadata, Object, Owner},
    name::object_name,
};
use crate::{api::Gateway, object::ObjectKey};

/// Who the tokens of gateways' pods are meant for: nobody but the operator takes them.
pub const AUDIENCE: &str = "fleet.flotilla.dev";

/// The entry of the ConfigMap, and the file, with the authorities that the operator's certificate may come from.
pub(super) const AUTHORITIES: &str = "ca.crt";

/// The label that says whose object it is; see <https://gateway-api.sigs.k8s.io/geps/gep-1762/>.
pub const GATEWAY_NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-name";

/// Namespace and name of everything that runs a gateway: each kind has one object.
#[must_use]
pub fn objects_key(gateway: &ObjectKey) -> ObjectKey {
    ObjectKey::new(&gateway.namespace, object_name(&gateway.name))
}

/// Everything that runs a gateway, in the order of [`KINDS`]; what is not among it must not be there.
#[must_use]
pub fn objects(gateway: &ObjectKey, infra: &GatewayInfra, cluster: &Cluster) -> Vec<Object> {
    if infra.is_terminating {
        return KINDS.map(Object::as_it_is).into();
    }
    let maker = Maker {
        gateway,
        infra,
        cluster,
    };
    let mut objects = vec![
        maker.object(SERVICE_ACCOUNT, json!({"automountServiceAccountToken": false})),
        maker.object(CONFIG_MAP, json!({"data": {(AUTHORITIES): cluster.authorities}})),
    ];
    match &infra.provisioning {
        Some(provisioning) => objects.extend(maker.provisioned(provisioning)),
        // All that depends on how it is to run.
        None => objects.extend(KINDS[objects.len()..].iter().copied().map(Object::as_it_is)),
    }
    objects
}

/// Makes the objects of one gateway.
pub(super) struct Maker<'a> {
    pub(super) gateway: &'a ObjectKey,
    pub(super) infra: &'a GatewayInfra,
    pub(super) cluster: &'a Cluster,
}

impl Maker<'_> {
    /// The objects that depend on how the gateway is to run.
    fn provisioned(&self, provisioning: &Provisioning) -> Vec<Object> {
        let mut objects = vec![self.service(&provisioning.service)];
        objects.extend(self.network_policy(&provisioning.network_policy));
        objects.push(self.workload(provisioning));
        objects.extend(self.autoscaler(&provisioning.workload));
        objects.push(self.disruption_budget(&provisioning.workload));
        objects
    }

    /// An object with the content that is its own, and all the rest that objects have.
    pub(super) fn object(&self, kind: ObjectKind, content: Value) -> Object {
        self.marked_object(kind, content, BTreeMap::new(), BTreeMap::new())
    }

    /// An object with labels and annotations of its own, which the Gateway's and ours win over.
    pub(super) fn marked_object(
        &self,
        kind: ObjectKind,
        content: Value,
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
    ) -> Object {
        let metadata = Metadata {
            key: objects_key(self.gateway),
            owner: Owner::of::<Gateway>(&self.gateway.name, &self.infra.uid),
            labels: self.labels(labels),
            annotations: self.annotations(annotations),
        };
        Object::new(kind, content, metadata)
    }

    /// The name of all objects.
    pub(super) fn name(&self) -> String {
        object_name(&self.gateway.name)
    }

    /// The labels that tell this gateway's pods from all others; they can never change.
    pub(super) fn selector(&self) -> BTreeMap<String, String> {
        self.cluster.selector(GATEWAY_NAME_LABEL, &self.gateway.name)
    }

    /// Labels of a kind of objects, those of the Gateway, which win, and ours, which win over both.
    pub(super) fn labels(&self, labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let ours = common_labels("flotilla-gateway", &self.gateway.name);
        let labels = labels.into_iter().chain(self.infra.labels.clone());
        labels.chain(ours).chain(self.selector()).collect()
    }

    /// Annotations of a kind of objects, and those of the Gateway, which win.
    pub(super) fn annotations(&self, annotations: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let annotations = annotations.into_iter();
        annotations.chain(self.infra.annotations.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{
        apps::v1::{DaemonSet, Deployment},
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    };

    use super::*;
    use crate::{
        api::NginxFleetSpec,
        infra::{
            SERVICE,
            manifest::{WANTED_ANNOTATION, tests::typed},
        },
    };

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
            provisioning: Some(Provisioning::default()),
            ..GatewayInfra::default()
        }
    }

    /// With what an `NginxFleet` says.
    fn infra_with(fleet: &str) -> GatewayInfra {
        let spec: NginxFleetSpec = serde_saphyr::from_str(fleet).expect("the settings of an NginxFleet");
        GatewayInfra {
            provisioning: Some(Provisioning {
                workload: spec.workload,
                pod: spec.pod,
                container: spec.container,
                service: spec.service,
                network_policy: spec.network_policy,
            }),
            ..infra()
        }
    }

    fn objects_of(infra: &GatewayInfra) -> Vec<Value> {
        let objects = objects(&ObjectKey::new("default", "edge"), infra, &cluster());
        let manifests = objects.into_iter().filter_map(|object| object.manifest);
        manifests.collect()
    }

    fn kinds(objects: &[Object]) -> Vec<&'static str> {
        objects.iter().map(|object| object.kind.kind).collect()
    }

    #[test]
    fn every_object_has_the_shape_of_its_kind() {
        let everything = "
            workload: {autoscaling: {maxReplicas: 3, targetMemoryUtilizationPercentage: 70, metrics: [{type: Pods}],
              behavior: {scaleDown: {stabilizationWindowSeconds: 60}}}}
            pod: {labels: {a: b}, nodeSelector: {a: b}, tolerations: [{operator: Exists}], priorityClassName: high,
              topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}],
              affinity: {nodeAffinity: {}}, imagePullSecrets: [{name: registry}], drain: {delay: 1s, timeout: 1m}}
            container: {image: other, imagePullPolicy: Never, resources: {limits: {cpu: 2}}}
            service: {labels: {a: b}, annotations: {a: b}, loadBalancerClass: mine, ipFamilies: [IPv4],
              externalTrafficPolicy: Local, loadBalancerSourceRanges: [192.0.2.0/24],
              ipFamilyPolicy: PreferDualStack, nodePorts: [{port: 80, nodePort: 30080}]}
            networkPolicy: {enabled: true, metricsFrom: [{podSelector: {}}]}";
        let objects = objects_of(&infra_with(everything));
        let [account, map, service, policy, deployment, autoscaler, budget] =
            objects.try_into().expect("seven objects");
        typed::<ServiceAccount>(&account);
        typed::<ConfigMap>(&map);
        typed::<Service>(&service);
        typed::<NetworkPolicy>(&policy);
        typed::<Deployment>(&deployment);
        typed::<HorizontalPodAutoscaler>(&autoscaler);
        typed::<PodDisruptionBudget>(&budget);
        typed::<DaemonSet>(&objects_of(&infra_with("workload: {kind: DaemonSet}"))[3]);
    }

    #[test]
    fn objects_are_in_the_order_in_which_they_need_each_other() {
        let gateway = ObjectKey::new("default", "edge");
        let fleet = "{networkPolicy: {enabled: true}, workload: {autoscaling: {maxReplicas: 2}}}";
        let all = objects(&gateway, &infra_with(fleet), &cluster());
        let order = KINDS.iter().filter(|kind| kind.kind != "DaemonSet");
        assert_eq!(kinds(&all), order.map(|kind| kind.kind).collect::<Vec<_>>());
    }

    #[test]
    fn what_runs_stays_as_it_is_while_it_is_not_known_how_it_is_to_run() {
        let infra = GatewayInfra {
            provisioning: None,
            ..infra()
        };
        let all = objects(&ObjectKey::new("default", "edge"), &infra, &cluster());
        assert_eq!(kinds(&all), KINDS.map(|kind| kind.kind));
        let made: Vec<Value> = objects_of(&infra)
            .iter()
            .map(|object| object["kind"].clone())
            .collect();
        assert_eq!(made, ["ServiceAccount", "ConfigMap"]);
    }

    #[test]
    fn objects_of_every_kind_have_names_that_fit() {
        let gateway = ObjectKey::new("default", "g".repeat(253));
        for fleet in [
            "{networkPolicy: {enabled: true}, workload: {autoscaling: {maxReplicas: 2}}}",
            "{workload: {kind: DaemonSet}}",
        ] {
            for object in objects(&gateway, &infra_with(fleet), &cluster()) {
                let manifest = object.manifest.unwrap_or_default();
                let name = manifest["metadata"]["name"]
                    .as_str()
                    .expect("an object has a name");
                assert_eq!(name, objects_key(&gateway).name);
                let labels = manifest["metadata"]["labels"].as_object().expect("it has labels");
                let mut values = labels.values().filter_map(Value::as_str).chain([name]);
                assert!(values.all(|value| value.len() <= 63), "{manifest:#}");
            }
        }
    }

    #[test]
    fn labels_and_annotations_of_the_user_are_on_everything_and_never_hide_ours() {
        let infra = GatewayInfra {
            labels: [("team", "web"), (GATEWAY_NAME_LABEL, "other")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            annotations: [("team".to_owned(), "web".to_owned())].into(),
            ..infra_with(
                "{pod: {labels: {team: pods, tier: edge}, annotations: {team: pods}},
                  service: {labels: {team: services}}, networkPolicy: {enabled: true},
                  workload: {autoscaling: {maxReplicas: 2}}}",
            )
        };
        let objects = objects_of(&infra);
        let pod = &objects[4]["spec"]["template"];
        assert_eq!(pod["metadata"]["labels"]["tier"], "edge");
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
        let infra = GatewayInfra {
            ports: [].into(),
            ..infra()
        };
        let objects = objects(&ObjectKey::new("default", "edge"), &infra, &cluster());
        assert_eq!(objects[2], Object::as_it_is(SERVICE));
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
