//! What a picker may change of headers.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};

use super::message::{HeaderAppendAction, HeaderMutation, HeaderValueOption};

/// Carries out what the picker wants of some headers.
///
/// Pickers send every header that they were shown again, without saying what is to become of the one that is there. So
/// one replaces the other unless the picker asks for both, though Envoy's definition has it the other way round. Of a
/// header with several values they know the last alone; where they send that again, the others stay. What frames the
/// message stays ours.
pub(super) fn apply(mutation: HeaderMutation, headers: &mut HeaderMap) {
    for name in &mutation.remove_headers {
        if let Some(name) = changeable(name) {
            headers.remove(name);
        }
    }
    for option in mutation.set_headers {
        set(option, headers);
    }
}

/// Bytes that a mutation has, with as much for each header as the table of headers needs.
#[must_use]
pub(super) fn size(mutation: &HeaderMutation) -> usize {
    const PER_HEADER: usize = 32;
    let set = mutation
        .set_headers
        .iter()
        .filter_map(|option| option.header.as_ref());
    let set = set.map(|header| header.key.len() + header.value.len() + header.raw_value.len() + PER_HEADER);
    let removed = mutation.remove_headers.iter().map(|name| name.len() + PER_HEADER);
    set.chain(removed).sum()
}

fn set(option: HeaderValueOption, headers: &mut HeaderMap) {
    let action = action(&option);
    let Some(header) = option.header else { return };
    let Some(name) = changeable(&header.key) else {
        return;
    };
    let value = if header.raw_value.is_empty() {
        HeaderValue::from_maybe_shared(header.value)
    } else {
        HeaderValue::from_maybe_shared(header.raw_value)
    };
    let Ok(value) = value else { return };
    let is_there = headers.contains_key(&name);
    let mut known = headers.get_all(&name).iter();
    // A table that is full, at 24,576 headers, stays as it is.
    let _ = match action {
        None if known.any(|known| known == value) => Ok(()),
        Some(HeaderAppendAction::AppendIfExistsOrAdd) => headers.try_append(name, value).map(drop),
        Some(HeaderAppendAction::AddIfAbsent) if is_there => Ok(()),
        Some(HeaderAppendAction::OverwriteIfExists) if !is_there => Ok(()),
        _ => headers.try_insert(name, value).map(drop),
    };
}

/// What becomes of a header that is there already; none if the picker has not said.
fn action(option: &HeaderValueOption) -> Option<HeaderAppendAction> {
    match (option.append, option.append_action()) {
        (Some(true), _) => Some(HeaderAppendAction::AppendIfExistsOrAdd),
        // The same on the wire as nothing in particular.
        (None, HeaderAppendAction::AppendIfExistsOrAdd) => None,
        (Some(false), HeaderAppendAction::AppendIfExistsOrAdd) => {
            Some(HeaderAppendAction::OverwriteIfExistsOrAdd)
        }
        (_, action) => Some(action),
    }
}

/// The name, unless the header frames the message or says where it goes. Pseudo headers are no names at all.
fn changeable(name: &str) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    (name != HOST && name != CONTENT_LENGTH && !is_hop_by_hop(&name)).then_some(name)
}

/// Whether a header concerns one connection and not the message, see
/// <https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1>.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
        || ["keep-alive", "proxy-connection"].contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::proxy::picker::message;

    fn headers(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn option(key: &str, value: &str, append: Option<bool>, action: HeaderAppendAction) -> HeaderValueOption {
        HeaderValueOption {
            header: Some(message::HeaderValue {
                key: key.to_owned(),
                value: String::new(),
                raw_value: Bytes::copy_from_slice(value.as_bytes()),
            }),
            append,
            append_action: action.into(),
        }
    }

    fn applied(
        options: Vec<HeaderValueOption>,
        remove: &[&str],
        to: &[(&'static str, &'static str)],
    ) -> HeaderMap {
        let mut headers = headers(to);
        let mutation = HeaderMutation {
            set_headers: options,
            remove_headers: remove.iter().map(ToString::to_string).collect(),
        };
        apply(mutation, &mut headers);
        headers
    }

    #[test]
    fn headers_are_replaced_unless_both_are_asked_for() {
        use HeaderAppendAction::{
            AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd,
        };
        let cases = [
            (None, AppendIfExistsOrAdd, &["new"][..], &["new"][..]),
            (Some(false), AppendIfExistsOrAdd, &["new"], &["new"]),
            (Some(true), AppendIfExistsOrAdd, &["old", "new"], &["new"]),
            (None, AddIfAbsent, &["old"], &["new"]),
            (None, OverwriteIfExistsOrAdd, &["new"], &["new"]),
            (None, OverwriteIfExists, &["new"], &[]),
        ];
        for (append, action, with, without) in cases {
            for (before, after) in [(&[("x-a", "old")][..], with), (&[], without)] {
                let headers = applied(vec![option("X-A", "new", append, action)], &[], before);
                let values: Vec<_> = headers.get_all("x-a").into_iter().collect();
                assert_eq!(values, after, "{append:?} {action:?} of {before:?}");
            }
        }
    }

    #[test]
    fn a_header_with_several_values_keeps_them_when_one_is_sent_again() {
        use HeaderAppendAction::{AppendIfExistsOrAdd, OverwriteIfExistsOrAdd};
        let before = [("set-cookie", "a"), ("set-cookie", "b")];
        for (append, action, value, after) in [
            (None, AppendIfExistsOrAdd, "a", &["a", "b"][..]),
            (None, AppendIfExistsOrAdd, "b", &["a", "b"]),
            (None, AppendIfExistsOrAdd, "c", &["c"]),
            (None, OverwriteIfExistsOrAdd, "b", &["b"]),
            (Some(false), AppendIfExistsOrAdd, "b", &["b"]),
        ] {
            let headers = applied(vec![option("set-cookie", value, append, action)], &[], &before);
            let values: Vec<_> = headers.get_all("set-cookie").into_iter().collect();
            assert_eq!(values, after, "{append:?} {action:?} {value}");
        }
    }

    #[test]
    fn what_frames_the_message_stays_ours() {
        let before = [
            ("host", "a"),
            ("content-length", "1"),
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
        ];
        let names = [
            ":path",
            ":status",
            "Host",
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "bad name",
        ];
        let options = names
            .iter()
            .map(|name| option(name, "2", None, HeaderAppendAction::OverwriteIfExistsOrAdd))
            .collect();
        let headers = applied(
            options,
            &["host", ":path", "connection", "upgrade", "content-length"],
            &before,
        );
        assert_eq!(headers, self::headers(&before));
    }

    #[test]
    fn a_value_that_is_none_changes_nothing() {
        let smuggled = option(
            "x-a",
            "1\r\nx-b: 2",
            None,
            HeaderAppendAction::OverwriteIfExistsOrAdd,
        );
        let headers = applied(
            vec![smuggled, HeaderValueOption::default()],
            &["x-c"],
            &[("x-a", "1"), ("x-c", "3")],
        );
        assert_eq!(headers, self::headers(&[("x-a", "1")]));
    }
}
