//! `DaemonSet`s that have fewer pods than they are to have.
//!
//! Where the API server refuses the pods of a Deployment, be it for want of quota or by a policy, the Deployment says why.
//! A `DaemonSet` only counts; why is in Events alone, which the operator may not read and need not for this.

use std::{collections::BTreeMap, future::pending, time::Duration};

use operator_core::object::ObjectKey;
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// How long pods may be missing that are about to be made.
const PATIENCE: Duration = Duration::from_secs(10);

/// Since when `DaemonSet`s lack pods, by their owners.
#[derive(Debug, Default)]
pub(super) struct Shortfalls(BTreeMap<ObjectKey, Instant>);

impl Shortfalls {
    /// Why an owner's `DaemonSet` lacks pods, without a full stop; `None` if there is none, or it has all, or may have
    /// them in a moment.
    pub(super) fn note(&mut self, owner: &ObjectKey, daemon_set: Option<&Value>) -> Option<String> {
        let Some(shortfall) = daemon_set.and_then(shortfall) else {
            self.0.remove(owner);
            return None;
        };
        let since = self.0.entry(owner.clone()).or_insert_with(Instant::now);
        (since.elapsed() >= PATIENCE).then_some(shortfall)
    }

    /// Ends when it is time to look at those again that lack pods.
    pub(super) async fn due(&self) {
        if self.0.is_empty() {
            pending::<()>().await;
        }
        sleep(PATIENCE).await;
    }
}

/// How many pods a `DaemonSet` lacks, and where it is told why; `None` if it has all, or nobody has counted yet.
///
/// See <https://kubernetes.io/docs/reference/kubernetes-api/apps/daemon-set-v1/#DaemonSetStatus>.
fn shortfall(daemon_set: &Value) -> Option<String> {
    let (status, metadata) = (&daemon_set["status"], &daemon_set["metadata"]);
    if status["observedGeneration"] != metadata["generation"] {
        return None;
    }
    let wanted = status["desiredNumberScheduled"].as_u64()?;
    if wanted == 0 {
        let placement = "spec.pod.nodeSelector, affinity and tolerations of the NginxFleet";
        return Some(format!("no node is one that {placement} admit"));
    }
    let missing = wanted.saturating_sub(status["currentNumberScheduled"].as_u64()?);
    let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text("namespace"), text("name"));
    (missing > 0).then(|| {
        format!(
            "{missing} of {wanted} nodes have none; kubectl describe daemonset {name} --namespace {namespace} says why"
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::time::timeout;

    use super::*;

    fn daemon_set(wanted: u32, there: u32) -> Value {
        json!({
            "metadata": {"namespace": "default", "name": "flotilla-edge", "generation": 2},
            "status": {
                "observedGeneration": 2, "desiredNumberScheduled": wanted, "currentNumberScheduled": there,
            },
        })
    }

    #[tokio::test(start_paused = true)]
    async fn pods_that_stay_away_are_told_and_those_that_come_are_not() {
        let edge = ObjectKey::new("default", "edge");
        let mut shortfalls = Shortfalls::default();
        let lacking = daemon_set(3, 1);
        assert_eq!(shortfalls.note(&edge, Some(&lacking)), None);
        assert_eq!(shortfalls.note(&edge, Some(&daemon_set(3, 3))), None);
        let nothing = timeout(PATIENCE * 2, shortfalls.due()).await;
        assert!(nothing.is_err(), "nothing is lacking");

        assert_eq!(shortfalls.note(&edge, Some(&lacking)), None);
        shortfalls.due().await;
        let expected =
            "2 of 3 nodes have none; kubectl describe daemonset flotilla-edge --namespace default says why";
        assert_eq!(shortfalls.note(&edge, Some(&lacking)).as_deref(), Some(expected));
        assert_eq!(shortfalls.note(&edge, None), None);
    }

    #[test]
    fn a_daemon_set_that_fits_no_node_says_so() {
        let expected =
            "no node is one that spec.pod.nodeSelector, affinity and tolerations of the NginxFleet admit";
        assert_eq!(shortfall(&daemon_set(0, 0)).as_deref(), Some(expected));
    }

    #[test]
    fn a_daemon_set_that_nobody_has_counted_lacks_nothing() {
        let mut fresh = daemon_set(0, 0);
        fresh["status"]["observedGeneration"] = json!(1);
        assert_eq!(shortfall(&fresh), None);
        fresh["status"] = json!({});
        assert_eq!(shortfall(&fresh), None);
    }
}
