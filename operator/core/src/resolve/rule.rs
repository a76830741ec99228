//! Rules of `HTTPRoute`s.

use super::{
    backend::Backends,
    filter::{Scope, filters},
    limit,
    matching::{matches, preflights},
    mistake::{Mistake, Mistakes},
    route::{Backend, BackendTarget, Filters, Rule},
    timeouts,
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
    mistakes.absorb(format_args!("rules[{index}]"), found);
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
    if session_persistence.is_some() {
        mistakes.ignored.push(Mistake::unsupported(
            "sessionPersistence",
            "is not supported yet and has no effect",
        ));
    }
    let timeouts = timeouts.as_ref().map(timeouts::timeouts).transpose();
    let retry = retry.as_ref().map(timeouts::retry).transpose();
    let mut matches = matches(rule.matches())?;
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
        let backend = backend(reference, &scope, &mut found).and_then(|backend| {
            fit_together(&filtered.filters, &backend.filters)?;
            Ok(backend)
        });
        resolved.push(backend.map_err(|mistake| mistake.within(place))?);
        mistakes.absorb(place, found);
    }
    if filtered.filters.cors.is_some() {
        matches.extend(preflights(&matches));
    }
    Ok(Rule {
        index,
        name: name.clone(),
        filters: filtered.filters,
        backends: resolved,
        timeouts: timeouts
            .map_err(|mistake| mistake.within("timeouts"))?
            .unwrap_or_default(),
        retry: retry.map_err(|mistake| mistake.within("retry"))?,
        refused: filtered.refused,
        matches,
    })
}

/// Refuses changes of one header by a rule and by its backend that NGINX could not hold together.
fn fit_together(rule: &Filters, backend: &Filters) -> Result<(), Mistake> {
    limit::header_changes("filters", &rule.request_headers, &backend.request_headers)?;
    limit::header_changes("filters", &rule.response_headers, &backend.response_headers)
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
        Ok(target) if !filtered.refused => target,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::HttpRouteRule,
        resolve::{example::with_backends, mistake::RouteReason},
        snapshot::Snapshot,
    };

    fn resolved(yaml: &str) -> (Option<Rule>, Mistakes) {
        let written: HttpRouteRule = serde_saphyr::from_str(yaml).expect("a rule decodes");
        let mut mistakes = Mistakes::default();
        let resolved = with_backends(&Snapshot::default(), |backends| {
            rule(3, &written, "default", backends, &mut mistakes)
        });
        (resolved, mistakes)
    }

    #[test]
    fn a_rule_without_anything_takes_every_request_and_has_no_backend() {
        let (rule, mistakes) = resolved("{}");
        let rule = rule.expect("a rule");
        assert_eq!((rule.index, rule.matches.len(), rule.backends.len()), (3, 1, 0));
        assert_eq!(mistakes, Mistakes::default());
    }

    #[test]
    fn what_is_not_done_yet_is_said_to_be_ignored() {
        let (rule, mistakes) = resolved("{sessionPersistence: {type: Cookie}}");
        assert!(rule.is_some());
        let ignored: Vec<String> = mistakes.ignored.iter().map(ToString::to_string).collect();
        assert_eq!(
            ignored,
            ["rules[3].sessionPersistence: is not supported yet and has no effect"]
        );
    }

    #[test]
    fn a_rule_that_asks_for_impossible_times_is_left_out() {
        for (rule, place) in [
            (
                "{timeouts: {request: 1s, backendRequest: 2s}}",
                "rules[3].timeouts.backendRequest: ",
            ),
            ("{retry: {codes: [200]}}", "rules[3].retry.codes[0]: "),
        ] {
            let (rule, mistakes) = resolved(rule);
            assert!(rule.is_none());
            assert!(
                mistakes.rules[0].to_string().starts_with(place),
                "{:?}",
                mistakes.rules
            );
        }
    }

    #[test]
    fn a_rule_with_a_mistake_is_left_out_with_its_place() {
        let (rule, mistakes) = resolved("{matches: [{path: {value: a}}]}");
        assert!(rule.is_none());
        assert!(
            mistakes.rules[0]
                .to_string()
                .starts_with("rules[3].matches[0].path.value: ")
        );
    }

    #[test]
    fn a_redirect_excludes_backends() {
        let (rule, mistakes) = resolved(
            "{filters: [{type: RequestRedirect, requestRedirect: {}}], backendRefs: [{name: a, port: 80}]}",
        );
        assert!(rule.is_none());
        assert_eq!(mistakes.rules[0].reason, RouteReason::IncompatibleFilters);
    }

    #[test]
    fn a_backend_that_leads_nowhere_keeps_its_weight() {
        let (rule, mistakes) = resolved("{backendRefs: [{name: gone, port: 80, weight: 7}]}");
        let backend = &rule.expect("a rule").backends[0];
        assert_eq!((backend.weight, &backend.target), (7, &BackendTarget::Unresolved));
        assert_eq!(
            mistakes.references[0].to_string(),
            "rules[3].backendRefs[0].name: Service default/gone does not exist"
        );
    }

    #[test]
    fn a_negative_weight_is_refused() {
        let (rule, mistakes) = resolved("{backendRefs: [{name: a, port: 80, weight: -1}]}");
        assert!(rule.is_none());
        assert_eq!(
            mistakes.rules[0].to_string(),
            "rules[3].backendRefs[0].weight: -1 is negative; give 0 for no requests"
        );
    }

    #[test]
    fn a_filter_of_a_backend_that_must_not_be_skipped_refuses_its_part() {
        let (rule, mistakes) =
            resolved("{backendRefs: [{name: a, port: 80, filters: [{type: ExternalAuth}]}]}");
        let rule = rule.expect("a rule");
        assert!(!rule.refused);
        assert_eq!(rule.backends[0].target, BackendTarget::Unresolved);
        assert!(
            mistakes.rules[0]
                .to_string()
                .starts_with("rules[3].backendRefs[0].filters[0].type: ")
        );
    }
}
