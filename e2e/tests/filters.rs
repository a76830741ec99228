//! What filters do to requests and answers on their way through real NGINX.

use anyhow::{Result, ensure};
use e2e::{
    client::{Request, Target},
    echo::Echo,
    manifests::{EDGE, route},
    standalone::{Standalone, eventually},
};

/// A gateway whose only route has this one rule, as flow-style YAML, and a Service `shop` behind it.
async fn gateway_with(rule: &str) -> Result<(Standalone, Echo, Target)> {
    let route = route("route", &format!("rules: [{{ {rule} }}]"));
    let standalone = Standalone::start(&[("edge.yaml", EDGE), ("route.yaml", &route)]).await?;
    let backend = standalone.backend("shop", 100).await?;
    let edge = standalone.edge().await?;
    Ok((standalone, backend, edge))
}

/// The same, once it answers from the backend.
async fn serving_with(rule: &str) -> Result<(Standalone, Echo, Target)> {
    let (standalone, backend, edge) =
        gateway_with(&format!("{rule}, backendRefs: [{{ name: shop, port: 80 }}]")).await?;
    eventually(async || edge.get("a.example", "/warm-up").await?.seen()).await?;
    Ok((standalone, backend, edge))
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
    let values = |name: &str| {
        let pairs = seen.headers.iter().filter(|(header, _)| header == name);
        pairs
            .map(|(_, value)| value.as_str())
            .collect::<Vec<_>>()
            .join(",")
    };
    assert_eq!(values("x-set"), "new");
    assert_eq!(values("x-add"), "first,second");
    assert_eq!(values("x-remove"), "");
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
    let values = |name: &str| {
        let values = answer
            .headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap_or_default());
        values.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(values("x-set"), "new");
    assert_eq!(values("x-add"), "first, second");
    assert_eq!(values("x-remove"), "");
    Ok(())
}

#[tokio::test]
async fn redirect_keeps_what_it_does_not_name() -> Result<()> {
    let rule = "matches: [{ path: { value: /old } }], filters: [{ type: RequestRedirect, requestRedirect: {
        scheme: https, hostname: new.example, statusCode: 301,
        path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } } }]";
    let (_standalone, _backend, edge) = gateway_with(rule).await?;
    for (path, location) in [
        ("/old", "https://new.example/new"),
        ("/old/a%20b?c=d", "https://new.example/new/a%20b?c=d"),
    ] {
        let answer = eventually(async || {
            let answer = edge.get("a.example", path).await?;
            ensure!(answer.status == 301, "{answer}");
            Ok(answer)
        })
        .await?;
        assert_eq!(answer.header("location"), location);
    }
    Ok(())
}

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
async fn mirror_gets_a_copy_and_its_answer_is_ignored() -> Result<()> {
    let filter =
        "filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: copy, port: 80 } } }]";
    let (standalone, _backend, edge) = serving_with(filter).await?;
    let copy = standalone.backend("copy", 101).await?;
    eventually(async || {
        edge.get("a.example", "/probe").await?.seen()?;
        ensure!(copy.count("/probe") > 0, "the mirror is not known yet");
        Ok(())
    })
    .await?;
    let answer = edge
        .send(Request::get("/copied?a=b").host("a.example").body("body"))
        .await?;
    assert_eq!(answer.seen()?.backend, "shop");
    let mirrored = eventually(async || {
        let seen = copy.seen().into_iter().find(|seen| seen.path == "/copied?a=b");
        seen.ok_or_else(|| anyhow::anyhow!("no copy yet"))
    })
    .await?;
    assert_eq!((mirrored.body, mirrored.host.as_str()), (4, "a.example"));
    Ok(())
}

#[tokio::test]
async fn cors_answers_preflights_of_the_origins_it_allows() -> Result<()> {
    let filter = "filters: [{ type: CORS, cors: {
        allowOrigins: ['https://*.example'], allowMethods: [GET, PUT], allowHeaders: [x-token], maxAge: 60 } }]";
    let (_standalone, _backend, edge) = serving_with(filter).await?;
    let preflight = |origin: &str| {
        let request = Request::new(hyper::Method::OPTIONS, "/")
            .host("a.example")
            .header("origin", origin);
        request.header("access-control-request-method", "PUT")
    };
    let answer = edge.send(preflight("https://a.example")).await?;
    assert!(answer.status.is_success(), "{answer}");
    assert_eq!(answer.header("access-control-allow-origin"), "https://a.example");
    assert!(
        answer.header("access-control-allow-methods").contains("PUT"),
        "{answer}"
    );
    let answer = edge.send(preflight("https://a.test")).await?;
    assert_eq!(answer.header("access-control-allow-origin"), "", "{answer}");
    Ok(())
}
