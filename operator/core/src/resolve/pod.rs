//! Settings of pods that all our kinds have, checked.

use std::fmt;

use crate::{
    api::{ImagePullPolicy, PodSettings},
    infra::pod_patch_problems,
};

/// What is wrong with settings of pods that are in this field, such as `spec.pod`.
pub(super) fn problems<'a>(field: &'a str, settings: PodSettings<'a>) -> impl Iterator<Item = String> + 'a {
    let patch = settings.patch.into_iter().flat_map(pod_patch_problems);
    patch.map(move |problem| format!("{field}.patch{problem}"))
}

/// What is wrong with when nodes look for a newer image, as this field says.
pub(super) fn image_pull_policy_problem(field: &str, policy: Option<&ImagePullPolicy>) -> Option<String> {
    unknown(field, policy, ImagePullPolicy::KNOWN, |policy| {
        matches!(policy, ImagePullPolicy::Unknown(_))
    })
}

/// What is wrong with a field whose value is none of the known ones.
pub(super) fn unknown<T: fmt::Display>(
    field: &str,
    value: Option<&T>,
    known: &[&str],
    is_unknown: impl Fn(&T) -> bool,
) -> Option<String> {
    let value = value.filter(|value| is_unknown(value))?;
    let known = known.join(", ");
    Some(format!(
        "{field} is {:?}; it can be one of {known}",
        value.to_string()
    ))
}
