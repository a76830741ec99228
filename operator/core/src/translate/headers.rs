use std::collections::BTreeMap;

use crate::{config::HeaderChanges, syntax::HeaderName};

/// The changes that `first` and then `second` make, as one.
pub(super) fn then(first: &HeaderChanges, second: &HeaderChanges) -> HeaderChanges {
    let mut fields = BTreeMap::<&HeaderName, Field<'_>>::new();
    for HeaderChanges { set, add, remove } in [first, second] {
        for name in remove {
            fields.insert(
                name,
                Field {
                    replaced: true,
                    values: Vec::new(),
                },
            );
        }
        for (name, value) in set {
            fields.insert(
                name,
                Field {
                    replaced: true,
                    values: vec![value],
                },
            );
        }
        for (name, values) in add {
            fields
                .entry(name)
                .or_default()
                .values
                .extend(values.iter().map(String::as_str));
        }
    }
    let mut changes = HeaderChanges::default();
    for (name, Field { replaced, values }) in fields {
        match (replaced, values.is_empty()) {
            (true, true) => changes.remove.push(name.clone()),
            (true, false) => changes.set.push((name.clone(), values.join(","))),
            (false, _) => changes
                .add
                .push((name.clone(), values.into_iter().map(str::to_owned).collect())),
        }
    }
    changes
}

/// What becomes of one header field.
#[derive(Default)]
struct Field<'a> {
    /// Whether what the message had is gone.
    replaced: bool,
    values: Vec<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> HeaderName {
        HeaderName::new("x-tenant").expect("a valid name")
    }

    #[test]
    fn adding_after_setting_sets_both() {
        let set = HeaderChanges {
            set: vec![(name(), "a".to_owned())],
            ..HeaderChanges::default()
        };
        let add = HeaderChanges {
            add: vec![(name(), vec!["b".to_owned()])],
            ..HeaderChanges::default()
        };
        assert_eq!(then(&set, &add).set, [(name(), "a,b".to_owned())]);
    }

    #[test]
    fn removing_after_adding_removes() {
        let add = HeaderChanges {
            add: vec![(name(), vec!["b".to_owned()])],
            ..HeaderChanges::default()
        };
        let remove = HeaderChanges {
            remove: vec![name()],
            ..HeaderChanges::default()
        };
        assert_eq!(then(&add, &remove), remove);
    }
}
