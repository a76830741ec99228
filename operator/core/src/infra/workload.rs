//! What has the pods of a gateway run: a Deployment or a `DaemonSet`, and what says how many there are.

use serde_json::{Value, json};

use super::{
    Provisioning,
    kind::{AUTOSCALER, DAEMON_SET, DEPLOYMENT, DISRUPTION_BUDGET},
    manifest::{Object, set},
    objects::Maker,
};
use crate::api::{NginxAutoscaling, NginxDisruptionBudget, NginxWorkload, NginxWorkloadKind};

/// The use of CPU that is aimed at where no target is named, in percent.
const TARGET_CPU_UTILIZATION: i32 = 80;

impl Maker<'_> {
    /// What has the pods run. A pod goes only when another one serves, but where both would need the same port of a
    /// node.
    pub(super) fn workload(&self, provisioning: &Provisioning) -> Object {
        let template = self.pod_template(provisioning);
        let takes_node_ports = takes_node_ports(&template);
        let rolling_update = |surge| {
            let (surge, unavailable) = if takes_node_ports {
                (json!(0), 1)
            } else {
                (surge, 0)
            };
            json!({
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge},
            })
        };
        let mut spec = json!({"selector": {"matchLabels": self.selector()}, "template": template});
        if *provisioning.workload.kind() == NginxWorkloadKind::DaemonSet {
            spec["updateStrategy"] = rolling_update(json!(1));
            return self.object(DAEMON_SET, json!({"spec": spec}));
        }
        spec["strategy"] = rolling_update(json!("25%"));
        // How many is for the autoscaler to say, or for whoever else scales it: at first there is one.
        set(&mut spec, "replicas", provisioning.workload.replicas.as_ref());
        self.object(DEPLOYMENT, json!({"spec": spec}))
    }

    /// What scales a Deployment; none if nobody asked for it.
    pub(super) fn autoscaler(&self, workload: &NginxWorkload) -> Option<Object> {
        let NginxAutoscaling {
            min_replicas,
            max_replicas,
            target_cpu_utilization_percentage,
            target_memory_utilization_percentage,
            metrics,
            behavior,
        } = &workload.autoscaling;
        let max_replicas = max_replicas.filter(|_| *workload.kind() == NginxWorkloadKind::Deployment)?;
        let utilization = |resource: &str, percent: i32| {
            let target = json!({"type": "Utilization", "averageUtilization": percent});
            json!({"type": "Resource", "resource": {"name": resource, "target": target}})
        };
        let cpu = target_cpu_utilization_percentage.map(|percent| utilization("cpu", percent));
        let memory = target_memory_utilization_percentage.map(|percent| utilization("memory", percent));
        let further = metrics.iter().flatten().map(|metric| json!(metric));
        let mut targets: Vec<Value> = cpu.into_iter().chain(memory).chain(further).collect();
        if targets.is_empty() {
            targets.push(utilization("cpu", TARGET_CPU_UTILIZATION));
        }
        let mut spec = json!({
            "scaleTargetRef": {
                "apiVersion": DEPLOYMENT.api_version(),
                "kind": DEPLOYMENT.kind,
                "name": self.name(),
            },
            "minReplicas": min_replicas.unwrap_or(1),
            "maxReplicas": max_replicas,
            "metrics": targets,
        });
        set(&mut spec, "behavior", behavior.as_ref());
        Some(self.object(AUTOSCALER, json!({"spec": spec})))
    }

    /// How many pods may be taken away at once.
    pub(super) fn disruption_budget(&self, workload: &NginxWorkload) -> Object {
        let mut spec = json!({"selector": {"matchLabels": self.selector()}});
        match &workload.disruption_budget {
            Some(NginxDisruptionBudget {
                min_available,
                max_unavailable,
            }) => {
                set(&mut spec, "minAvailable", min_available.as_ref());
                set(&mut spec, "maxUnavailable", max_unavailable.as_ref());
            }
            None => spec["maxUnavailable"] = json!(1),
        }
        self.object(DISRUPTION_BUDGET, json!({"spec": spec}))
    }
}

/// Whether no two pods of a template can be on one node, as they take ports of it.
fn takes_node_ports(template: &Value) -> bool {
    let spec = &template["spec"];
    let containers = spec["containers"].as_array().into_iter().flatten();
    let mut ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    spec["hostNetwork"] == true || ports.any(|port| port["hostPort"].is_number())
}
