//! What browsers of other origins may do.

use super::{
    limit,
    mistake::{Mistake, quoted},
    name::header_name,
};
use crate::{
    api::HttpCorsFilter,
    config::{Cors, OriginPattern},
    syntax::{HeaderName, Hostname, Method},
};

/// What a filter lets browsers of other origins do.
///
/// See <https://gateway-api.sigs.k8s.io/reference/spec/#httpcorsfilter>.
pub(super) fn cors(filter: &HttpCorsFilter) -> Result<Cors, Mistake> {
    Ok(Cors {
        origins: origins(&filter.allow_origins)?,
        credentials: filter.allow_credentials(),
        methods: methods(&filter.allow_methods)?,
        request_headers: header_names("allowHeaders", &filter.allow_headers)?,
        exposed_headers: header_names("exposeHeaders", &filter.expose_headers)?,
        max_age: max_age(filter.max_age())?,
    })
}

/// The origins, each once.
fn origins(origins: &[String]) -> Result<Vec<OriginPattern>, Mistake> {
    let parsed = |(index, text): (usize, &String)| {
        origin(text).ok_or_else(|| {
            let problem = format!(
                "{} is not an origin: http:// or https://, a host that may start with *., a port if it is not the \
                 scheme's own; or * for every origin",
                quoted(text)
            );
            Mistake::unsupported(format!("allowOrigins[{index}]"), problem)
        })
    };
    let mut origins: Vec<_> = origins.iter().enumerate().map(parsed).collect::<Result<_, _>>()?;
    // Two texts can be one origin to a browser, which NGINX would refuse to look up twice.
    origins.sort();
    origins.dedup();
    Ok(origins)
}

/// An origin as browsers write it: in lower case, and without a port that the scheme makes needless.
fn origin(text: &str) -> Option<OriginPattern> {
    if text == "*" {
        return Some(OriginPattern::Any);
    }
    let (scheme, authority) = text.split_once("://")?;
    let well_known = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse::<u16>().ok().filter(|port| *port > 0)?)),
        None => (authority, None),
    };
    let port = port
        .filter(|port| *port != well_known)
        .map_or_else(String::new, |port| format!(":{port}"));
    if host == "*" {
        return Some(OriginPattern::Wildcard {
            scheme: format!("{scheme}://"),
            rest: port,
        });
    }
    let host = Hostname::new(host)?;
    Some(match host.as_str().strip_prefix('*') {
        Some(suffix) => OriginPattern::Wildcard {
            scheme: format!("{scheme}://"),
            rest: format!("{suffix}{port}"),
        },
        None => OriginPattern::Exact(format!("{scheme}://{host}{port}")),
    })
}

fn methods(methods: &[String]) -> Result<Option<Vec<Method>>, Mistake> {
    if methods.iter().any(|method| method == "*") {
        return Ok(None);
    }
    let parsed = |(index, method): (usize, &String)| {
        Method::new(method).ok_or_else(|| {
            Mistake::unsupported(
                format!("allowMethods[{index}]"),
                format!("{} is no HTTP method", quoted(method)),
            )
        })
    };
    methods
        .iter()
        .enumerate()
        .map(parsed)
        .collect::<Result<_, _>>()
        .map(Some)
}

fn header_names(field: &str, names: &[String]) -> Result<Option<Vec<HeaderName>>, Mistake> {
    if names.iter().any(|name| name == "*") {
        return Ok(None);
    }
    limit::list(field, names)?;
    let parsed = |(index, name): (usize, &String)| {
        header_name(name).map_err(|mistake| mistake.within(format_args!("{field}[{index}]")))
    };
    names
        .iter()
        .enumerate()
        .map(parsed)
        .collect::<Result<_, _>>()
        .map(Some)
}

fn max_age(seconds: i32) -> Result<u32, Mistake> {
    u32::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| {
            Mistake::unsupported(
                "maxAge",
                format!("{seconds} is not a number of seconds from 1 on"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(yaml: &str) -> Result<Cors, String> {
        let filter: HttpCorsFilter = serde_saphyr::from_str(yaml).expect("a filter decodes");
        cors(&filter).map_err(|mistake| mistake.to_string())
    }

    fn wildcard(scheme: &str, rest: &str) -> OriginPattern {
        OriginPattern::Wildcard {
            scheme: scheme.to_owned(),
            rest: rest.to_owned(),
        }
    }

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        let exact = |origin: &str| Some(OriginPattern::Exact(origin.to_owned()));
        assert_eq!(origin("*"), Some(OriginPattern::Any));
        assert_eq!(origin("https://Example.com:443"), exact("https://example.com"));
        assert_eq!(origin("https://example.com:80"), exact("https://example.com:80"));
        assert_eq!(
            origin("https://*.example.com:8443"),
            Some(wildcard("https://", ".example.com:8443"))
        );
        assert_eq!(origin("http://*"), Some(wildcard("http://", "")));
    }

    #[test]
    fn an_origin_that_is_written_twice_is_one() {
        let cors =
            parsed("{allowOrigins: ['https://a.example', 'https://A.example:443']}").expect("a policy");
        assert_eq!(
            cors.origins,
            [OriginPattern::Exact("https://a.example".to_owned())]
        );
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "example.com",
            "ftp://a.b",
            "https://",
            "https://a b",
            "https://a/",
            "https://a:0",
            "https://a:x",
        ] {
            assert_eq!(origin(text), None, "{text:?}");
        }
        let problem = parsed("{allowOrigins: ['https://a.example', nonsense]}").expect_err("a refusal");
        assert!(
            problem.starts_with(r#"allowOrigins[1]: "nonsense" is not an origin"#),
            "{problem}"
        );
    }

    #[test]
    fn a_star_lets_every_method_and_header_in() {
        let cors =
            parsed("{allowMethods: ['*'], allowHeaders: ['*'], exposeHeaders: ['*']}").expect("a policy");
        assert_eq!(
            (cors.methods, cors.request_headers, cors.exposed_headers),
            (None, None, None)
        );
    }

    #[test]
    fn browsers_remember_for_five_seconds_where_nothing_is_said() {
        assert_eq!(parsed("{}").expect("a policy").max_age, 5);
        assert!(parsed("{maxAge: 0}").is_err());
    }

    #[test]
    fn names_that_no_header_can_have_are_refused_with_their_place() {
        assert!(
            parsed("{allowHeaders: [a, 'b;c']}")
                .expect_err("a refusal")
                .starts_with("allowHeaders[1].name: ")
        );
    }
}
