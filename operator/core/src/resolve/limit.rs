//! How long a user's texts may be: NGINX reads its configuration through a buffer of 4,096 bytes and refuses a
//! parameter that does not fit (`NGX_CONF_BUFFER` in its `src/core/ngx_conf_file.c`).

use super::mistake::Mistake;

/// Most bytes of a parameter of NGINX's configuration, as printed, with some left for what we print around it.
const PARAMETER: usize = 4000;

/// Most characters of a path or of a replacement for one, as in the specification.
pub(super) const LONGEST_PATH: usize = 1024;

/// Most bytes of a regular expression.
pub(super) const LONGEST_PATTERN: usize = 1024;

/// Refuses a header value that would be too long as a quoted parameter.
///
/// A dollar sign is printed as a variable, quotes and backslashes are escaped.
pub(super) fn header_value(value: &str) -> Result<(), Mistake> {
    within(value, |byte| match byte {
        b'$' => 10,
        b'"' | b'\\' => 2,
        _ => 1,
    })
}

/// Refuses a header value that would be too long as a quoted regular expression, where most bytes that are neither
/// letters nor digits are escaped.
pub(super) fn header_match(value: &str) -> Result<(), Mistake> {
    within(value, |byte| if byte.is_ascii_alphanumeric() { 1 } else { 4 })
}

/// Refuses a query parameter that would be too long as a regular expression, in which every byte stands for itself
/// and for its percent-encoding, in either case.
pub(super) fn query_match(name: &str, value: &str) -> Result<(), Mistake> {
    const PER_BYTE: usize = 14;
    let length = name.len() + value.len();
    if length * PER_BYTE <= PARAMETER {
        return Ok(());
    }
    let field = if value.is_empty() { "name" } else { "value" };
    let most = PARAMETER / PER_BYTE;
    Err(Mistake::unsupported(
        field,
        format!(
            "name and value have {length} bytes together, NGINX can match {most}; match a regular expression instead"
        ),
    ))
}

/// Refuses a list of names that would be too long as one parameter.
pub(super) fn list(names: &[String]) -> Result<(), Mistake> {
    let length: usize = names.iter().map(|name| name.len() + 2).sum();
    if length <= PARAMETER {
        return Ok(());
    }
    Err(Mistake::unsupported(
        "",
        format!("has {length} bytes in all, NGINX can hold {PARAMETER}; shorten the list"),
    ))
}

fn within(value: &str, printed: impl Fn(u8) -> usize) -> Result<(), Mistake> {
    let length: usize = value.bytes().map(printed).sum();
    if length <= PARAMETER {
        return Ok(());
    }
    let bytes = value.len();
    Err(Mistake::unsupported(
        "value",
        format!(
            "of {bytes} bytes takes {length} in NGINX's configuration, which can hold {PARAMETER}; shorten it"
        ),
    ))
}
