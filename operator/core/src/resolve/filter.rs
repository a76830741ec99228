//! What is done with requests and answers.

use super::{
    backend::Backends,
    cors::cors,
    header_modifier::header_changes,
    mirror::share,
    mistake::{Mistake, Mistakes, RouteReason, quoted},
    name::hostname,
    redirect::{path_modifier, redirect},
    route::{BackendTarget, Filters, Match, Mirror},
};
use crate::api::{HttpRequestMirrorFilter, HttpRouteFilter, HttpRouteFilterType, HttpUrlRewriteFilter};

/// The filters of a rule, or of a backend.
#[derive(Debug, Default)]
pub(super) struct Filtered {
    /// Those that can be done.
    pub(super) filters: Filters,
    /// Whether there is one that cannot be done and must not be skipped.
    pub(super) refused: bool,
}

/// What the places around filters say.
pub(super) struct Scope<'a> {
    /// Namespace of the route.
    pub(super) namespace: &'a str,
    /// Of the rule.
    pub(super) matches: &'a [Match],
    /// What mirrors refer to.
    pub(super) backends: &'a Backends<'a>,
}

/// The filters of a list, or the first mistake that makes its rule invalid; other mistakes are added.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httproutefilter>. A filter that is not ours to do must not be
/// skipped: it may be what guards the backend.
pub(super) fn filters(
    list: &[HttpRouteFilter],
    scope: &Scope<'_>,
    mistakes: &mut Mistakes,
) -> Result<Filtered, Mistake> {
    let mut filtered = Filtered::default();
    if list.is_empty() {
        return Ok(filtered);
    }
    compatible(list)?;
    for (index, filter) in list.iter().enumerate() {
        let mut found = Mistakes::default();
        let place = format_args!("filters[{index}]");
        add(&mut filtered, filter, scope, &mut found).map_err(|mistake| mistake.within(place))?;
        mistakes.absorb(place, found);
    }
    Ok(filtered)
}

/// Refuses filters that contradict each other.
fn compatible(list: &[HttpRouteFilter]) -> Result<(), Mistake> {
    let has = |kind: &HttpRouteFilterType| list.iter().any(|filter| filter.r#type == *kind);
    for (index, HttpRouteFilter { r#type: kind, .. }) in list.iter().enumerate() {
        let once = !matches!(
            kind,
            HttpRouteFilterType::RequestMirror
                | HttpRouteFilterType::ExtensionRef
                | HttpRouteFilterType::Unknown(_)
        );
        if once && list[..index].iter().any(|earlier| earlier.r#type == *kind) {
            let problem = format!("{kind} can be given once only; join the two");
            return Err(Mistake::incompatible(format!("filters[{index}]"), problem));
        }
    }
    if has(&HttpRouteFilterType::RequestRedirect) && has(&HttpRouteFilterType::UrlRewrite) {
        let problem = "RequestRedirect and URLRewrite exclude each other; remove one of them";
        return Err(Mistake::incompatible("filters", problem));
    }
    Ok(())
}

fn add(
    Filtered { filters, refused }: &mut Filtered,
    filter: &HttpRouteFilter,
    scope: &Scope<'_>,
    mistakes: &mut Mistakes,
) -> Result<(), Mistake> {
    match &filter.r#type {
        HttpRouteFilterType::RequestHeaderModifier => {
            let field = "requestHeaderModifier";
            filters.request_headers = inside(field, filter.request_header_modifier.as_ref(), header_changes)?;
        }
        HttpRouteFilterType::ResponseHeaderModifier => {
            let field = "responseHeaderModifier";
            filters.response_headers =
                inside(field, filter.response_header_modifier.as_ref(), header_changes)?;
        }
        HttpRouteFilterType::RequestMirror => {
            let mirrored = inside("requestMirror", filter.request_mirror.as_ref(), |filter| {
                mirror(filter, scope, mistakes)
            });
            filters.mirrors.extend(mirrored?);
        }
        HttpRouteFilterType::RequestRedirect => {
            let to = inside("requestRedirect", filter.request_redirect.as_ref(), |filter| {
                redirect(filter, scope.matches)
            });
            filters.redirect = Some(to?);
        }
        HttpRouteFilterType::UrlRewrite => {
            inside("urlRewrite", filter.url_rewrite.as_ref(), |filter| {
                rewrite(filters, filter, scope.matches)
            })?;
        }
        HttpRouteFilterType::Cors => filters.cors = Some(inside("cors", filter.cors.as_ref(), cors)?),
        HttpRouteFilterType::ExtensionRef => {
            *refused = true;
            mistakes.references.push(unknown_extension(filter));
        }
        unsupported @ (HttpRouteFilterType::ExternalAuth | HttpRouteFilterType::Unknown(_)) => {
            *refused = true;
            let problem = format!(
                "{} is not supported and must not be skipped, so its requests are answered with 500",
                quoted(unsupported.as_str())
            );
            mistakes.rules.push(Mistake::unsupported("type", problem));
        }
    }
    Ok(())
}

/// What `resolve` makes of the field that a filter's type asks for.
fn inside<F, T>(
    field: &str,
    filter: Option<&F>,
    resolve: impl FnOnce(&F) -> Result<T, Mistake>,
) -> Result<T, Mistake> {
    let Some(filter) = filter else {
        return Err(Mistake::unsupported(
            field,
            "is missing, and the filter's type asks for it",
        ));
    };
    resolve(filter).map_err(|mistake| mistake.within(field))
}

/// Someone who gets copies; nobody where the reference leads nowhere or no request is to be copied.
fn mirror(
    filter: &HttpRequestMirrorFilter,
    scope: &Scope<'_>,
    mistakes: &mut Mistakes,
) -> Result<Option<Mirror>, Mistake> {
    let share = share(filter)?;
    let target = match scope.backends.resolve(scope.namespace, &filter.backend_ref) {
        Ok(BackendTarget::Pool { upstream, .. }) => {
            let problem = format!("{upstream} cannot get copies of requests yet; use a Service");
            Err(Mistake::new(RouteReason::InvalidKind, "kind", problem))
        }
        target => target,
    };
    match target {
        Ok(target) => Ok((share > 0).then_some(Mirror { target, share })),
        Err(mistake) => {
            let mistake = mistake.within("requestMirror.backendRef");
            mistakes.references.push(mistake);
            Ok(None)
        }
    }
}

fn rewrite(filters: &mut Filters, filter: &HttpUrlRewriteFilter, matches: &[Match]) -> Result<(), Mistake> {
    filters.rewrite_host = filter.hostname.as_deref().map(hostname).transpose()?;
    let path = filter
        .path
        .as_ref()
        .map(|path| path_modifier(path, matches))
        .transpose();
    filters.rewrite_path = path.map_err(|mistake| mistake.within("path"))?;
    Ok(())
}

fn unknown_extension(filter: &HttpRouteFilter) -> Mistake {
    let problem = match &filter.extension_ref {
        Some(reference) => format!(
            "kind {} of group {} is not supported as a filter, so its requests are answered with 500",
            quoted(&reference.kind),
            quoted(&reference.group)
        ),
        None => "is missing, and the filter's type asks for it".to_owned(),
    };
    Mistake::new(RouteReason::InvalidKind, "extensionRef", problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::HttpRouteMatch,
        resolve::{example::with_backends, matching::matches, route::PathModifier},
        snapshot::Snapshot,
        syntax::Hostname,
    };

    fn resolved(yaml: &str) -> (Result<Filtered, Mistake>, Mistakes) {
        let list: Vec<HttpRouteFilter> = serde_saphyr::from_str(yaml).expect("filters decode");
        let matches = matches(&[HttpRouteMatch::default()]).expect("valid matches");
        let mut mistakes = Mistakes::default();
        let filtered = with_backends(&Snapshot::default(), |backends| {
            let scope = Scope {
                namespace: "default",
                matches: &matches,
                backends,
            };
            filters(&list, &scope, &mut mistakes)
        });
        (filtered, mistakes)
    }

    fn mistake(yaml: &str) -> Mistake {
        resolved(yaml).0.expect_err("a mistake")
    }

    #[test]
    fn a_rewrite_has_host_and_path() {
        let (filtered, mistakes) = resolved(
            "[{type: URLRewrite, urlRewrite: {hostname: a.example, path: {type: ReplaceFullPath, replaceFullPath: /b}}}]",
        );
        let Filters {
            rewrite_host,
            rewrite_path,
            ..
        } = filtered.expect("valid filters").filters;
        assert_eq!(rewrite_host, Hostname::new("a.example"));
        assert_eq!(rewrite_path, Some(PathModifier::ReplaceFullPath("/b".to_owned())));
        assert_eq!(mistakes, Mistakes::default());
    }

    #[test]
    fn redirect_and_rewrite_exclude_each_other() {
        let mistake = mistake(
            "[{type: RequestRedirect, requestRedirect: {}}, {type: URLRewrite, urlRewrite: {hostname: a.example}}]",
        );
        assert_eq!(mistake.reason, RouteReason::IncompatibleFilters);
    }

    #[test]
    fn a_filter_is_not_repeated() {
        let mistake = mistake("[{type: CORS, cors: {}}, {type: CORS, cors: {}}]");
        assert_eq!(
            mistake.to_string(),
            "filters[1]: CORS can be given once only; join the two"
        );
    }

    #[test]
    fn a_filter_without_its_field_is_refused() {
        assert_eq!(
            mistake("[{type: URLRewrite}]").to_string(),
            "filters[0].urlRewrite: is missing, and the filter's type asks for it"
        );
    }

    #[test]
    fn a_filter_that_guards_the_backend_refuses_requests() {
        for kind in ["ExternalAuth", "TomorrowsFilter"] {
            let (filtered, mistakes) = resolved(&format!("[{{type: {kind}}}]"));
            assert!(filtered.expect("no mistake").refused, "{kind}");
            assert_eq!(mistakes.rules[0].reason, RouteReason::UnsupportedValue, "{kind}");
        }
    }

    #[test]
    fn an_extension_refuses_requests_as_a_reference_that_leads_nowhere() {
        let (filtered, mistakes) =
            resolved("[{type: ExtensionRef, extensionRef: {group: a.b, kind: Guard, name: c}}]");
        assert!(filtered.expect("no mistake").refused);
        assert_eq!(mistakes.references[0].reason, RouteReason::InvalidKind);
    }

    #[test]
    fn a_mirror_that_leads_nowhere_is_left_out() {
        let (filtered, mistakes) =
            resolved("[{type: RequestMirror, requestMirror: {backendRef: {name: gone, port: 80}}}]");
        assert!(filtered.expect("no mistake").filters.mirrors.is_empty());
        assert_eq!(
            mistakes.references[0].to_string(),
            "filters[0].requestMirror.backendRef.name: Service default/gone does not exist"
        );
    }
}
