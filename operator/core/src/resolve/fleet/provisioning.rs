//! The part of `NginxFleet`s that says how pods and Services run, checked.

use k8s_openapi::{
    api::core::v1::{ResourceRequirements, Service},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::{
    api::{
        NginxAutoscaling, NginxContainer, NginxDisruptionBudget, NginxDrain, NginxFleetSpec, NginxIpFamily,
        NginxIpFamilyPolicy, NginxPod, NginxService, NginxServiceType, NginxTrafficPolicy, NginxWorkload,
        NginxWorkloadKind,
    },
    infra::{Provisioning, container_patch_problems},
    resolve::pod::{self, image_pull_policy_problem, unknown},
};

/// How gateways run with these settings, which are all that apply to them; what is wrong with them as a whole otherwise.
pub(super) fn provisioning(spec: &NginxFleetSpec) -> Result<Provisioning, String> {
    match autoscaling_problem(&spec.workload.autoscaling) {
        Some(problem) => Err(problem),
        None => Ok(Provisioning {
            workload: spec.workload.clone(),
            pod: spec.pod.clone(),
            container: spec.container.clone(),
            service: spec.service.clone(),
            network_policy: spec.network_policy.clone(),
        }),
    }
}

/// What is wrong with one `NginxFleet` by itself, each with its field; the API server sees to most of it already.
pub(super) fn problems(spec: &NginxFleetSpec) -> Vec<String> {
    let mut problems = Vec::new();
    problems.extend(workload_problems(&spec.workload));
    problems.extend(pod_problems(&spec.pod));
    problems.extend(container_problems(&spec.container));
    problems.extend(service_problems(&spec.service));
    problems
}

/// As many worker processes as a limit of CPU is worth, rounded up: more would only wait for each other. `None` without
/// a limit.
pub(super) fn worker_processes(container: &NginxContainer) -> Option<i32> {
    let ResourceRequirements { limits, .. } = container.resources.as_ref()?;
    let millis = milli_cpus(limits.as_ref()?.get("cpu")?)?;
    i32::try_from(millis.div_ceil(1000))
        .ok()
        .map(|cpus| cpus.clamp(1, 1024))
}

/// Whether NGINX listens on IPv6 too: as it says, and by default where its Service has such an address; as long as there
/// is no Service, where it may get one.
///
/// The Service knows best: without a word in the settings it has what the cluster has, and `PreferDualStack` may have come
/// to nothing, on nodes where listening would fail.
pub(super) fn listens_on_ipv6(spec: &NginxFleetSpec, service: Option<&Service>) -> bool {
    let families = service.and_then(|service| service.spec.as_ref()?.ip_families.as_ref());
    let has_ipv6 = || match families {
        Some(families) => families.iter().any(|family| family == "IPv6"),
        None => spec.service.may_have_ipv6(),
    };
    spec.nginx.ipv6.unwrap_or_else(has_ipv6)
}

/// Thousandths of a CPU, written as a number, with a fraction, or with the suffix for thousandths; `None` for what
/// nobody writes of CPUs.
///
/// See <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#meaning-of-cpu>.
fn milli_cpus(quantity: &Quantity) -> Option<u64> {
    if let Some(millis) = quantity.0.strip_suffix('m') {
        return millis.parse().ok();
    }
    let (whole, fraction) = quantity.0.split_once('.').unwrap_or((&quantity.0, ""));
    let fraction = format!("{fraction:0<3}");
    let fraction: u64 = fraction.get(..3)?.parse().ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(fraction)
}

fn autoscaling_problem(autoscaling: &NginxAutoscaling) -> Option<String> {
    let min = autoscaling.min_replicas.unwrap_or(1);
    match autoscaling.max_replicas {
        None if !autoscaling.is_default() => Some(
            "spec.workload.autoscaling has no maxReplicas in any NginxFleet of the Gateway; it is required"
                .to_owned(),
        ),
        Some(max) if min > max => Some(format!(
            "spec.workload.autoscaling has minReplicas {min} above maxReplicas {max}"
        )),
        _ => None,
    }
}

fn workload_problems(workload: &NginxWorkload) -> Vec<String> {
    let kind = workload.kind.as_ref();
    let kind = unknown("spec.workload.kind", kind, NginxWorkloadKind::KNOWN, |kind| {
        matches!(kind, NginxWorkloadKind::Unknown(_))
    });
    let replicas = workload.replicas.filter(|replicas| *replicas < 0);
    let replicas = replicas
        .map(|replicas| format!("spec.workload.replicas is {replicas}; it can be a number from 0 to 10000"));
    let budget = workload.disruption_budget.as_ref();
    let budget = budget.filter(|budget| {
        let NginxDisruptionBudget {
            min_available,
            max_unavailable,
        } = budget;
        min_available.is_some() == max_unavailable.is_some()
    });
    let budget = budget.map(|_| {
        "spec.workload.disruptionBudget needs either minAvailable or maxUnavailable, and not both".to_owned()
    });
    [kind, replicas, budget].into_iter().flatten().collect()
}

fn pod_problems(pod: &NginxPod) -> Vec<String> {
    let NginxDrain { delay, timeout } = &pod.drain;
    let lengths = [("delay", delay), ("timeout", timeout)];
    let wrong = lengths.into_iter().filter_map(|(field, length)| {
        let written = length.as_ref().filter(|length| length.length().is_none())?;
        Some(format!(
            "spec.pod.drain.{field} is {written:?}; it can be a duration, such as 90s",
            written = written.0
        ))
    });
    wrong
        .chain(pod::problems("spec.pod", pod.pod_settings()))
        .collect()
}

fn container_problems(container: &NginxContainer) -> Vec<String> {
    let policy = container.image_pull_policy.as_ref();
    let policy = image_pull_policy_problem("spec.container.imagePullPolicy", policy);
    let patch = container.patch.iter().flat_map(container_patch_problems);
    policy
        .into_iter()
        .chain(patch.map(|problem| format!("spec.container.patch{problem}")))
        .collect()
}

fn service_problems(service: &NginxService) -> Vec<String> {
    let type_ = unknown(
        "spec.service.type",
        service.type_.as_ref(),
        NginxServiceType::KNOWN,
        |type_| matches!(type_, NginxServiceType::Unknown(_)),
    );
    let traffic = unknown(
        "spec.service.externalTrafficPolicy",
        service.external_traffic_policy.as_ref(),
        NginxTrafficPolicy::KNOWN,
        |policy| matches!(policy, NginxTrafficPolicy::Unknown(_)),
    );
    let policy = unknown(
        "spec.service.ipFamilyPolicy",
        service.ip_family_policy.as_ref(),
        NginxIpFamilyPolicy::KNOWN,
        |policy| matches!(policy, NginxIpFamilyPolicy::Unknown(_)),
    );
    let families = service.ip_families.iter().flatten();
    let families = families.filter_map(|family| {
        unknown(
            "spec.service.ipFamilies",
            Some(family),
            NginxIpFamily::KNOWN,
            |family| matches!(family, NginxIpFamily::Unknown(_)),
        )
    });
    [type_, traffic, policy]
        .into_iter()
        .flatten()
        .chain(families)
        .collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ServiceSpec;

    use super::*;

    fn spec(yaml: &str) -> NginxFleetSpec {
        serde_saphyr::from_str(yaml).expect("the settings of an NginxFleet")
    }

    #[test]
    fn there_are_as_many_workers_as_the_limit_of_cpu_is_worth() {
        for (limit, workers) in [
            ("1", Some(1)),
            ("'2'", Some(2)),
            ("250m", Some(1)),
            ("2500m", Some(3)),
            ("1.5", Some(2)),
            ("4.0", Some(4)),
            ("many", None),
        ] {
            let spec = spec(&format!(
                "{{container: {{resources: {{limits: {{cpu: {limit}}}}}}}}}"
            ));
            assert_eq!(worker_processes(&spec.container), workers, "{limit}");
        }
        let spec = spec("{container: {resources: {requests: {cpu: 2}}}}");
        assert_eq!(worker_processes(&spec.container), None);
    }

    #[test]
    fn nginx_listens_on_ipv6_where_its_service_may_have_such_an_address() {
        for (yaml, listens) in [
            ("{}", false),
            ("{service: {ipFamilies: [IPv4]}}", false),
            ("{service: {ipFamilies: [IPv6]}}", true),
            ("{service: {ipFamilyPolicy: PreferDualStack}}", true),
            (
                "{service: {ipFamilyPolicy: PreferDualStack}, nginx: {ipv6: false}}",
                false,
            ),
            ("{nginx: {ipv6: true}}", true),
        ] {
            assert_eq!(listens_on_ipv6(&spec(yaml), None), listens, "{yaml}");
        }
    }

    #[test]
    fn nginx_listens_on_ipv6_where_its_service_has_such_an_address_and_not_elsewhere() {
        let service = |families: &[&str]| Service {
            spec: Some(ServiceSpec {
                ip_families: Some(families.iter().map(ToString::to_string).collect()),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        };
        for (yaml, families, listens) in [
            ("{}", &["IPv6"][..], true),
            ("{}", &["IPv4"], false),
            ("{service: {ipFamilyPolicy: PreferDualStack}}", &["IPv4"], false),
            (
                "{service: {ipFamilyPolicy: PreferDualStack}}",
                &["IPv4", "IPv6"],
                true,
            ),
            ("{nginx: {ipv6: false}}", &["IPv6"], false),
            ("{nginx: {ipv6: true}}", &["IPv4"], true),
        ] {
            let service = service(families);
            assert_eq!(
                listens_on_ipv6(&spec(yaml), Some(&service)),
                listens,
                "{yaml} {families:?}"
            );
        }
    }

    #[test]
    fn wrong_values_are_named_with_field_and_remedy() {
        for (yaml, problem) in [
            (
                "{workload: {kind: StatefulSet}}",
                r#"spec.workload.kind is "StatefulSet"; it can be one of Deployment, DaemonSet"#,
            ),
            (
                "{workload: {replicas: -1}}",
                "spec.workload.replicas is -1; it can be a number from 0 to 10000",
            ),
            (
                "{workload: {disruptionBudget: {}}}",
                "spec.workload.disruptionBudget needs either minAvailable or maxUnavailable, and not both",
            ),
            (
                "{pod: {drain: {timeout: 1 minute}}}",
                r#"spec.pod.drain.timeout is "1 minute"; it can be a duration, such as 90s"#,
            ),
            (
                "{pod: {patch: {spec: {container: []}}}}",
                "spec.pod.patch.spec.container is no field of a pod template",
            ),
            (
                "{container: {patch: {env: [{name: A, value: 1}]}}}",
                "spec.container.patch.env[0].value: invalid type: integer `1`, expected a string",
            ),
            (
                "{service: {ipFamilies: [IPv5]}}",
                r#"spec.service.ipFamilies is "IPv5"; it can be one of IPv4, IPv6"#,
            ),
        ] {
            assert_eq!(problems(&spec(yaml)), [problem], "{yaml}");
        }
    }

    #[test]
    fn autoscaling_needs_to_know_the_most_pods_once_everything_is_merged() {
        let fewest = spec("{workload: {autoscaling: {minReplicas: 3}}}");
        assert_eq!(problems(&fewest), [""; 0]);
        let message =
            "spec.workload.autoscaling has no maxReplicas in any NginxFleet of the Gateway; it is required";
        assert_eq!(provisioning(&fewest), Err(message.to_owned()));
        let most = spec("{workload: {autoscaling: {maxReplicas: 2}}}");
        assert_eq!(
            provisioning(&fewest.or(most)),
            Err("spec.workload.autoscaling has minReplicas 3 above maxReplicas 2".to_owned())
        );
    }
}
