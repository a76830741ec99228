//! Conditions: how they are made, and merged with those that are stored.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use crate::{
    api::Condition,
    resolve::finding::{Finding, Reason},
};

/// A condition as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Such as `Accepted`.
    pub(super) type_: &'static str,
    /// Whether it is `True` or `False`; we always know.
    pub(super) status: bool,
    /// In the specification's spelling.
    pub(super) reason: &'static str,
    /// A sentence or several.
    pub(super) message: String,
}

impl Wanted {
    /// A condition that is `True`.
    pub(super) fn yes(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: true,
            reason,
            message: message.into(),
        }
    }

    /// A condition that is `False`.
    pub(super) fn no(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: false,
            ..Self::yes(type_, reason, message)
        }
    }

    /// A condition that is `False` for these findings, with the reason of the first and the messages of all; `None`
    /// if there are none.
    pub(super) fn refused<R: Reason>(type_: &'static str, findings: &[Finding<R>]) -> Option<Self> {
        let first = findings.first()?;
        let messages = findings.iter().map(|finding| finding.message.as_str());
        Some(Self::no(type_, first.reason.as_str(), sentences(messages)))
    }
}

/// Messages one after the other, each with a full stop.
pub(super) fn sentences<'a>(messages: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for message in messages {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(message);
        text.push('.');
    }
    text
}

/// Most bytes of a message that the API server takes.
const LONGEST_MESSAGE: usize = 32_768;

/// The stored conditions with ours as they should be.
///
/// Conditions whose types are not in `ours` stay as they are, whoever wrote them. One of ours keeps the time of its
/// last transition as long as its status is the same, and has the epoch otherwise; it is left alone if it was written
/// for a newer generation of the object than the one we saw.
#[must_use]
pub(super) fn merged(
    stored: &[Condition],
    mut wanted: Vec<Wanted>,
    ours: &[&str],
    generation: Option<i64>,
) -> Vec<Condition> {
    let mut conditions = Vec::with_capacity(stored.len().max(wanted.len()));
    for condition in stored {
        let position = wanted.iter().position(|wanted| wanted.type_ == condition.type_);
        let replacement = position.map(|position| wanted.remove(position));
        let newer = condition.observed_generation > generation && generation.is_some();
        match replacement {
            Some(_) if newer => conditions.push(condition.clone()),
            Some(wanted) => conditions.push(updated(wanted, Some(condition), generation)),
            None if ours.contains(&condition.type_.as_str()) => {}
            None => conditions.push(condition.clone()),
        }
    }
    conditions.extend(wanted.into_iter().map(|wanted| updated(wanted, None, generation)));
    conditions
}

fn updated(wanted: Wanted, stored: Option<&Condition>, generation: Option<i64>) -> Condition {
    let Wanted {
        type_,
        status,
        reason,
        mut message,
    } = wanted;
    let status = if status { "True" } else { "False" };
    let same = stored.filter(|stored| stored.status == status);
    message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: same.map_or(Time(Timestamp::UNIX_EPOCH), |stored| {
            stored.last_transition_time.clone()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(type_: &str, status: &str, observed_generation: i64) -> Condition {
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: "Old".to_owned(),
            message: "as it was".to_owned(),
            observed_generation: Some(observed_generation),
            last_transition_time: Time(Timestamp::MAX),
        }
    }

    const OURS: &[&str] = &["Accepted", "Conflicted"];

    fn accepted() -> Vec<Wanted> {
        vec![Wanted::yes("Accepted", "Accepted", "it is")]
    }

    #[test]
    fn conditions_of_others_stay_as_they_are() {
        let foreign = stored("example.com/Seen", "True", 1);
        let conditions = merged(std::slice::from_ref(&foreign), accepted(), OURS, Some(7));
        assert_eq!(conditions[0], foreign);
        assert_eq!(conditions[1].type_, "Accepted");
    }

    #[test]
    fn time_is_kept_while_the_status_is_the_same() {
        let conditions = merged(&[stored("Accepted", "True", 1)], accepted(), OURS, Some(2));
        assert_eq!(conditions[0].last_transition_time, Time(Timestamp::MAX));
        assert_eq!(conditions[0].reason, "Accepted");
        assert_eq!(conditions[0].observed_generation, Some(2));
    }

    #[test]
    fn time_is_the_epoch_where_the_status_changes() {
        let conditions = merged(&[stored("Accepted", "False", 1)], accepted(), OURS, Some(2));
        assert_eq!(conditions[0].last_transition_time, Time(Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn condition_of_ours_that_holds_no_more_is_removed() {
        let conditions = merged(&[stored("Conflicted", "True", 1)], accepted(), OURS, Some(2));
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].type_, "Accepted");
    }

    #[test]
    fn condition_for_a_newer_generation_is_left_alone() {
        let newer = stored("Accepted", "False", 3);
        let conditions = merged(std::slice::from_ref(&newer), accepted(), OURS, Some(2));
        assert_eq!(conditions, [newer]);
    }

    #[test]
    fn messages_are_cut_where_the_api_server_would_refuse_them() {
        let wanted = vec![Wanted::no("Accepted", "Invalid", "ü".repeat(20_000))];
        let conditions = merged(&[], wanted, OURS, None);
        assert_eq!(conditions[0].message.len(), LONGEST_MESSAGE);
    }
}
