//! Headers that end at the proxy.

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri, Version,
    header::{CONNECTION, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    request,
};

/// Names the leg of a request; NGINX sets it.
pub const LEG: HeaderName = HeaderName::from_static("x-flotilla-leg");

/// Most headers of a request or a response in HTTP/1.1. Room for as many is made ready for every head, so that each more
/// costs each request.
pub const MOST: usize = 256;

/// What a gateway says to a picker and a picker to a gateway, whatever follows.
const DESTINATION: &str = "x-gateway-destination-endpoint";
/// What llm-d's pickers are told.
const CONTROL: &str = "x-llm-d-";
/// Headers of the picker protocol that a client may set: what it wishes for, which the picker decides upon. Pods do not
/// get them either.
const WISHES: [HeaderName; 5] = [
    HeaderName::from_static("x-gateway-inference-objective"),
    HeaderName::from_static("x-llm-d-inference-objective"),
    HeaderName::from_static("x-llm-d-inference-fairness-id"),
    HeaderName::from_static("x-llm-d-slo-tpot-ms"),
    HeaderName::from_static("x-llm-d-slo-ttft-ms"),
];

/// Headers of one connection, beside those that `Connection` names, see
/// <https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1>.
const HOP_BY_HOP: [HeaderName; 5] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The protocol that a message changes to, if it does.
#[must_use]
pub fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let names_upgrade = || options(headers).any(|option| option.eq_ignore_ascii_case("upgrade"));
    headers.get(UPGRADE).filter(|_| names_upgrade()).cloned()
}

/// Removes what holds for one connection only, and `Expect`, which the proxy's server has met.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = options(headers)
            .filter_map(|option| option.parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(EXPECT);
}

/// Removes what only gateways and pickers say to each other, so that a client cannot.
///
/// The wishes that a client may have stay, for the picker.
pub fn remove_control(headers: &mut HeaderMap) {
    remove(headers, |name| {
        name.as_str().starts_with(DESTINATION)
            || (name.as_str().starts_with(CONTROL) && !WISHES.contains(name))
    });
}

/// Removes the client's wishes, which pickers leave in the request.
pub fn remove_wishes(headers: &mut HeaderMap) {
    for name in &WISHES {
        headers.remove(name);
    }
}

fn remove(headers: &mut HeaderMap, is_meant: impl Fn(&HeaderName) -> bool) {
    // Nearly every request has none.
    while let Some(name) = headers.keys().find(|name| is_meant(name)).cloned() {
        headers.remove(name);
    }
}

/// The request for an endpoint that speaks HTTP/1.1: its target has no authority, which stands in `Host`.
pub fn for_http1(head: &mut request::Parts) {
    if let Some(authority) = head.uri.authority() {
        if !head.headers.contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            head.headers.insert(HOST, host);
        }
        let path = head.uri.path_and_query().cloned();
        head.uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
    // Both of these are for this connection.
    if head.headers.contains_key(UPGRADE) {
        head.headers
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else if head.headers.contains_key(TE) {
        head.headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    head.version = Version::HTTP_11;
}

/// The request for an endpoint that speaks HTTP/2: its target has scheme and authority, and there is no `Host`.
pub fn for_http2(head: request::Parts, scheme: http::uri::Scheme) -> Result<Request<()>, http::Error> {
    let mut request = Request::from_parts(head, ());
    let host = request.headers_mut().remove(HOST);
    // There are no upgrades, see <https://www.rfc-editor.org/rfc/rfc9113#section-8.6>.
    request.headers_mut().remove(UPGRADE);
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    if let (None, Some(host)) = (&uri.authority, &host) {
        uri.authority = host.as_bytes().try_into().ok();
    }
    // A target with a scheme needs an authority: HTTP/1.0 may have none.
    uri.scheme = uri.authority.is_some().then_some(scheme);
    *request.uri_mut() = Uri::from_parts(uri)?;
    *request.version_mut() = Version::HTTP_2;
    Ok(request)
}

/// Whether the client takes trailers.
#[must_use]
pub fn takes_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// What `Connection` names.
fn options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        of.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn what_connection_names_ends_here() {
        let mut some = headers(&[
            ("connection", "keep-alive, X-Mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("x-other", "1"),
        ]);
        remove_hop_by_hop(&mut some);
        assert_eq!(some, headers(&[("x-other", "1")]));
    }

    #[test]
    fn an_upgrade_must_be_named_by_connection() {
        let without = headers(&[("upgrade", "websocket"), ("connection", "close")]);
        assert_eq!(upgrade(&without), None);
        let with = headers(&[("upgrade", "websocket"), ("connection", "keep-alive, Upgrade")]);
        assert_eq!(upgrade(&with).unwrap(), "websocket");
    }

    #[test]
    fn clients_may_wish_but_not_choose() {
        let mut some = headers(&[
            ("x-gateway-destination-endpoint", "198.18.0.1:80"),
            ("x-gateway-destination-endpoint-subset", "198.18.0.1:80"),
            ("x-llm-d-model-name-rewrite", "other"),
            ("x-llm-d-inference-objective", "urgent"),
        ]);
        remove_control(&mut some);
        assert_eq!(some, headers(&[("x-llm-d-inference-objective", "urgent")]));
        remove_wishes(&mut some);
        assert!(some.is_empty());
    }

    #[test]
    fn targets_are_as_the_endpoint_takes_them() {
        let request = Request::get("http://shop.example/a?b").body(()).unwrap();
        let mut head = request.into_parts().0;
        for_http1(&mut head);
        assert_eq!(head.uri, "/a?b");
        assert_eq!(head.headers, headers(&[("host", "shop.example")]));
        let request = for_http2(head, http::uri::Scheme::HTTPS).unwrap();
        assert_eq!(request.uri(), "https://shop.example/a?b");
        assert!(request.headers().is_empty());
    }
}
