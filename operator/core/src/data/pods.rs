//! The endpoints of `InferencePool`s: pods that its labels select.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    api::{LabelSelector, Pod},
    object::ObjectKey,
    snapshot::Snapshot,
};

/// Annotations with the ports at which a pod takes requests, separated by commas; of the pool's ports it has no others.
/// All of them are meant where a pod has neither annotation, and the first one where it has both.
///
/// Pickers go by them as well, see `ExtractActivePorts` in
/// <https://github.com/llm-d/llm-d-inference-scheduler/blob/main/pkg/epp/util/pod/pod.go>.
pub const ACTIVE_PORTS: [&str; 2] = [
    "llm-d.ai/active-ports",
    "inference.networking.k8s.io/active-ports",
];

/// Addresses of a pool's ready pods, by each of the ports, in order.
pub(super) fn endpoints(snapshot: &Snapshot, pool: &ObjectKey, ports: &[u16]) -> BTreeMap<u16, Vec<String>> {
    let Some(object) = snapshot.inference_pools.get(pool) else {
        return BTreeMap::new();
    };
    let pods = snapshot.pods.range(ObjectKey::new(&pool.namespace, "")..);
    let pods = pods.take_while(|(key, _)| key.namespace == pool.namespace);
    let pods = pods.filter(|(_, pod)| selects(&object.spec.selector, pod) && is_ready(pod));
    let mut endpoints = BTreeMap::<u16, BTreeSet<IpAddr>>::new();
    for (_, pod) in pods {
        let Some(address) = address(pod) else { continue };
        let active = active_ports(pod);
        let is_active = |port: &&u16| active.as_ref().is_none_or(|active| active.contains(port));
        for port in ports.iter().filter(is_active) {
            endpoints.entry(*port).or_default().insert(address);
        }
    }
    let texts = |addresses: &BTreeSet<IpAddr>| addresses.iter().map(ToString::to_string).collect();
    endpoints
        .iter()
        .map(|(port, addresses)| (*port, texts(addresses)))
        .collect()
}

/// The ports at which a pod says that it takes requests, as far as they are ports; `None` if it says nothing.
fn active_ports(pod: &Pod) -> Option<Vec<u16>> {
    let annotations = pod.metadata.annotations.as_ref()?;
    let written = ACTIVE_PORTS.iter().find_map(|name| annotations.get(*name))?;
    let ports = written.split(',').map(str::trim);
    Some(ports.filter_map(|port| port.parse().ok()).collect())
}

/// Whether a pod has all labels of the selector; one without labels selects all pods, as in Kubernetes.
fn selects(selector: &LabelSelector, pod: &Pod) -> bool {
    let mut wanted = selector.match_labels.iter().flatten();
    let labels = pod.metadata.labels.as_ref();
    wanted.all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
}

/// Whether a pod takes requests: it says that it is ready, and neither is being deleted nor has ended.
///
/// See <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions>.
fn is_ready(pod: &Pod) -> bool {
    let Some(status) = &pod.status else {
        return false;
    };
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
        && pod.metadata.deletion_timestamp.is_none()
        && !matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// The address that pickers know a pod by: its first, of whichever family.
fn address(pod: &Pod) -> Option<IpAddr> {
    let status = pod.status.as_ref()?;
    let first = || status.pod_ips.as_ref()?.first().map(|address| &address.ip);
    status.pod_ip.as_ref().or_else(first)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::example::snapshot;

    const POOL: &str = "
        kind: InferencePool
        metadata: {namespace: models, name: llama}
        spec: {selector: {matchLabels: {app: llama, tier: gpu}}, targetPorts: [{number: 8000}]}";

    /// A pod with these fields of its status, and further metadata.
    fn pod(name: &str, metadata: &str, status: &str) -> String {
        format!(
            "{{kind: Pod, metadata: {{namespace: models, name: {name}, {metadata}}}, status: {{{status}}}}}"
        )
    }

    const LABELS: &str = "labels: {app: llama, tier: gpu, extra: more}";
    const READY: &str = "conditions: [{type: Ready, status: 'True'}]";

    fn endpoints_of(pods: &[String], ports: &[u16]) -> BTreeMap<u16, Vec<String>> {
        let documents: Vec<&str> = [POOL]
            .into_iter()
            .chain(pods.iter().map(String::as_str))
            .collect();
        endpoints(&snapshot(&documents), &ObjectKey::new("models", "llama"), ports)
    }

    #[test]
    fn every_port_of_every_ready_pod_is_an_endpoint() {
        let pods = [
            pod("b", LABELS, &format!("podIP: 198.18.0.2, {READY}")),
            pod(
                "a",
                LABELS,
                &format!("podIP: 198.18.0.1, phase: Running, {READY}"),
            ),
            pod(
                "six",
                LABELS,
                &format!("podIPs: [{{ip: '2001:db8::1'}}], {READY}"),
            ),
        ];
        let addresses = ["198.18.0.1", "198.18.0.2", "2001:db8::1"]
            .map(str::to_owned)
            .to_vec();
        assert_eq!(
            endpoints_of(&pods, &[8000, 8001]),
            BTreeMap::from([(8000, addresses.clone()), (8001, addresses)])
        );
    }

    #[test]
    fn a_pod_says_which_of_the_ports_it_serves() {
        let endpoints_of = |annotations: &str| {
            let metadata = format!("{LABELS}, annotations: {{{annotations}}}");
            let pods = [pod("a", &metadata, &format!("podIP: 198.18.0.1, {READY}"))];
            let endpoints = endpoints_of(&pods, &[8000, 8001, 8002]);
            endpoints.into_keys().collect::<Vec<u16>>()
        };
        for (annotations, ports) in [
            ("note: '8000'", &[8000, 8001, 8002][..]),
            (
                "inference.networking.k8s.io/active-ports: '8002, 8000,9000'",
                &[8000, 8002],
            ),
            ("inference.networking.k8s.io/active-ports: 'none'", &[]),
            (
                "llm-d.ai/active-ports: '8001', inference.networking.k8s.io/active-ports: '8002'",
                &[8001],
            ),
        ] {
            assert_eq!(endpoints_of(annotations), ports, "{annotations}");
        }
    }

    #[test]
    fn pods_that_do_not_take_requests_are_left_out() {
        let ip = "podIP: 198.18.0.1";
        for (metadata, status) in [
            (LABELS, ip.to_owned()),
            (
                LABELS,
                format!("{ip}, conditions: [{{type: Ready, status: 'False'}}]"),
            ),
            (LABELS, format!("{ip}, phase: Failed, {READY}")),
            (LABELS, READY.to_owned()),
            (LABELS, format!("podIP: name.example, {READY}")),
            ("labels: {app: llama}", format!("{ip}, {READY}")),
            ("labels: {app: llama, tier: cpu}", format!("{ip}, {READY}")),
            (
                "labels: {app: llama, tier: gpu}, deletionTimestamp: '2026-11-22T00:00:00Z'",
                format!("{ip}, {READY}"),
            ),
        ] {
            let pods = [pod("a", metadata, &status)];
            assert_eq!(
                endpoints_of(&pods, &[8000]),
                BTreeMap::new(),
                "{metadata} {status}"
            );
        }
    }

    #[test]
    fn pods_of_other_namespaces_are_not_the_pools() {
        let elsewhere = pod("a", LABELS, &format!("podIP: 198.18.0.1, {READY}"))
            .replace("namespace: models", "namespace: other");
        assert_eq!(endpoints_of(&[elsewhere], &[8000]), BTreeMap::new());
    }
}
