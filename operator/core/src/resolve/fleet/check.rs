//! Fields of an `NginxFleet` that are read, with a note of each that is wrong.

use std::time::Duration;

use crate::api;

/// Reads fields of a part of the specification and notes which are wrong.
pub(super) struct Check {
    part: &'static str,
    /// What is wrong, each with its field.
    pub(super) problems: Vec<String>,
}

impl Check {
    /// Reads that part, such as `nginx`.
    pub(super) fn of(part: &'static str) -> Self {
        Self {
            part,
            problems: Vec::new(),
        }
    }

    /// A time that has to pass for something to end.
    pub(super) fn positive_duration(
        &mut self,
        field: &str,
        timeout: Option<&api::Duration>,
    ) -> Option<Duration> {
        let remedy = "a duration above 0, such as 90s";
        self.field(field, timeout, remedy, |timeout| {
            timeout.length().filter(|length| !length.is_zero())
        })
    }

    /// What a field means; `None` if it is absent, and with a note if it is wrong.
    pub(super) fn field<T: serde::Serialize, U>(
        &mut self,
        field: &str,
        value: Option<&T>,
        remedy: &str,
        read: impl FnOnce(&T) -> Option<U>,
    ) -> Option<U> {
        let value = value?;
        let meaning = read(value);
        if meaning.is_none() {
            let value = serde_json::to_string(value).unwrap_or_default();
            self.problems.push(format!(
                "spec.{}.{field} is {value}; it can be {remedy}",
                self.part
            ));
        }
        meaning
    }
}
