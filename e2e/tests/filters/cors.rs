//! Cross-origin resource sharing, as browsers see it.
//!
//! See <https://gateway-api.sigs.k8s.io/reference/spec/#httpcorsfilter> and <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use anyhow::Result;
use e2e::client::{Answer, Request};
use hyper::{Method, StatusCode};

use super::{serving, serving_with, values};

/// What a policy is made of, every field named.
const STRICT: &str = "filters: [{ type: CORS, cors: {
    allowOrigins: ['https://shop.example', 'https://*.wild.example'], allowCredentials: true,
    allowMethods: [GET, PUT], allowHeaders: [x-token], exposeHeaders: [x-count], maxAge: 60 } }]";

/// A policy without limits.
const OPEN: &str = "filters: [{ type: CORS, cors: {
    allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'], exposeHeaders: ['*'] } }]";

/// What a browser asks before it sends a `PUT` with a header.
fn preflight(origin: &str) -> Request {
    asking("PUT", "/asked", origin).header("access-control-request-headers", "x-token")
}

/// What a browser asks before it sends a request of that method.
fn asking(method: &str, path: &str, origin: &str) -> Request {
    Request::new(Method::OPTIONS, path)
        .host("a.example")
        .header("origin", origin)
        .header("access-control-request-method", method)
}

/// Rules by method, the first two of which let browsers in, and one with the method of preflight requests below `/own`.
const BY_METHOD: &str = "[
    { matches: [{ method: GET }], backendRefs: [{ name: shop, port: 80 }],
      filters: [{ type: CORS, cors: { allowOrigins: ['*'], maxAge: 1 } }] },
    { matches: [{ method: PUT }, { method: PUT, path: { value: /own } }], backendRefs: [{ name: shop, port: 80 }],
      filters: [{ type: CORS, cors: { allowOrigins: ['*'], maxAge: 2 } }] },
    { matches: [{ method: DELETE }], backendRefs: [{ name: shop, port: 80 }] },
    { matches: [{ method: OPTIONS, path: { value: /own } }], backendRefs: [{ name: shop, port: 80 }] }]";

/// A request whose answer a browser shows to a page of that origin if it may.
fn simple(origin: &str) -> Request {
    Request::get("/").host("a.example").header("origin", origin)
}

/// The headers of an answer that are about sharing, in order of name.
fn shared(answer: &Answer) -> Vec<(&str, String)> {
    let prefix = "access-control-";
    let mut names: Vec<&str> = answer
        .headers
        .keys()
        .filter_map(|name| name.as_str().strip_prefix(prefix))
        .collect();
    names.sort_unstable();
    let value = |name: &str| values(answer, &format!("{prefix}{name}"));
    names.into_iter().map(|name| (name, value(name))).collect()
}

/// Pairs to compare with [`shared`].
fn expected<'a>(pairs: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
    pairs
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn preflight_of_an_allowed_origin_is_answered_with_the_policy() -> Result<()> {
    let (_standalone, backend, edge) = serving_with(STRICT).await?;
    for origin in [
        "https://shop.example",
        "https://a.wild.example",
        "https://a.b.wild.example",
    ] {
        let answer = edge.send(preflight(origin)).await?;
        assert!(answer.status.is_success(), "{answer}");
        let policy = [
            ("allow-credentials", "true"),
            ("allow-headers", "x-token"),
            ("allow-methods", "GET, PUT"),
            ("allow-origin", origin),
            ("expose-headers", "x-count"),
            ("max-age", "60"),
        ];
        assert_eq!(shared(&answer), expected(&policy));
    }
    assert_eq!(backend.count("/asked"), 0, "a preflight has reached the backend");
    Ok(())
}

#[tokio::test]
async fn answer_to_an_allowed_origin_says_what_a_page_may_read() -> Result<()> {
    let (_standalone, _backend, edge) = serving_with(STRICT).await?;
    let answer = edge.send(simple("https://shop.example")).await?;
    answer.seen()?;
    let policy = [
        ("allow-credentials", "true"),
        ("allow-origin", "https://shop.example"),
        ("expose-headers", "x-count"),
    ];
    assert_eq!(shared(&answer), expected(&policy));
    Ok(())
}

#[tokio::test]
async fn other_origins_are_told_nothing() -> Result<()> {
    let (_standalone, _backend, edge) = serving_with(STRICT).await?;
    for origin in [
        "http://shop.example",
        "https://shop.example:8443",
        "https://shop.example.test",
        "https://wild.example",
        "null",
    ] {
        let answer = edge.send(preflight(origin)).await?;
        assert_eq!(shared(&answer), [], "{origin}: {answer}");
        let answer = edge.send(simple(origin)).await?;
        answer.seen()?;
        assert_eq!(shared(&answer), [], "{origin}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn policy_without_limits_allows_what_is_asked_for() -> Result<()> {
    let (_standalone, _backend, edge) = serving_with(OPEN).await?;
    let origin = "https://any.test";
    let answer = edge.send(preflight(origin)).await?;
    let policy = [
        ("allow-headers", "x-token"),
        ("allow-methods", "PUT"),
        ("allow-origin", origin),
        ("expose-headers", "*"),
        ("max-age", "5"),
    ];
    assert_eq!(shared(&answer), expected(&policy));
    let answer = edge.send(simple(origin)).await?;
    assert_eq!(
        shared(&answer),
        expected(&[("allow-origin", origin), ("expose-headers", "*")])
    );
    Ok(())
}

#[tokio::test]
async fn policy_replaces_what_the_backend_says() -> Result<()> {
    let (_standalone, _backend, edge) = serving_with(STRICT).await?;
    let said = |request: Request| {
        let request = request.header("x-echo-set-header", "access-control-allow-origin: *");
        request.header("x-echo-set-header", "access-control-max-age: 1")
    };
    let answer = edge.send(said(simple("https://shop.example"))).await?;
    let policy = [
        ("allow-credentials", "true"),
        ("allow-origin", "https://shop.example"),
        ("expose-headers", "x-count"),
    ];
    assert_eq!(shared(&answer), expected(&policy));
    let answer = edge.send(said(simple("https://other.test"))).await?;
    assert_eq!(shared(&answer), [], "{answer}");
    Ok(())
}

#[tokio::test]
async fn options_of_no_browser_reaches_the_backend() -> Result<()> {
    let (_standalone, _backend, edge) = serving_with(STRICT).await?;
    let request = Request::new(Method::OPTIONS, "/").host("a.example");
    assert_eq!(edge.send(request).await?.seen()?.method, "OPTIONS");
    Ok(())
}

#[tokio::test]
async fn preflight_for_a_method_is_answered_by_the_rule_that_matches_the_method() -> Result<()> {
    let (_standalone, backend, edge) = serving(BY_METHOD).await?;
    for (method, status, max_age) in [
        ("GET", 204, "1"),
        ("PUT", 204, "2"),
        ("DELETE", 404, ""),
        ("PATCH", 404, ""),
    ] {
        let answer = edge.send(asking(method, "/asked", "https://a.test")).await?;
        let answered = (answer.status.as_u16(), answer.header("access-control-max-age"));
        assert_eq!(answered, (status, max_age), "{method}: {answer}");
    }
    assert_eq!(backend.count("/asked"), 0, "a preflight has reached the backend");
    Ok(())
}

#[tokio::test]
async fn options_of_no_browser_is_matched_as_what_it_is() -> Result<()> {
    let (_standalone, _backend, edge) = serving(BY_METHOD).await?;
    let options = Request::new(Method::OPTIONS, "/asked").host("a.example");
    let wanted = "access-control-request-method";
    for request in [
        options.clone(),
        options.clone().header("origin", "https://a.test"),
        options.header(wanted, "PUT"),
    ] {
        assert_eq!(edge.send(request).await?.status, StatusCode::NOT_FOUND);
    }
    Ok(())
}

#[tokio::test]
async fn rule_that_matches_options_takes_preflights_first() -> Result<()> {
    let (_standalone, _backend, edge) = serving(BY_METHOD).await?;
    let answer = edge.send(asking("PUT", "/own", "https://a.test")).await?;
    assert_eq!(answer.seen()?.method, "OPTIONS");
    assert_eq!(shared(&answer), []);
    Ok(())
}
