//! Changes to the headers of requests and responses.

use std::collections::BTreeMap;

use super::{
    limit,
    mistake::{Mistake, quoted},
    name::header_name,
};
use crate::{
    api::{HttpHeader, HttpHeaderFilter},
    config::HeaderChanges,
    syntax::HeaderName,
};

/// Headers that frame a message or belong to one connection: NGINX sets them itself, and a wrong one would let a
/// request be smuggled past it.
const FRAMING: [&str; 7] = [
    "connection",
    "content-length",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What becomes of one header field.
enum Change<'a> {
    Set(String),
    Add(&'a str),
    Remove,
}

/// What a filter does to headers, each name in one list only: `set` comes first, then `add`, then `remove`.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httpheaderfilter>.
pub(super) fn header_changes(filter: &HttpHeaderFilter) -> Result<HeaderChanges, Mistake> {
    let mut changes = BTreeMap::new();
    for (name, value) in first_of_each("set", &filter.set)? {
        changes.insert(name, Change::Set(value.to_owned()));
    }
    for (name, value) in first_of_each("add", &filter.add)? {
        let change = match changes.remove(&name) {
            Some(Change::Set(before)) => Change::Set(format!("{before},{value}")),
            _ => Change::Add(value),
        };
        changes.insert(name, change);
    }
    for (index, name) in filter.remove.iter().enumerate() {
        let name = changeable(name).map_err(|mistake| mistake.within(format_args!("remove[{index}]")))?;
        changes.insert(name, Change::Remove);
    }
    let mut sorted = HeaderChanges::default();
    for (name, change) in changes {
        match change {
            Change::Set(value) => sorted.set.push((name, value)),
            Change::Add(value) => sorted.add.push((name, vec![value.to_owned()])),
            Change::Remove => sorted.remove.push(name),
        }
    }
    limit::header_changes("add", &HeaderChanges::default(), &sorted)?;
    Ok(sorted)
}

/// Names and values of a list; of several with the same name the first counts.
fn first_of_each<'a>(
    field: &str,
    headers: &'a [HttpHeader],
) -> Result<BTreeMap<HeaderName, &'a str>, Mistake> {
    let mut first = BTreeMap::new();
    for (index, header) in headers.iter().enumerate() {
        let checked = changeable(&header.name).and_then(|name| Ok((name, value(&header.value)?)));
        let (name, value) = checked.map_err(|mistake| mistake.within(format_args!("{field}[{index}]")))?;
        first.entry(name).or_insert(value);
    }
    Ok(first)
}

fn changeable(name: &str) -> Result<HeaderName, Mistake> {
    let name = header_name(name)?;
    if FRAMING.contains(&name.as_str()) {
        return Err(Mistake::unsupported(
            "name",
            format!("{name} belongs to the connection and cannot be changed"),
        ));
    }
    Ok(name)
}

fn value(value: &str) -> Result<&str, Mistake> {
    if value.contains(|char: char| char.is_control() && char != '\t') {
        let problem = format!("{} holds control characters, which no header can", quoted(value));
        return Err(Mistake::unsupported("value", problem));
    }
    limit::text("value", value)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(yaml: &str) -> Result<HeaderChanges, String> {
        let filter: HttpHeaderFilter = serde_saphyr::from_str(yaml).expect("a filter decodes");
        header_changes(&filter).map_err(|mistake| mistake.to_string())
    }

    fn name(name: &str) -> HeaderName {
        HeaderName::new(name).expect("a valid name")
    }

    #[test]
    fn the_first_of_equal_names_counts() {
        let changes =
            changes("{add: [{name: X-A, value: one}, {name: x-a, value: two}]}").expect("valid changes");
        assert_eq!(changes.add, [(name("x-a"), vec!["one".to_owned()])]);
    }

    #[test]
    fn a_header_that_is_set_and_added_has_both_values() {
        let changes =
            changes("{set: [{name: a, value: one}], add: [{name: A, value: two}]}").expect("valid changes");
        assert_eq!(
            changes,
            HeaderChanges {
                set: vec![(name("a"), "one,two".to_owned())],
                ..HeaderChanges::default()
            }
        );
    }

    #[test]
    fn a_header_that_is_set_and_removed_is_removed() {
        let changes = changes("{set: [{name: a, value: one}], remove: [A]}").expect("valid changes");
        assert_eq!(
            changes,
            HeaderChanges {
                remove: vec![name("a")],
                ..HeaderChanges::default()
            }
        );
    }

    #[test]
    fn headers_that_frame_the_message_are_not_changed() {
        let problem = changes("{remove: [x, Transfer-Encoding]}").expect_err("a refusal");
        assert_eq!(
            problem,
            "remove[1].name: transfer-encoding belongs to the connection and cannot be changed"
        );
    }

    #[test]
    fn a_value_with_a_line_break_is_refused() {
        let problem = changes(r#"{set: [{name: a, value: "x\r\nb: y"}]}"#).expect_err("a refusal");
        assert!(
            problem.starts_with(r#"set[0].value: "x\r\nb: y" holds control characters"#),
            "{problem}"
        );
    }

    #[test]
    fn a_value_longer_than_nginx_can_read_is_refused() {
        let long = "x".repeat(10_000);
        let problem = changes(&format!("{{add: [{{name: a, value: {long}}}]}}")).expect_err("a refusal");
        assert!(
            problem.starts_with("add[0].value: takes up to 10000 bytes"),
            "{problem}"
        );
    }
}
