//! Names for requests that came without one, by which pickers tell them apart.

use std::{
    cell::Cell,
    hash::{BuildHasher as _, RandomState},
};

use http::{HeaderMap, HeaderName, HeaderValue};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

thread_local! {
    static STATE: (RandomState, Cell<u64>) = (RandomState::new(), Cell::new(0));
}

/// Gives a request a random name if it has none: 32 hexadecimal digits.
pub(super) fn ensure(headers: &mut HeaderMap) {
    if headers.contains_key(&REQUEST_ID) {
        return;
    }
    let (first, second) = STATE.with(|(state, count)| {
        let number = count.replace(count.get().wrapping_add(1));
        (state.hash_one((number, 0)), state.hash_one((number, 1)))
    });
    let id = HeaderValue::try_from(format!("{first:016x}{second:016x}")).expect("digits make a value");
    headers.insert(REQUEST_ID, id);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_once() {
        let id = || {
            let mut headers = HeaderMap::new();
            ensure(&mut headers);
            let id = headers[&REQUEST_ID].clone();
            ensure(&mut headers);
            assert_eq!(headers[&REQUEST_ID], id);
            id
        };
        assert_ne!(id(), id());
    }
}
