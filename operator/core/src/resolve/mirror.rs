//! Who else gets a copy of requests.

use super::mistake::Mistake;
use crate::api::HttpRequestMirrorFilter;

/// All requests, in the unit of [`share`].
const ALL: u16 = 10_000;

/// How many of 10,000 requests a filter copies.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httprequestmirrorfilter>.
pub(super) fn share(filter: &HttpRequestMirrorFilter) -> Result<u16, Mistake> {
    let (field, numerator, denominator) = match (filter.percent, &filter.fraction) {
        (None, None) => return Ok(ALL),
        (Some(percent), None) => ("percent", percent, 100),
        (None, Some(fraction)) => ("fraction", fraction.numerator, fraction.denominator()),
        (Some(_), Some(_)) => {
            let problem = "cannot be given beside percent; remove one of them";
            return Err(Mistake::unsupported("fraction", problem));
        }
    };
    let (part, whole) = (i64::from(numerator), i64::from(denominator));
    if part < 0 || whole < 1 || part > whole {
        return Err(Mistake::unsupported(
            field,
            format!("{part} of {whole} is not a part of all requests"),
        ));
    }
    let rounded = (part * i64::from(ALL) + whole / 2) / whole;
    let least = i64::from(part > 0);
    Ok(u16::try_from(rounded.max(least)).expect("a part is not more than the whole"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(yaml: &str) -> Result<u16, String> {
        let filter: HttpRequestMirrorFilter = serde_saphyr::from_str(yaml).expect("a mirror decodes");
        share(&filter).map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn all_requests_are_copied_where_nothing_is_said() {
        assert_eq!(parsed("{backendRef: {name: a}}"), Ok(10_000));
    }

    #[test]
    fn percentages_and_fractions_are_parts_of_ten_thousand() {
        assert_eq!(parsed("{backendRef: {name: a}, percent: 35}"), Ok(3500));
        assert_eq!(
            parsed("{backendRef: {name: a}, fraction: {numerator: 1, denominator: 3}}"),
            Ok(3333)
        );
        assert_eq!(
            parsed("{backendRef: {name: a}, fraction: {numerator: 50}}"),
            Ok(5000)
        );
    }

    #[test]
    fn the_smallest_fraction_is_not_nothing() {
        assert_eq!(
            parsed("{backendRef: {name: a}, fraction: {numerator: 1, denominator: 2147483647}}"),
            Ok(1)
        );
    }

    #[test]
    fn parts_that_are_none_are_refused() {
        for part in [
            "percent: 101",
            "percent: -1",
            "fraction: {numerator: 1, denominator: 0}",
            "percent: 1, fraction: {numerator: 1}",
        ] {
            assert!(
                parsed(&format!("{{backendRef: {{name: a}}, {part}}}")).is_err(),
                "{part}"
            );
        }
    }
}
