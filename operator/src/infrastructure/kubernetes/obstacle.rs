//! What keeps pods from serving, in the words of the cluster and with what can be done about it.
//!
//! Only what lasts is told: a pod on its way to serving needs nobody. The words stay the same as long as the obstacle does,
//! for a status is written whenever they change.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{
    ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod, PodStatus,
};
use serde_json::Value;

/// How often a container has ended before it is more than an accident, where nobody says that it is held back for it.
const AGAIN_AND_AGAIN: i32 = 3;

/// Reasons why a container waits that pass by themselves.
const ON_ITS_WAY: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// Reasons why a container waits that are about its image.
const IMAGE: [&str; 6] = [
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RegistryUnavailable",
];

/// What can be done about obstacles: the words for where that is set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remedies {
    /// The kind that has the settings.
    pub(super) kind: &'static str,
    /// What pods ask of nodes.
    pub(super) placement: &'static str,
    /// Which image it is, and with which credentials it is had.
    pub(super) image: &'static str,
    /// How much memory containers may use.
    pub(super) memory: &'static str,
    /// What containers are started with; `None` if users do not say that.
    pub(super) start: Option<&'static str>,
}

/// What keeps a pod from serving until somebody does something about it, said of the pod by a verb and without a full
/// stop; `None` if it serves, or will by itself.
pub(super) fn obstacle(pod: &Pod, remedies: Remedies) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers = [&status.init_container_statuses, &status.container_statuses];
    let mut containers = containers.into_iter().flatten().flatten();
    of_scheduling(status, remedies)
        .or_else(|| containers.find_map(|container| of_container(container, remedies)))
}

/// Why a Deployment has fewer pods than there are to be, such as for want of quota, without a full stop; `None` if the API
/// server takes them.
pub(super) fn refusal_of_pods(workload: &Value) -> Option<String> {
    let conditions = workload["status"]["conditions"].as_array();
    let refused = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True")?;
    let message = refused["message"].as_str().unwrap_or_default();
    Some(message.trim_end_matches('.').to_owned())
}

fn of_scheduling(status: &PodStatus, remedies: Remedies) -> Option<String> {
    let mut conditions = status.conditions.iter().flatten();
    let unscheduled =
        conditions.find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    let message = unscheduled.message.as_deref().unwrap_or_default();
    // What follows is about preemption.
    let nodes = message.split(". ").next().unwrap_or_default();
    let nodes = nodes.trim_end_matches('.');
    let Remedies { kind, placement, .. } = remedies;
    Some(format!(
        "cannot be scheduled: {nodes}; add such a node, or have the {kind} ask for less ({placement})"
    ))
}

fn of_container(container: &ContainerStatus, remedies: Remedies) -> Option<String> {
    if container.ready {
        return None;
    }
    let state = container.state.as_ref()?;
    match &state.waiting {
        Some(ContainerStateWaiting { reason, message }) => {
            let reason = reason.as_deref().unwrap_or_default();
            let message = message.as_deref().unwrap_or_default();
            match reason {
                "CrashLoopBackOff" => of_crashes(container, remedies),
                _ if IMAGE.contains(&reason) => Some(of_image(&container.image, reason, message, remedies)),
                _ if reason.is_empty() || ON_ITS_WAY.contains(&reason) => None,
                _ => Some(format!(
                    "cannot start its container {}: {reason}: {message}",
                    container.name
                )),
            }
        }
        None if container.restart_count >= AGAIN_AND_AGAIN => of_crashes(container, remedies),
        None => None,
    }
}

/// The kubelet says by turns that it could not pull the image and that it waits before it tries again.
fn of_image(image: &str, reason: &str, message: &str, remedies: Remedies) -> String {
    let cause = message
        .rsplit_once("ErrImagePull: ")
        .map_or(message, |(_, cause)| cause);
    let cause = if cause.starts_with("Back-off") || cause.is_empty() {
        reason
    } else {
        cause
    };
    format!("cannot get its image {image}: {cause}; see {}", remedies.image)
}

fn of_crashes(container: &ContainerStatus, remedies: Remedies) -> Option<String> {
    let ContainerStateTerminated {
        exit_code,
        reason,
        message,
        ..
    } = container.last_state.as_ref()?.terminated.as_ref()?;
    let mut text = format!(
        "cannot stay up: its container {} ends again and again, last with exit code {exit_code}",
        container.name
    );
    // Writing to a string does not fail.
    let _ = match (reason.as_deref(), message.as_deref()) {
        (Some("OOMKilled"), _) => write!(
            text,
            " as it needs more memory than {} of the {} give it",
            remedies.memory, remedies.kind
        ),
        (_, Some(message)) => write!(text, ": {}", last_words(message)),
        (_, None) => write!(text, "; kubectl logs --previous says why"),
    };
    if let (Some(start), None | Some("Error")) = (remedies.start, reason.as_deref()) {
        let _ = write!(text, "; see {start} of the {}", remedies.kind);
    }
    Some(text)
}

/// What a program said last: the last line of it, or of a log in JSON what went wrong by that.
fn last_words(message: &str) -> String {
    let mut lines = message.lines().map(str::trim);
    let line = lines.rfind(|line| !line.is_empty()).unwrap_or_default();
    let entry: Value = serde_json::from_str(line).unwrap_or_default();
    match (entry["msg"].as_str(), entry["error"].as_str()) {
        (Some(message), Some(error)) => format!("{message}: {error}"),
        (Some(message), None) => message.to_owned(),
        (None, _) => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::infrastructure::kubernetes::family::{OF_GATEWAYS, OF_PICKERS};

    /// The obstacle of a pod with one container in this state, which has ended that often, the last time like this.
    fn of_state(state: &Value, restarts: u32, last: &Value) -> Option<String> {
        let status = json!({"containerStatuses": [{
            "name": "gateway", "image": "nginx:9", "imageID": "", "ready": false, "restartCount": restarts,
            "state": state, "lastState": last,
        }]});
        obstacle(&from_value(json!({"status": status})).unwrap(), OF_GATEWAYS)
    }

    fn waiting(reason: &str, message: &str) -> Value {
        json!({"waiting": {"reason": reason, "message": message}})
    }

    #[test]
    fn pods_that_will_serve_by_themselves_have_no_obstacle() {
        assert_eq!(obstacle(&Pod::default(), OF_GATEWAYS), None);
        for state in [
            waiting("ContainerCreating", ""),
            json!({"running": {}}),
            Value::Null,
        ] {
            assert_eq!(of_state(&state, 0, &Value::Null), None, "{state}");
        }
    }

    #[test]
    fn a_pod_that_no_node_takes_says_what_nodes_lack() {
        let message = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: \
                       0/1 nodes are available: 1 No preemption victims found for incoming pod.";
        let condition =
            json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
        let pod = from_value(json!({"status": {"conditions": [condition]}})).unwrap();
        let obstacle = obstacle(&pod, OF_GATEWAYS).unwrap();
        let expected = "cannot be scheduled: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu; add such a node, or ";
        assert!(obstacle.starts_with(expected), "{obstacle}");
    }

    #[test]
    fn an_image_that_cannot_be_had_is_told_in_the_same_words_while_it_is_tried_again() {
        let trying = of_state(&waiting("ErrImagePull", "nginx:9: not found"), 0, &Value::Null);
        let message = "Back-off pulling image \"nginx:9\": ErrImagePull: nginx:9: not found";
        assert_eq!(
            of_state(&waiting("ImagePullBackOff", message), 0, &Value::Null),
            trying
        );
        let text = trying.unwrap();
        assert!(
            text.starts_with("cannot get its image nginx:9: nginx:9: not found; see "),
            "{text}"
        );
        let older = of_state(
            &waiting("ImagePullBackOff", "Back-off pulling image \"nginx:9\""),
            0,
            &Value::Null,
        );
        assert!(older.unwrap().contains(": ImagePullBackOff; "));
    }

    #[test]
    fn a_container_that_ends_again_and_again_says_how_in_the_same_words_while_it_runs() {
        let last = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        let held_back = of_state(&waiting("CrashLoopBackOff", "back-off 40s restarting"), 3, &last);
        assert_eq!(of_state(&json!({"running": {}}), 3, &last), held_back);
        assert_eq!(
            held_back.unwrap(),
            "cannot stay up: its container gateway ends again and again, last with exit code 1; kubectl logs --previous says why"
        );
        assert_eq!(of_state(&json!({"running": {}}), 1, &last), None);
        let last = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let killed = of_state(&waiting("CrashLoopBackOff", ""), 1, &last).unwrap();
        assert!(
            killed.contains("needs more memory than spec.container.resources.limits"),
            "{killed}"
        );
    }

    #[test]
    fn a_picker_that_ends_at_its_start_is_told_in_its_own_words_and_where_they_come_from() {
        let log = "{\"level\":\"info\",\"msg\":\"Flags processed\"}\n\
                   {\"level\":\"error\",\"msg\":\"Failed to parse configuration\",\"error\":\"no plugin 'gone'\"}\n";
        let last = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": log}});
        let status = json!({"containerStatuses": [{
            "name": "picker", "image": "epp:1", "imageID": "", "ready": false, "restartCount": 2,
            "state": waiting("CrashLoopBackOff", ""), "lastState": last,
        }]});
        assert_eq!(
            obstacle(&from_value(json!({"status": status})).unwrap(), OF_PICKERS).unwrap(),
            "cannot stay up: its container picker ends again and again, last with exit code 1: Failed to parse \
             configuration: no plugin 'gone'; see spec.configuration and spec.extraArgs of the EndpointPicker"
        );
    }

    #[test]
    fn the_last_words_of_a_program_are_its_last_line_unless_that_is_empty() {
        assert_eq!(
            last_words("usage\nunknown flag: --poll\n\n"),
            "unknown flag: --poll"
        );
        assert_eq!(last_words("{\"msg\": \"cannot listen\"}"), "cannot listen");
        for odd in ["", "7", "{\"level\": \"info\"}"] {
            assert_eq!(last_words(odd), odd);
        }
    }

    #[test]
    fn whatever_else_keeps_a_container_from_starting_is_told_in_the_kubelets_words() {
        let state = waiting("CreateContainerConfigError", "secret \"tls\" not found");
        assert_eq!(
            of_state(&state, 0, &Value::Null).unwrap(),
            "cannot start its container gateway: CreateContainerConfigError: secret \"tls\" not found"
        );
    }

    #[test]
    fn pods_that_the_api_server_refuses_are_told_by_their_deployment() {
        let deployment = |status: &str| {
            let message = "pods \"edge-1\" is forbidden: exceeded quota: small";
            json!({"status": {"conditions": [{"type": "ReplicaFailure", "status": status, "message": message}]}})
        };
        let refusal = refusal_of_pods(&deployment("True"));
        assert_eq!(
            refusal.as_deref(),
            Some("pods \"edge-1\" is forbidden: exceeded quota: small")
        );
        assert_eq!(refusal_of_pods(&deployment("False")), None);
    }
}
