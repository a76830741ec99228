//! Changes of host and path on the way to a backend.

use anyhow::{Result, ensure};
use e2e::{client::raw, standalone::eventually};

use super::{gateway_with, serving_with};

#[tokio::test]
async fn rewrite_changes_host_and_prefix_only() -> Result<()> {
    let rule = "matches: [{ path: { value: /api } }, { path: { value: /warm-up } }],
        filters: [{ type: URLRewrite, urlRewrite: {
        hostname: inner.example, path: { type: ReplacePrefixMatch, replacePrefixMatch: /v1 } } }]";
    let (_standalone, _backend, edge) = serving_with(rule).await?;
    for (path, expected) in [
        ("/api", "/v1"),
        ("/api/", "/v1/"),
        ("/api/a%2Fb?c=%41", "/v1/a%2Fb?c=%41"),
    ] {
        let seen = edge.get("a.example", path).await?.seen()?;
        assert_eq!(
            (seen.host.as_str(), seen.path.as_str()),
            ("inner.example", expected),
            "{path}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn prefix_that_is_cut_leaves_a_path_however_the_rest_was_written() -> Result<()> {
    let cut = "filters: [{ type: URLRewrite, urlRewrite: {
        path: { type: ReplacePrefixMatch, replacePrefixMatch: / } } }]";
    let rules = format!(
        "[{{ matches: [{{ path: {{ value: /cut }} }}, {{ path: {{ value: / }}, headers: [{{ name: x-root, value: a }}] }}],
            {cut}, backendRefs: [{{ name: shop, port: 80 }}] }}]"
    );
    let (_standalone, backend, edge) = gateway_with(&rules).await?;
    eventually(async || edge.get("a.example", "/cut").await?.seen()).await?;
    for (path, expected) in [
        ("/cut", "/"),
        ("/cut?a=b", "/?a=b"),
        ("/cut/", "/"),
        ("/cut//a", "//a"),
        ("/cut%2Fa?b", "/a?b"),
    ] {
        assert_eq!(
            edge.get("a.example", path).await?.seen()?.path,
            expected,
            "{path}"
        );
    }
    // As proxies write it, with a query and no path.
    let request =
        "GET http://a.example?whole HTTP/1.1\r\nHost: a.example\r\nX-Root: a\r\nConnection: close\r\n\r\n";
    let answer = raw(edge.address(), request.as_bytes()).await?;
    let seen = backend.seen().iter().any(|seen| seen.path == "/?whole");
    assert!(seen, "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

#[tokio::test]
async fn rewrite_replaces_the_full_path_and_keeps_the_query() -> Result<()> {
    let filter = "filters: [{ type: URLRewrite, urlRewrite: {
        path: { type: ReplaceFullPath, replaceFullPath: /one } } }]";
    let (_standalone, _backend, edge) = serving_with(filter).await?;
    let seen = edge.get("a.example", "/any/path?c=%41").await?.seen()?;
    assert_eq!(
        (seen.host.as_str(), seen.path.as_str()),
        ("a.example", "/one?c=%41")
    );
    Ok(())
}

#[tokio::test]
async fn each_backend_of_a_split_has_its_own_rewrite() -> Result<()> {
    let backend = |name: &str| {
        format!(
            "{{ name: {name}, port: 80, weight: 1, filters: [{{ type: URLRewrite, urlRewrite: {{
               hostname: {name}.example, path: {{ type: ReplacePrefixMatch, replacePrefixMatch: /{name} }} }} }}] }}"
        )
    };
    let rules = format!(
        "[{{ matches: [{{ path: {{ value: /api }} }}], backendRefs: [{}, {}] }}]",
        backend("shop"),
        backend("other")
    );
    let (standalone, shop, edge) = gateway_with(&rules).await?;
    let other = standalone.backend("other", 101).await?;
    eventually(async || {
        let seen = edge.get("a.example", "/api/a?b=c").await?.seen()?;
        assert_eq!(seen.host, format!("{}.example", seen.backend));
        assert_eq!(seen.path, format!("/{}/a?b=c", seen.backend));
        ensure!(
            shop.count("/shop/a") >= 10 && other.count("/other/a") >= 10,
            "one backend has few requests"
        );
        Ok(())
    })
    .await
}
