//! Kubernetes Events: what somebody must act on, told once beside the object that it is about.

use std::collections::{BTreeMap, BTreeSet};

use kube::{
    Client, Resource as _,
    api::{ApiResource, DynamicObject},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::Value;

use super::conditions::{Complaint, complaints};
use crate::{refusal::is_of_terminating_namespace, source::ObjectId};

/// Most bytes of a note that the API server takes.
const LONGEST_NOTE: usize = 1024;

/// Most objects of which it is known what was told of them. Some are gone, which nobody says; beyond this all is forgotten,
/// and what holds still may be told once more.
const MOST_TOLD: usize = 10_000;

/// Tells of every object what its status did not complain about before.
pub(super) struct Announcer {
    recorder: Recorder,
    /// What was told of each object and holds still.
    told: BTreeMap<ObjectId, BTreeSet<Complaint>>,
}

impl Announcer {
    /// One that signs as this controller, and as this replica of it.
    pub(super) fn new(client: &Client, controller: &str, instance: &str) -> Self {
        let reporter = Reporter {
            controller: controller.to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            told: BTreeMap::new(),
        }
    }

    /// Tells what is new in the status that was just written to an object.
    ///
    /// An Event that cannot be written is only logged: the condition says the same and stays.
    pub(super) async fn announce(&mut self, id: &ObjectId, resource: &ApiResource, object: &DynamicObject) {
        let complaints = worth_telling(&object.data["status"]);
        let told = self.told.remove(id).unwrap_or_default();
        let reference = object.object_ref(resource);
        for complaint in complaints.difference(&told) {
            match self.recorder.publish(&event(complaint), &reference).await {
                Ok(()) => {}
                Err(error) if is_of_terminating_namespace(&error) => {
                    tracing::debug!(object = %id, %error, "no Event is written any more");
                }
                Err(error) => tracing::warn!(object = %id, %error, "cannot write an Event"),
            }
        }
        if self.told.len() >= MOST_TOLD {
            self.forget();
        }
        if !complaints.is_empty() {
            self.told.insert(id.clone(), complaints);
        }
    }

    /// Forgets what was told: the next leader tells it from then on.
    pub(super) fn forget(&mut self) {
        self.told.clear();
    }
}

/// What a status complains about and does not pass by itself, each message once.
fn worth_telling(status: &Value) -> BTreeSet<Complaint> {
    let mut messages = BTreeSet::new();
    complaints(status)
        .into_iter()
        .filter(|complaint| complaint.status != "Unknown" && !complaint.is_transient())
        .filter(|complaint| messages.insert(complaint.message.clone()))
        .collect()
}

fn event(complaint: &Complaint) -> Event {
    let mut note = complaint.to_string();
    note.truncate(note.floor_char_boundary(LONGEST_NOTE));
    Event {
        type_: EventType::Warning,
        reason: complaint.reason.clone(),
        note: Some(note),
        action: "Reconcile".to_owned(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use operator_core::object::ObjectKey;
    use parking_lot::Mutex;
    use serde_json::json;

    use super::*;
    use crate::mock;

    fn route(conditions: &[(&str, &str, &str)]) -> DynamicObject {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(kind, reason, message)| {
                json!({"type": kind, "status": "False", "reason": reason, "message": message})
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"namespace": "default", "name": "shop", "uid": "1f2e"},
            "status": {"parents": [{"parentRef": {"name": "edge"}, "conditions": conditions}]},
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_complaint_is_told_once_and_again_when_it_comes_back() {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let client = mock::client({
            let notes = notes.clone();
            move |asked| {
                notes.lock().push(asked.body["note"].as_str()?.to_owned());
                assert_eq!(asked.path, "/apis/events.k8s.io/v1/namespaces/default/events");
                assert_eq!(asked.body["regarding"]["uid"], "1f2e");
                Some((201, asked.body))
            }
        });
        let mut announcer = Announcer::new(&client, "flotilla.dev/gateway-controller", "flotilla-0");
        let id = ObjectId {
            kind: "HTTPRoute",
            key: ObjectKey::new("default", "shop"),
        };
        let resource = ApiResource::erase::<operator_core::api::HttpRoute>(&());
        let lost = ("ResolvedRefs", "BackendNotFound", "Service blog is missing.");
        let refused = ("Accepted", "NoMatchingParent", "No listener.");
        let expected = |about: &str| format!("parent edge: {about}");
        for (conditions, told) in [
            (
                vec![lost],
                vec!["ResolvedRefs=False reason BackendNotFound: Service blog is missing."],
            ),
            (vec![lost], vec![]),
            (
                vec![lost, refused],
                vec!["Accepted=False reason NoMatchingParent: No listener."],
            ),
            (vec![], vec![]),
        ] {
            announcer.announce(&id, &resource, &route(&conditions)).await;
            let told: Vec<String> = told.into_iter().map(expected).collect();
            assert_eq!(std::mem::take(&mut *notes.lock()), told, "{conditions:?}");
        }
    }

    #[test]
    fn what_passes_by_itself_is_not_told() {
        let status = json!({"conditions": [
            {"type": "Programmed", "status": "False", "reason": "Pending", "message": "0 of 1 pods serve it."},
            {"type": "Accepted", "status": "Unknown", "reason": "Odd", "message": "Who knows."},
            {"type": "Accepted", "status": "False", "reason": "Invalid", "message": "It is wrong."},
            {"type": "Programmed", "status": "False", "reason": "Invalid", "message": "It is wrong."},
        ]});
        let told: Vec<String> = worth_telling(&status).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["Accepted=False reason Invalid: It is wrong."]);
    }
}
