//! What a status of any kind complains about.

use std::fmt;

use serde_json::Value;

/// A condition that says that something is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Complaint {
    /// Which part of the object it is about, such as `listener https` or `parent edge`; empty for all of it.
    pub about: String,
    /// Type of the condition.
    pub condition: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// Conditions that are bad when they are true; all others are bad when they are not.
const BAD_IF_TRUE: [&str; 3] = ["Conflicted", "OverlappingTLSConfig", "PartiallyInvalid"];

/// Conditions that say what a user asked for, and are neither good nor bad.
const NEITHER: [&str; 1] = ["InsecureFrontendValidationMode"];

/// Reasons of conditions that come and go by themselves.
const TRANSIENT: [&str; 2] = ["Pending", "AddressNotAssigned"];

impl Complaint {
    /// Whether it is only a matter of time: every gateway starts without an address and without agents.
    pub(super) fn is_transient(&self) -> bool {
        TRANSIENT.contains(&self.reason.as_str())
    }
}

/// Everything that a status complains about, in its order.
#[must_use]
pub fn complaints(status: &Value) -> Vec<Complaint> {
    let parts = ["listeners", "parents", "ancestors"]
        .into_iter()
        .flat_map(|field| {
            let parts = status[field].as_array().into_iter().flatten();
            parts.map(move |part| (about(field, part), part))
        });
    [(String::new(), status)]
        .into_iter()
        .chain(parts)
        .flat_map(|(about, part)| of_part(&about, part))
        .collect()
}

fn of_part(about: &str, part: &Value) -> Vec<Complaint> {
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let conditions = part["conditions"].as_array().into_iter().flatten();
    conditions
        .map(|condition| Complaint {
            about: about.to_owned(),
            condition: text(condition, "type"),
            status: text(condition, "status"),
            reason: text(condition, "reason"),
            message: text(condition, "message"),
        })
        .filter(|complaint| !NEITHER.contains(&complaint.condition.as_str()))
        .filter(|complaint| {
            let good = if BAD_IF_TRUE.contains(&complaint.condition.as_str()) {
                "False"
            } else {
                "True"
            };
            complaint.status != good
        })
        .collect()
}

fn about(field: &str, part: &Value) -> String {
    if field == "listeners" {
        return format!("listener {}", part["name"].as_str().unwrap_or_default());
    }
    let reference = &part[if field == "parents" {
        "parentRef"
    } else {
        "ancestorRef"
    }];
    let names = ["namespace", "name", "sectionName"]
        .into_iter()
        .filter_map(|name| reference[name].as_str());
    let number = reference["port"]
        .as_u64()
        .map(|port| format!(" port {port}"))
        .unwrap_or_default();
    format!("parent {}{number}", names.collect::<Vec<_>>().join("/"))
}

impl fmt::Display for Complaint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            about,
            condition,
            status,
            reason,
            message,
        } = self;
        if !about.is_empty() {
            write!(formatter, "{about}: ")?;
        }
        // A message of several lines, as NGINX may have, is still one line here.
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(formatter, "{condition}={status} reason {reason}: {message}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn complaints_say_what_they_are_about() {
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "Why", "message": "a\nb"});
        let status = json!({
            "conditions": [condition("Accepted", "True"), condition("Programmed", "False")],
            "listeners": [{"name": "https", "conditions": [condition("Conflicted", "True"), condition("ResolvedRefs", "True")]}],
            "parents": [{"parentRef": {"name": "edge", "sectionName": "http"}, "conditions": [condition("ResolvedRefs", "Unknown")]}],
        });
        let lines = complaints(&status)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        assert_eq!(
            lines,
            [
                "Programmed=False reason Why: a b",
                "listener https: Conflicted=True reason Why: a b",
                "parent edge/http: ResolvedRefs=Unknown reason Why: a b",
            ]
        );
    }

    #[test]
    fn negative_conditions_that_are_false_are_no_complaints() {
        let status = json!({"conditions": [{"type": "Conflicted", "status": "False", "reason": "NoConflicts", "message": ""}]});
        assert_eq!(complaints(&status), []);
    }
}
