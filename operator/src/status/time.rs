//! The clock that core has not.

use jiff::Timestamp;
use operator_core::outcome::Status;
use serde_json::Value;

/// A status as JSON, with the time wherever core has left the epoch for it.
pub(super) fn dated(status: &Status) -> Value {
    let mut status = serde_json::to_value(status).expect("statuses are plain data");
    put(&mut status, &now());
    status
}

/// The time as conditions have it, in whole seconds.
fn now() -> Value {
    let now = Timestamp::now();
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    now.to_string().into()
}

fn put(status: &mut Value, now: &Value) {
    match status {
        Value::Object(fields) => {
            for (name, value) in fields {
                let is_epoch =
                    value.as_str().and_then(|text| text.parse().ok()) == Some(Timestamp::UNIX_EPOCH);
                if name == "lastTransitionTime" && is_epoch {
                    value.clone_from(now);
                } else {
                    put(value, now);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| put(item, now)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_epoch_gives_way_to_the_time() {
        let mut status = json!({"parents": [{"conditions": [
            {"lastTransitionTime": "1970-01-01T00:00:00Z"},
            {"lastTransitionTime": "2026-11-22T00:00:00Z"},
        ]}]});
        put(&mut status, &"2027-01-01T00:00:00Z".into());
        assert_eq!(
            status,
            json!({"parents": [{"conditions": [
                {"lastTransitionTime": "2027-01-01T00:00:00Z"},
                {"lastTransitionTime": "2026-11-22T00:00:00Z"},
            ]}]})
        );
    }
}
