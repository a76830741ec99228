//! Changes of headers.

use anyhow::{Result, ensure};
use e2e::{client::Request, echo::Seen, standalone::eventually};

use super::{gateway_with, serving_with, values};

/// All values of a header that the backend got, joined with commas.
fn received(seen: &Seen, name: &str) -> String {
    let pairs = seen.headers.iter().filter(|(header, _)| header == name);
    pairs
        .map(|(_, value)| value.as_str())
        .collect::<Vec<_>>()
        .join(",")
}

#[tokio::test]
async fn request_headers_are_set_added_and_removed() -> Result<()> {
    let filter = "filters: [{ type: RequestHeaderModifier, requestHeaderModifier: {
        set: [{ name: x-set, value: new }], add: [{ name: x-add, value: second }], remove: [x-remove] } }]";
    let (_standalone, _backend, edge) = serving_with(filter).await?;
    let request = Request::get("/")
        .host("a.example")
        .header("x-set", "old")
        .header("x-remove", "gone");
    let seen = edge.send(request.header("x-add", "first")).await?.seen()?;
    assert_eq!(received(&seen, "x-set"), "new");
    assert_eq!(received(&seen, "x-add"), "first,second");
    assert_eq!(received(&seen, "x-remove"), "");
    Ok(())
}

#[tokio::test]
async fn response_headers_are_set_added_and_removed() -> Result<()> {
    let filter = "filters: [{ type: ResponseHeaderModifier, responseHeaderModifier: {
        set: [{ name: x-set, value: new }], add: [{ name: x-add, value: second }], remove: [x-remove] } }]";
    let (_standalone, _backend, edge) = serving_with(filter).await?;
    let request = Request::get("/")
        .host("a.example")
        .header("x-echo-set-header", "x-set: old");
    let request = request
        .header("x-echo-set-header", "x-add: first")
        .header("x-echo-set-header", "x-remove: gone");
    let answer = edge.send(request).await?;
    assert_eq!(values(&answer, "x-set"), "new");
    assert_eq!(values(&answer, "x-add"), "first, second");
    assert_eq!(values(&answer, "x-remove"), "");
    Ok(())
}

#[tokio::test]
async fn response_headers_are_changed_on_errors_and_redirects_too() -> Result<()> {
    let filter =
        "{ type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-set, value: new }] } }";
    let redirect = "{ type: RequestRedirect, requestRedirect: { hostname: new.example } }";
    let rules = format!(
        "[{{ filters: [{filter}], backendRefs: [{{ name: shop, port: 80 }}] }},
          {{ matches: [{{ path: {{ value: /old }} }}], filters: [{filter}, {redirect}] }}]"
    );
    let (_standalone, _backend, edge) = gateway_with(&rules).await?;
    eventually(async || edge.get("a.example", "/").await?.seen()).await?;
    for (path, status) in [("/status/404", 404), ("/status/500", 500), ("/old", 302)] {
        let answer = edge.get("a.example", path).await?;
        assert_eq!(answer.status, status, "{answer}");
        assert_eq!(values(&answer, "x-set"), "new", "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn each_backend_of_a_split_has_its_own_headers_and_those_of_the_rule() -> Result<()> {
    let backend = |name: &str| {
        format!(
            "{{ name: {name}, port: 80, weight: 1, filters: [
               {{ type: RequestHeaderModifier, requestHeaderModifier: {{ set: [{{ name: x-backend, value: {name} }}] }} }},
               {{ type: ResponseHeaderModifier, responseHeaderModifier: {{ set: [{{ name: x-backend, value: {name} }}] }} }}] }}"
        )
    };
    let rules = format!(
        "[{{ filters: [{{ type: RequestHeaderModifier, requestHeaderModifier: {{ set: [{{ name: x-rule, value: both }}] }} }}],
            backendRefs: [{}, {}] }}]",
        backend("shop"),
        backend("other")
    );
    let (standalone, shop, edge) = gateway_with(&rules).await?;
    let other = standalone.backend("other", 101).await?;
    eventually(async || {
        let answer = edge.get("a.example", "/").await?;
        let seen = answer.seen()?;
        for (name, value) in [("x-backend", seen.backend.as_str()), ("x-rule", "both")] {
            // What fails here is not tried again: it would be wrong half of the time.
            assert_eq!(received(&seen, name), value, "{seen:?}");
        }
        assert_eq!(values(&answer, "x-backend"), seen.backend, "{answer}");
        ensure!(
            shop.count("/") >= 10 && other.count("/") >= 10,
            "one backend has few requests"
        );
        Ok(())
    })
    .await
}
