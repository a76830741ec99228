/// The bytes that a percent-encoded text stands for; `None` if a percent sign in it encodes nothing.
///
/// See <https://www.rfc-editor.org/rfc/rfc3986#section-2.1>.
pub(crate) fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => encoded_byte([bytes.next()?, bytes.next()?])?,
            byte => byte,
        });
    }
    Some(decoded)
}

fn encoded_byte(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(16 * high? + low?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_either_case_are_decoded() {
        assert_eq!(percent_decoded("a%2F%c3%BC+"), Some("a/ü+".as_bytes().to_vec()));
    }

    #[test]
    fn what_encodes_nothing_is_refused() {
        for text in ["%", "%2", "a%zz", "%+1", "%%20"] {
            assert_eq!(percent_decoded(text), None, "{text}");
        }
    }
}
