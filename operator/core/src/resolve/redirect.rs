//! Where clients or requests are sent instead: redirects and rewrites.

use super::{
    limit::{self, LONGEST},
    mistake::{Mistake, quoted},
    name::hostname,
    route::{Match, PathMatch, PathModifier, RedirectFilter},
};
use crate::api::{HttpPathModifier, HttpPathModifierType, HttpRequestRedirectFilter};

/// A redirect of a rule with these matches.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httprequestredirectfilter>.
pub(super) fn redirect(
    filter: &HttpRequestRedirectFilter,
    matches: &[Match],
) -> Result<RedirectFilter, Mistake> {
    let path = filter
        .path
        .as_ref()
        .map(|path| path_modifier(path, matches))
        .transpose();
    Ok(RedirectFilter {
        status: status(filter.status_code())?,
        scheme: filter.scheme.as_deref().map(scheme).transpose()?,
        hostname: filter.hostname.as_deref().map(hostname).transpose()?,
        port: filter.port.map(port).transpose()?,
        path: path.map_err(|mistake| mistake.within("path"))?,
    })
}

fn status(code: i32) -> Result<u16, Mistake> {
    [301, 302, 303, 307, 308]
        .into_iter()
        .find(|known| i32::from(*known) == code)
        .ok_or_else(|| {
            Mistake::unsupported("statusCode", format!("{code} is none of 301, 302, 303, 307, 308"))
        })
}

fn scheme(scheme: &str) -> Result<&'static str, Mistake> {
    ["http", "https"]
        .into_iter()
        .find(|known| *known == scheme)
        .ok_or_else(|| {
            Mistake::unsupported("scheme", format!("{} is neither http nor https", quoted(scheme)))
        })
}

fn port(port: i32) -> Result<u16, Mistake> {
    u16::try_from(port)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| Mistake::unsupported("port", format!("{port} is not between 1 and 65535")))
}

/// A change of the path in a rule with these matches.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httppathmodifier>.
pub(super) fn path_modifier(modifier: &HttpPathModifier, matches: &[Match]) -> Result<PathModifier, Mistake> {
    match &modifier.r#type {
        HttpPathModifierType::ReplaceFullPath => {
            let path = replacement("replaceFullPath", modifier.replace_full_path.as_deref())?;
            Ok(PathModifier::ReplaceFullPath(path))
        }
        HttpPathModifierType::ReplacePrefixMatch => {
            let field = "replacePrefixMatch";
            for matched in matches {
                let PathMatch::Prefix(prefix) = &matched.path else {
                    let problem = "needs matches of type PathPrefix only, and the rule has others";
                    return Err(Mistake::incompatible(field, problem));
                };
                limit::replaced_prefix(prefix)?;
            }
            match modifier.replace_prefix_match.as_deref() {
                Some("") => Ok(PathModifier::ReplacePrefixMatch(String::new())),
                path => replacement(field, path).map(PathModifier::ReplacePrefixMatch),
            }
        }
        HttpPathModifierType::Unknown(unknown) => {
            let known = HttpPathModifierType::KNOWN.join(", ");
            Err(Mistake::unsupported(
                "type",
                format!("{} is none of {known}", quoted(unknown)),
            ))
        }
    }
}

fn replacement(field: &str, path: Option<&str>) -> Result<String, Mistake> {
    let Some(path) = path else {
        return Err(Mistake::unsupported(
            field,
            "is missing, and the type asks for it",
        ));
    };
    if path.starts_with('/') && path.len() <= LONGEST && can_stand_in_url(path.as_bytes()) {
        limit::text(field, path)?;
        return Ok(path.to_owned());
    }
    let problem = format!(
        "{} cannot be the path of a URL; it must start with \"/\", be of at most {LONGEST} characters, and have \
         everything but letters, digits and -._~!$&'()*+,;=:@/ percent-encoded",
        quoted(path)
    );
    Err(Mistake::unsupported(field, problem))
}

/// Whether these are characters of a path in <https://www.rfc-editor.org/rfc/rfc3986#section-3.3>.
fn can_stand_in_url(path: &[u8]) -> bool {
    match path {
        [] => true,
        [b'%', high, low, rest @ ..] => {
            high.is_ascii_hexdigit() && low.is_ascii_hexdigit() && can_stand_in_url(rest)
        }
        [byte, rest @ ..] => {
            (byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(byte)) && can_stand_in_url(rest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        resolve::{matching::matches, mistake::RouteReason},
        syntax::Path,
    };

    fn prefix() -> Vec<Match> {
        matches(&[crate::api::HttpRouteMatch::default()]).expect("valid matches")
    }

    fn redirected(yaml: &str) -> Result<RedirectFilter, String> {
        let filter: HttpRequestRedirectFilter = serde_saphyr::from_str(yaml).expect("a redirect decodes");
        redirect(&filter, &prefix()).map_err(|mistake| mistake.to_string())
    }

    fn full_path(path: &str) -> Result<PathModifier, Mistake> {
        let modifier = HttpPathModifier {
            r#type: HttpPathModifierType::ReplaceFullPath,
            replace_full_path: Some(path.to_owned()),
            replace_prefix_match: None,
        };
        path_modifier(&modifier, &prefix())
    }

    #[test]
    fn a_redirect_without_fields_is_a_302_to_the_same_url() {
        let same = RedirectFilter {
            status: 302,
            scheme: None,
            hostname: None,
            port: None,
            path: None,
        };
        assert_eq!(redirected("{}"), Ok(same));
    }

    #[test]
    fn values_that_no_redirect_can_have_are_refused() {
        for (yaml, field) in [
            ("{statusCode: 300}", "statusCode"),
            ("{scheme: ftp}", "scheme"),
            ("{port: 0}", "port"),
            ("{port: 65536}", "port"),
            ("{hostname: '*.example.com'}", "hostname"),
            ("{hostname: 'a b'}", "hostname"),
            ("{path: {type: ReplaceFullPath}}", "path.replaceFullPath"),
            ("{path: {type: Sed, replaceFullPath: /}}", "path.type"),
        ] {
            let problem = redirected(yaml).expect_err(yaml);
            assert!(problem.starts_with(&format!("{field}: ")), "{yaml}: {problem}");
        }
    }

    #[test]
    fn replacements_that_cannot_stand_in_a_url_are_refused() {
        for path in [
            "", "a", "/a b", "/a\n", "/ü", "/%", "/%2", "/%zz", "/a?b", "/a#b", "/\"", "/{x}",
        ] {
            assert!(full_path(path).is_err(), "{path:?}");
        }
        assert_eq!(
            full_path("/a%20b/$1"),
            Ok(PathModifier::ReplaceFullPath("/a%20b/$1".to_owned()))
        );
    }

    #[test]
    fn a_prefix_may_be_replaced_by_nothing() {
        let redirect =
            redirected("{path: {type: ReplacePrefixMatch, replacePrefixMatch: ''}}").expect("a redirect");
        assert_eq!(
            redirect.path,
            Some(PathModifier::ReplacePrefixMatch(String::new()))
        );
    }

    fn replaced(path: PathMatch) -> Result<PathModifier, Mistake> {
        let modifier = HttpPathModifier {
            r#type: HttpPathModifierType::ReplacePrefixMatch,
            replace_full_path: None,
            replace_prefix_match: Some("/b".to_owned()),
        };
        let conditions = Vec::new();
        path_modifier(
            &modifier,
            &[Match {
                index: 0,
                path,
                conditions,
            }],
        )
    }

    #[test]
    fn a_prefix_is_replaced_only_where_all_matches_are_prefixes() {
        let mistake = replaced(PathMatch::Exact(Path::new("/a").expect("a path"))).expect_err("a refusal");
        assert_eq!(mistake.reason, RouteReason::IncompatibleFilters);
    }

    #[test]
    fn a_prefix_that_nginx_could_not_hold_as_an_expression_is_not_replaced() {
        let long = Path::new(&format!("/{}", "-".repeat(1000))).expect("a path");
        let mistake = replaced(PathMatch::Prefix(long)).expect_err("a refusal");
        assert!(
            mistake.to_string().starts_with("replacePrefixMatch: takes up to"),
            "{mistake}"
        );
    }
}
