//! What a request must be for a rule to take it.

use std::collections::BTreeSet;

use super::{
    limit::{self, LONGEST},
    mistake::{Mistake, quoted},
    name::header_name,
    route::{Match, PathMatch},
};
use crate::{
    api::{
        HeaderMatchType, HttpHeaderMatch, HttpMethod, HttpPathMatch, HttpQueryParamMatch, HttpRouteMatch,
        PathMatchType, QueryParamMatchType,
    },
    config::{Condition, Subject},
    syntax::{Method, Path, Pattern},
};

/// The alternatives of a rule, or the first mistake in them.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httproutematch>.
pub(super) fn matches(matches: &[HttpRouteMatch]) -> Result<Vec<Match>, Mistake> {
    let resolved = |(index, matched)| {
        resolve(index, matched).map_err(|mistake| mistake.within(format_args!("matches[{index}]")))
    };
    matches.iter().enumerate().map(resolved).collect()
}

/// What follows from the matches of a rule that answers browsers: those by a method also take the preflight requests for
/// it, which have a method of their own.
///
/// The specification leaves it open, see <https://github.com/kubernetes-sigs/gateway-api/issues/3857>.
pub(super) fn preflights(matches: &[Match]) -> Vec<Match> {
    let preflight = |matched: &Match| {
        let mut preflight = matched.clone();
        let condition = preflight.conditions.first_mut()?;
        let Subject::Method(method) = condition.subject else {
            return None;
        };
        condition.subject = Subject::Preflight(method);
        (method.as_str() != "OPTIONS").then_some(preflight)
    };
    matches.iter().filter_map(preflight).collect()
}

fn resolve(index: usize, matched: &HttpRouteMatch) -> Result<Match, Mistake> {
    let path = path(matched.path()).map_err(|mistake| mistake.within("path"))?;
    let mut conditions = Vec::new();
    if let Some(wanted) = &matched.method {
        conditions.push(method(wanted)?);
    }
    headers(&matched.headers, &mut conditions)?;
    query_params(&matched.query_params, &mut conditions)?;
    Ok(Match {
        index,
        path,
        conditions,
    })
}

fn path(path: &HttpPathMatch) -> Result<PathMatch, Mistake> {
    let value = path.value();
    match path.match_type() {
        PathMatchType::Exact => literal_path(value).map(PathMatch::Exact),
        PathMatchType::PathPrefix => literal_path(value).map(PathMatch::Prefix),
        PathMatchType::RegularExpression => {
            let pattern = regex(value)?;
            limit::pattern(&pattern)?;
            Ok(PathMatch::Regex(pattern))
        }
        PathMatchType::Unknown(unknown) => Err(unknown_type(unknown, PathMatchType::KNOWN)),
    }
}

fn literal_path(value: &str) -> Result<Path, Mistake> {
    Path::new(value).ok_or_else(|| {
        let problem = format!(
            "{} is not the path of any request; it must start with \"/\", be of at most {LONGEST} characters, \
             and be free of \"//\", \"/./\", \"/../\", \"%2f\", \"?\", \"#\", blanks and broken percent-encodings",
            quoted(value)
        );
        Mistake::unsupported("value", problem)
    })
}

fn method(wanted: &HttpMethod) -> Result<Condition, Mistake> {
    let method = Method::new(wanted.as_str()).ok_or_else(|| {
        let known = HttpMethod::KNOWN.join(", ");
        Mistake::unsupported(
            "method",
            format!("{} is none of {known}", quoted(wanted.as_str())),
        )
    })?;
    if ["CONNECT", "TRACE"].contains(&method.as_str()) {
        let problem = format!("{method} is answered by NGINX itself with 405, so no backend can get one");
        return Err(Mistake::unsupported("method", problem));
    }
    Ok(Condition {
        subject: Subject::Method(method),
        pattern: Pattern::literal(method.as_str().as_bytes()),
    })
}

/// Adds the conditions on headers; of several on the same name the first counts.
fn headers(headers: &[HttpHeaderMatch], conditions: &mut Vec<Condition>) -> Result<(), Mistake> {
    let mut seen = BTreeSet::new();
    for (index, header) in headers.iter().enumerate() {
        let condition =
            self::header(header).map_err(|mistake| mistake.within(format_args!("headers[{index}]")))?;
        if seen.insert(header.name.to_ascii_lowercase()) {
            conditions.push(condition);
        }
    }
    Ok(())
}

fn header(header: &HttpHeaderMatch) -> Result<Condition, Mistake> {
    let name = header_name(&header.name)?;
    let pattern = match header.match_type() {
        HeaderMatchType::Exact => header_value(&header.value)?,
        HeaderMatchType::RegularExpression => regex(&header.value)?,
        HeaderMatchType::Unknown(unknown) => return Err(unknown_type(unknown, HeaderMatchType::KNOWN)),
    };
    fitting(Subject::Header(name), pattern)
}

fn header_value(value: &str) -> Result<Pattern, Mistake> {
    if value.is_empty() || value.contains(|char: char| char.is_ascii_control() && char != '\t') {
        let problem = format!(
            "{} is not the value of any header; it is empty or holds control characters",
            quoted(value)
        );
        return Err(Mistake::unsupported("value", problem));
    }
    Ok(Pattern::literal(value.as_bytes()))
}

/// Adds the conditions on the query; of several on the same name the first counts.
fn query_params(params: &[HttpQueryParamMatch], conditions: &mut Vec<Condition>) -> Result<(), Mistake> {
    let mut seen = BTreeSet::new();
    for (index, param) in params.iter().enumerate() {
        let condition =
            query_param(param).map_err(|mistake| mistake.within(format_args!("queryParams[{index}]")))?;
        if seen.insert(&param.name) {
            conditions.push(condition);
        }
    }
    Ok(())
}

fn query_param(param: &HttpQueryParamMatch) -> Result<Condition, Mistake> {
    if param.name.is_empty() {
        return Err(Mistake::unsupported(
            "name",
            "is empty; give the name of a query parameter",
        ));
    }
    let pattern = match param.match_type() {
        QueryParamMatchType::Exact => Pattern::literal(param.value.as_bytes()),
        QueryParamMatchType::RegularExpression => regex(&param.value)?,
        QueryParamMatchType::Unknown(unknown) => {
            return Err(unknown_type(unknown, QueryParamMatchType::KNOWN));
        }
    };
    fitting(Subject::Query(param.name.clone()), pattern)
}

/// A condition that NGINX can hold.
fn fitting(subject: Subject, pattern: Pattern) -> Result<Condition, Mistake> {
    let condition = Condition { subject, pattern };
    limit::condition(&condition)?;
    Ok(condition)
}

fn regex(source: &str) -> Result<Pattern, Mistake> {
    if source.len() > LONGEST {
        let problem = format!(
            "has {} bytes, a regular expression can have {LONGEST}",
            source.len()
        );
        return Err(Mistake::unsupported("value", problem));
    }
    Pattern::regex(source).map_err(|error| {
        let problem = format!(
            "{} is not a regular expression that NGINX can run: {error}",
            quoted(source)
        );
        Mistake::unsupported("value", problem)
    })
}

fn unknown_type(unknown: &str, known: &[&str]) -> Mistake {
    Mistake::unsupported(
        "type",
        format!("{} is none of {}", quoted(unknown), known.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(yaml: &str) -> Result<Vec<Match>, String> {
        let parsed: Vec<HttpRouteMatch> = serde_saphyr::from_str(yaml).expect("matches decode");
        matches(&parsed).map_err(|mistake| mistake.to_string())
    }

    fn only(yaml: &str) -> Match {
        resolved(yaml).expect("valid matches").pop().expect("one match")
    }

    fn problem(yaml: &str) -> String {
        resolved(yaml).expect_err("a mistake")
    }

    #[test]
    fn a_match_without_path_takes_every_path() {
        let root = Path::new("/").expect("a path");
        assert_eq!(only("[{method: GET}]").path, PathMatch::Prefix(root));
    }

    #[test]
    fn conditions_come_as_method_then_headers_then_query() {
        let subjects: Vec<Subject> = only(
            "[{queryParams: [{name: q, value: a}], headers: [{name: X-Tenant, value: b}], method: POST}]",
        )
        .conditions
        .into_iter()
        .map(|condition| condition.subject)
        .collect();
        let name = crate::syntax::HeaderName::new("x-tenant").expect("a name");
        let method = Method::new("POST").expect("a method");
        assert_eq!(
            subjects,
            [
                Subject::Method(method),
                Subject::Header(name),
                Subject::Query("q".to_owned())
            ]
        );
    }

    #[test]
    fn a_match_by_a_method_other_than_theirs_takes_preflights_too() {
        let matches = resolved(
            "[{method: OPTIONS}, {path: {value: /a}}, {method: PUT, headers: [{name: a, value: b}]}]",
        );
        let matches = matches.expect("valid matches");
        let preflights = preflights(&matches);
        assert_eq!(preflights.len(), 1, "{preflights:?}");
        let Match {
            index, conditions, ..
        } = &preflights[0];
        let put = Method::new("PUT").expect("a method");
        assert_eq!((*index, &conditions[0].subject), (2, &Subject::Preflight(put)));
        assert_eq!(conditions[1..], matches[2].conditions[1..]);
    }

    #[test]
    fn methods_that_nginx_answers_itself_are_refused() {
        let mistake = method(&HttpMethod::from("TRACE".to_owned())).expect_err("no backend can get a TRACE");
        assert!(mistake.to_string().contains("405"), "{mistake}");
    }

    #[test]
    fn the_first_of_headers_with_equal_names_counts() {
        let matched = only("[{headers: [{name: a, value: first}, {name: A, value: second}]}]");
        assert_eq!(matched.conditions.len(), 1);
        assert_eq!(matched.conditions[0].pattern, Pattern::literal(b"first"));
    }

    #[test]
    fn query_parameters_that_differ_in_case_are_two() {
        assert_eq!(
            only("[{queryParams: [{name: a, value: x}, {name: A, value: x}]}]")
                .conditions
                .len(),
            2
        );
    }

    #[test]
    fn an_invalid_path_is_named_with_its_field() {
        let problem = problem("[{path: {value: /}}, {path: {type: Exact, value: /a/../b}}]");
        assert!(
            problem.starts_with(r#"matches[1].path.value: "/a/../b" is not the path"#),
            "{problem}"
        );
    }

    #[test]
    fn an_unknown_type_is_answered_with_those_that_exist() {
        assert_eq!(
            problem("[{path: {type: Glob, value: /*}}]"),
            r#"matches[0].path.type: "Glob" is none of Exact, PathPrefix, RegularExpression"#
        );
    }

    #[test]
    fn an_unknown_method_is_refused() {
        assert!(problem("[{method: PURGE}]").starts_with(r#"matches[0].method: "PURGE" is none of GET"#));
    }

    #[test]
    fn a_regular_expression_that_does_not_parse_is_refused_with_its_error() {
        let problem = problem("[{headers: [{name: a, type: RegularExpression, value: '('}]}]");
        assert!(
            problem.starts_with(r#"matches[0].headers[0].value: "(" is not a regular expression"#),
            "{problem}"
        );
    }

    #[test]
    fn a_regular_expression_longer_than_nginx_can_read_is_refused() {
        let long = "a".repeat(LONGEST + 1);
        assert!(
            problem(&format!("[{{path: {{type: RegularExpression, value: {long}}}}}]"))
                .contains("has 1025 bytes")
        );
    }

    #[test]
    fn a_header_that_nginx_drops_is_refused() {
        assert!(
            problem("[{headers: [{name: a_b, value: x}]}]")
                .starts_with(r#"matches[0].headers[0].name: "a_b""#)
        );
    }

    #[test]
    fn a_header_value_with_control_characters_is_refused() {
        assert!(problem(r#"[{headers: [{name: a, value: "x\ny"}]}]"#).contains(r#"value: "x\ny" is not"#));
    }

    #[test]
    fn values_longer_than_nginx_can_read_are_refused() {
        let long = "x".repeat(10_000);
        assert!(
            problem(&format!("[{{headers: [{{name: a, value: {long}}}]}}]")).contains("headers[0].value")
        );
        assert!(
            problem(&format!("[{{queryParams: [{{name: a, value: {long}}}]}}]"))
                .contains("queryParams[0].value")
        );
    }
}
