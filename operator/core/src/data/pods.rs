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

/// Addresses of a pool's ready pods, by each of the ports, in order.
pub(super) fn endpoints(snapshot: &Snapshot, pool: &ObjectKey, ports: &[u16]) -> BTreeMap<u16, Vec<String>> {
    let Some(object) = snapshot.inference_pools.get(pool) else {
        return BTreeMap::new();
    };
    let pods = snapshot.pods.range(ObjectKey::new(&pool.namespace, "")..);
    let pods = pods.take_while(|(key, _)| key.namespace == pool.namespace);
    let addresses: BTreeSet<IpAddr> = pods
        .filter(|(_, pod)| selects(&object.spec.selector, pod) && is_ready(pod))
        .filter_map(|(_, pod)| address(pod))
        .collect();
    if addresses.is_empty() {
        return BTreeMap::new();
    }
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    ports.iter().map(|port| (*port, addresses.clone())).collect()
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
