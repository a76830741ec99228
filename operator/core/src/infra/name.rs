//! Names that fit: a Gateway's has up to 253 characters, those of what runs it have 63.

use crate::syntax::Id;

/// Longest label of RFC 1123, which a Service's name and a label's value are.
const LIMIT: usize = 63;

/// The name of all objects that run the Gateway of that name in its namespace: a label of RFC 1035, so that it can be
/// a Service's.
pub(super) fn object_name(gateway: &str) -> String {
    let name = format!("flotilla-{gateway}");
    if name.len() <= LIMIT && !gateway.contains('.') {
        name
    } else {
        shortened(&name.replace('.', "-"), gateway)
    }
}

/// The Gateway's name as the value of a label.
pub(super) fn label_value(gateway: &str) -> String {
    if gateway.len() <= LIMIT {
        gateway.to_owned()
    } else {
        shortened(gateway, gateway)
    }
}

/// The beginning of a name with a digest of all that it stands for.
fn shortened(name: &str, whole: &str) -> String {
    let digest = Id::of(whole).to_string();
    let rest = name.len().min(LIMIT - digest.len() - 1);
    let beginning = name[..name.floor_char_boundary(rest)].trim_end_matches(['-', '.']);
    format!("{beginning}-{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_that_fits_is_kept() {
        assert_eq!(object_name("edge"), "flotilla-edge");
        assert_eq!(label_value("edge.example"), "edge.example");
    }

    #[test]
    fn names_that_do_not_fit_stay_apart() {
        let long = "x".repeat(253);
        let longer = format!("{}y", &long[..252]);
        let names = [long.as_str(), &longer, "a.b", "a-b", "a--b"].map(object_name);
        for name in &names {
            assert!(name.len() <= LIMIT && !name.contains('.'), "{name}");
        }
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert_ne!(label_value(&long), label_value(&longer));
        assert!(label_value(&long).len() <= LIMIT);
    }

    #[test]
    fn shortened_name_never_ends_its_beginning_in_a_dash() {
        let name = object_name(&format!("{}-{}", "x".repeat(32), "y".repeat(60)));
        assert!(!name.contains("--"), "{name}");
    }
}
