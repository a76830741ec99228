use std::fmt;

use crate::syntax::{Hostname, percent_decoded};

/// A request, as far as routing looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// In upper case.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Host without its port and without a dot at its end, in lower case.
    pub host: String,
    /// Port of the URL, or the scheme's own.
    pub port: u16,
    /// Path as NGINX matches it: percent-decoded and without dot segments.
    pub path: Vec<u8>,
    /// What stands after the question mark; empty if nothing does.
    pub query: String,
    /// Names in lower case, with values.
    pub headers: Vec<(String, String)>,
}

/// Why a text is no request, in words for the one who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError(String);

impl Request {
    /// Reads `METHOD URL`, such as `GET https://shop.example.com:8443/cart?id=1`, and headers as `name: value`.
    pub fn parse<'a>(line: &str, headers: impl IntoIterator<Item = &'a str>) -> Result<Self, RequestError> {
        let error = |what: &str| {
            RequestError(format!(
                "{what} in {line:?}; write it like GET http://host:port/path"
            ))
        };
        let (method, url) = line.trim().split_once(' ').unwrap_or(("GET", line.trim()));
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| error("no http:// or https://"))?;
        let default = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(error("neither http nor https")),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (
                host,
                port.parse().map_err(|_| error("no port number after the host"))?,
            ),
            _ => (authority, default),
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path =
            normalized(path).ok_or_else(|| error("a path above the root, or a broken percent-encoding"))?;
        let headers = headers.into_iter().map(header).collect::<Result<_, _>>()?;
        Ok(Self {
            method: method.to_ascii_uppercase(),
            scheme: scheme.to_owned(),
            host: host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase(),
            port,
            path,
            query: query.to_owned(),
            headers,
        })
    }

    /// The host as a name; `None` for an address or anything else that no hostname covers.
    #[must_use]
    pub fn hostname(&self) -> Option<Hostname> {
        Hostname::new(&self.host).filter(|hostname| !hostname.is_wildcard())
    }

    /// The value of a header, several lines joined by `, `; `None` if it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .headers
            .iter()
            .filter(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// The method that a browser asks permission for with this preflight request, see
    /// <https://fetch.spec.whatwg.org/#cors-preflight-request>; `None` if it is none.
    #[must_use]
    pub fn preflight(&self) -> Option<String> {
        let given = |name| self.header(name).filter(|value| !value.is_empty());
        given("origin").filter(|_| self.method == "OPTIONS")?;
        given("access-control-request-method")
    }

    /// The decoded value of the first query parameter of that name; `None` if it is absent, or encodes nothing.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Vec<u8>> {
        let parameters = self.query.split('&').filter(|parameter| !parameter.is_empty());
        let mut pairs = parameters.map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")));
        let decoded = |text: &str| percent_decoded(&text.replace('+', " "));
        let (_, value) =
            pairs.find(|(parameter, _)| decoded(parameter).as_deref() == Some(name.as_bytes()))?;
        decoded(value)
    }
}

fn header(line: &str) -> Result<(String, String), RequestError> {
    let (name, value) = line.split_once(':').ok_or_else(|| {
        RequestError(format!(
            "no colon in the header {line:?}; write it like name: value"
        ))
    })?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

/// A path as NGINX matches it: percent-decoded, dot segments resolved, slashes as they are; `None` for what it answers
/// with 400.
fn normalized(path: &str) -> Option<Vec<u8>> {
    let mut segments: Vec<Vec<u8>> = Vec::new();
    let decoded = percent_decoded(path).filter(|path| !path.contains(&0))?;
    let mut rest = decoded
        .strip_prefix(b"/")
        .unwrap_or(&decoded)
        .split(|byte| *byte == b'/')
        .peekable();
    while let Some(segment) = rest.next() {
        let last = rest.peek().is_none();
        match segment {
            b"." => {}
            b".." => {
                segments.pop()?;
            }
            segment => {
                segments.push(segment.to_vec());
                continue;
            }
        }
        if last {
            segments.push(Vec::new());
        }
    }
    let mut path = Vec::new();
    for segment in segments {
        path.push(b'/');
        path.extend(segment);
    }
    Some(if path.is_empty() { b"/".to_vec() } else { path })
}

impl fmt::Display for RequestError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for RequestError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_port_has_its_schemes() {
        let request = Request::parse("GET https://Shop.example.com/a%20b/../c?x=1", []).expect("a request");
        assert_eq!((request.host.as_str(), request.port), ("shop.example.com", 443));
        assert_eq!(
            (request.path.as_slice(), request.query.as_str()),
            (b"/c".as_slice(), "x=1")
        );
    }

    #[test]
    fn only_the_first_parameter_of_a_name_counts() {
        let request = Request::parse("GET http://a/?%61=b%2B+c&a=d", []).expect("a request");
        assert_eq!(request.query("a"), Some(b"b+ c".to_vec()));
    }

    #[test]
    fn a_parameter_that_encodes_nothing_has_no_value() {
        let request = Request::parse("GET http://a/?%6=b&a=%zz&a=d", []).expect("a request");
        assert_eq!(request.query("a"), None);
    }

    #[test]
    fn a_path_that_nginx_refuses_is_refused() {
        for path in ["/..", "/%", "/%2", "/%+1", "/%zz", "/%00"] {
            assert!(
                Request::parse(&format!("GET http://a{path}"), []).is_err(),
                "{path}"
            );
        }
    }
}
