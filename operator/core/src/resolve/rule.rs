//! Rules of `HTTPRoute`s.

use super::{
    backend::Backends,
    filter::{Scope, filters},
    matching::matches,
    mistake::{Mistake, Mistakes},
    route::{Backend, BackendTarget, Rule},
};
use crate::api::{HttpBackendRef, HttpRouteRule};

/// A rule of a route in `namespace`; `None` where a mistake leaves nothing to serve.
pub(super) fn rule(
    index: usize,
    rule: &HttpRouteRule,
    namespace: &str,
    backends: &Backends<'_>,
    mistakes: &mut Mistakes,
) -> Option<Rule> {
    let mut found = Mistakes::default();
    let resolved = resolve(index, rule, namespace, backends, &mut found);
    let resolved = resolved.map_err(|mistake| found.rules.push(mistake)).ok();
    if found != Mistakes::default() {
        mistakes.absorb(format_args!("rules[{index}]"), found);
    }
    resolved
}

fn resolve(
    index: usize,
    rule: &HttpRouteRule,
    namespace: &str,
    backends: &Backends<'_>,
    mistakes: &mut Mistakes,
) -> Result<Rule, Mistake> {
    let HttpRouteRule {
        name,
        matches: _,
        filters: list,
        backend_refs,
        timeouts,
        retry,
        session_persistence,
    } = rule;
    for (field, given) in [
        ("timeouts", timeouts.is_some()),
        ("retry", retry.is_some()),
        ("sessionPersistence", session_persistence.is_some()),
    ] {
        if given {
            mistakes.ignored.push(Mistake::unsupported(
                field,
                "is not supported yet and has no effect",
            ));
        }
    }
    let matches = matches(rule.matches())?;
    let scope = Scope {
        namespace,
        matches: &matches,
        backends,
    };
    let filtered = filters(list, &scope, mistakes)?;
    if filtered.filters.redirect.is_some() && !backend_refs.is_empty() {
        return Err(Mistake::incompatible(
            "backendRefs",
            "cannot be given beside the filter RequestRedirect; remove one of them",
        ));
    }
    let mut resolved = Vec::with_capacity(backend_refs.len());
    for (index, reference) in backend_refs.iter().enumerate() {
        let mut found = Mistakes::default();
        let place = format_args!("backendRefs[{index}]");
        resolved.push(backend(reference, &scope, &mut found).map_err(|mistake| mistake.within(place))?);
        mistakes.absorb(place, found);
    }
    Ok(Rule {
        index,
        name: name.clone(),
        filters: filtered.filters,
        backends: resolved,
        refused: filtered.refused,
        matches,
    })
}

/// Who takes requests, or why the rule cannot be served; where the reference leads nowhere, its part of the requests
/// is answered with 500.
fn backend(
    reference: &HttpBackendRef,
    scope: &Scope<'_>,
    mistakes: &mut Mistakes,
) -> Result<Backend, Mistake> {
    let HttpBackendRef {
        backend_ref,
        filters: list,
    } = reference;
    let weight = u32::try_from(backend_ref.weight()).map_err(|_| {
        Mistake::unsupported(
            "weight",
            format!("{} is negative; give 0 for no requests", backend_ref.weight()),
        )
    })?;
    let filtered = filters(list, scope, mistakes)?;
    let target = match scope.backends.resolve(scope.namespace, &backend_ref.reference) {
        Ok((upstream, protocol)) if !filtered.refused => BackendTarget::Service { upstream, protocol },
        Ok(_) => BackendTarget::Unresolved,
        Err(mistake) => {
            mistakes.references.push(mistake);
            BackendTarget::Unresolved
        }
    };
    Ok(Backend {
        weight,
        filters: filtered.filters,
        target,
    })
}
