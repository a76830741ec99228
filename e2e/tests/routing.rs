//! Requests through real NGINX reach the backend that the objects say.

use anyhow::{Result, ensure};
use e2e::{
    client::{Protocol, Request, Target, raw},
    echo::Echo,
    manifests::{EDGE, route, route_to},
    standalone::{Standalone, eventually},
};

/// A gateway that sends `shop.example` to the Service `shop`, once it does.
async fn shop() -> Result<(Standalone, Echo, Target)> {
    let route = route_to("shop.example", "shop");
    let standalone = Standalone::start(&[("edge.yaml", EDGE), ("route.yaml", &route)]).await?;
    let backend = standalone.backend("shop", 100).await?;
    let edge = standalone.edge().await?;
    eventually(async || edge.get("shop.example", "/").await?.seen()).await?;
    Ok((standalone, backend, edge))
}

#[tokio::test]
async fn host_and_path_lead_to_the_backend() -> Result<()> {
    let rules = "hostnames: [shop.example], rules: [
        { matches: [{ path: { type: PathPrefix, value: /cart } }], backendRefs: [{ name: cart, port: 80 }] },
        { matches: [{ path: { type: Exact, value: /about } }], backendRefs: [{ name: shop, port: 80 }] }]";
    let standalone = Standalone::start(&[("edge.yaml", EDGE), ("route.yaml", &route("shop", rules))]).await?;
    let _backends = [
        standalone.backend("shop", 100).await?,
        standalone.backend("cart", 101).await?,
    ];
    let edge = standalone.edge().await?;
    eventually(async || edge.get("shop.example", "/cart/1?x=y").await?.seen()).await?;
    for (path, backend) in [("/cart", "cart"), ("/cart/1", "cart"), ("/about", "shop")] {
        let seen = eventually(async || edge.get("shop.example", path).await?.seen()).await?;
        assert_eq!(
            (seen.backend.as_str(), seen.path.as_str(), seen.host.as_str()),
            (backend, path, "shop.example")
        );
    }
    for (host, path) in [
        ("shop.example", "/cartoon"),
        ("shop.example", "/about/us"),
        ("other.example", "/cart"),
    ] {
        assert_eq!(edge.get(host, path).await?.status, 404, "{host}{path}");
    }
    Ok(())
}

#[tokio::test]
async fn exact_path_with_a_slash_at_its_end_is_not_the_path_without() -> Result<()> {
    let exact = |path: &str, backend: &str| {
        format!(
            "{{ matches: [{{ path: {{ type: Exact, value: {path} }} }}], backendRefs: [{{ name: {backend}, port: 80 }}] }}"
        )
    };
    let all = "{ matches: [{ path: { value: /below } }], backendRefs: [{ name: other, port: 80 }] }";
    let rules = [
        exact("/alone/", "shop"),
        exact("/below/list/", "shop"),
        all.to_owned(),
    ];
    let rules = format!("rules: [{}]", rules.join(", "));
    let standalone =
        Standalone::start(&[("edge.yaml", EDGE), ("route.yaml", &route("shop", &rules))]).await?;
    let _backends = [
        standalone.backend("shop", 100).await?,
        standalone.backend("other", 101).await?,
    ];
    let edge = standalone.edge().await?;
    for (path, backend) in [
        ("/alone/", "shop"),
        ("/below/list/", "shop"),
        ("/below/list", "other"),
    ] {
        let seen = eventually(async || edge.get("a.example", path).await?.seen()).await?;
        assert_eq!((seen.backend.as_str(), seen.path.as_str()), (backend, path));
    }
    assert_eq!(edge.get("a.example", "/alone").await?.status, 404);
    Ok(())
}

#[tokio::test]
async fn target_reaches_the_backend_as_it_was_sent() -> Result<()> {
    let (_standalone, _backend, edge) = shop().await?;
    for target in ["/a%2Fb//c?d=%20+e", "/%41?", "/a/../b", "/?a&b=&&c"] {
        assert_eq!(edge.get("shop.example", target).await?.seen()?.path, target);
    }
    Ok(())
}

#[tokio::test]
async fn weights_split_requests_and_zero_is_zero() -> Result<()> {
    let rules = "rules: [{ backendRefs: [
        { name: most, port: 80, weight: 90 }, { name: some, port: 80, weight: 10 }, { name: none, port: 80, weight: 0 }] }]";
    let standalone =
        Standalone::start(&[("edge.yaml", EDGE), ("route.yaml", &route("split", rules))]).await?;
    let most = standalone.backend("most", 100).await?;
    let some = standalone.backend("some", 101).await?;
    let none = standalone.backend("none", 102).await?;
    let edge = standalone.edge().await?;
    eventually(async || {
        edge.get("a.example", "/").await?.seen()?;
        ensure!(
            most.count("/") > 0 && some.count("/") > 0,
            "both backends have to be known first"
        );
        Ok(())
    })
    .await?;
    let mut connection = edge.connect().await?;
    for _ in 0..1000 {
        connection
            .send(Request::get("/counted").host("a.example"))
            .await?
            .seen()?;
    }
    // With a chance of 0.1, fewer than 60 or more than 140 of 1,000 happen once in 40,000 runs.
    assert!(
        (60..=140).contains(&some.count("/counted")),
        "{}",
        some.count("/counted")
    );
    assert_eq!(most.count("/counted") + some.count("/counted"), 1000);
    assert_eq!(none.seen().len(), 0);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_resolved_is_500_and_what_is_not_ready_is_503() -> Result<()> {
    let manifests = [
        ("edge.yaml", EDGE),
        ("missing.yaml", &route_to("missing.example", "missing")),
        ("empty.yaml", &route_to("empty.example", "empty")),
        ("service.yaml", &e2e::manifests::service("empty", &[])),
    ];
    let standalone = Standalone::start(&manifests).await?;
    let edge = standalone.edge().await?;
    for (host, status) in [("missing.example", 500), ("empty.example", 503)] {
        eventually(async || {
            let answer = edge.get(host, "/").await?;
            ensure!(answer.status == status, "{host}: {answer}");
            Ok(())
        })
        .await?;
    }
    let name = ("HTTPRoute", "default", "missing.example");
    let condition = standalone.condition(name, "ResolvedRefs", "False").await?;
    assert_eq!(condition.reason, "BackendNotFound");
    assert!(
        condition.message.contains("default/missing"),
        "{}",
        condition.message
    );
    Ok(())
}

#[tokio::test]
async fn listener_that_owns_a_host_does_not_fall_back_to_another() -> Result<()> {
    let listeners = EDGE.replace(
        "    - { name: http, protocol: HTTP, port: 8080 }",
        "    - { name: any, protocol: HTTP, port: 8080 }\n    \
         - { name: shop, protocol: HTTP, port: 8080, hostname: '*.shop.example' }",
    );
    let section = |name: &str, section: &str, path: &str| {
        let rule = format!(
            "rules: [{{ matches: [{{ path: {{ value: {path} }} }}], backendRefs: [{{ name: shop, port: 80 }}] }}]"
        );
        route(name, &rule).replace(
            "{ name: edge }",
            &format!("{{ name: edge, sectionName: {section} }}"),
        )
    };
    let manifests = [
        ("edge.yaml", listeners.as_str()),
        ("any.yaml", &section("any", "any", "/any")),
        ("shop.yaml", &section("shop", "shop", "/shop")),
    ];
    let standalone = Standalone::start(&manifests).await?;
    let _backend = standalone.backend("shop", 100).await?;
    let edge = standalone.edge().await?;
    eventually(async || edge.get("other.example", "/any").await?.seen()).await?;
    eventually(async || edge.get("a.shop.example", "/shop").await?.seen()).await?;
    assert_eq!(edge.get("a.shop.example", "/any").await?.status, 404);
    assert_eq!(edge.get("other.example", "/shop").await?.status, 404);
    Ok(())
}

#[tokio::test]
async fn protocols_reach_the_backend() -> Result<()> {
    let (_standalone, _backend, edge) = shop().await?;
    let h2c = edge.clone().protocol(Protocol::Http2);
    assert_eq!(
        h2c.get("shop.example", "/").await?.version,
        hyper::Version::HTTP_2
    );

    let mut connection = edge.connect().await?;
    let upgrade = Request::get("/chat")
        .host("shop.example")
        .header("connection", "upgrade");
    let upgrade = upgrade
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13");
    let response = connection
        .open(upgrade.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="))
        .await?;
    assert_eq!(response.status(), 101);
    assert_eq!(
        response.headers()["sec-websocket-accept"],
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );

    let events = edge.get("shop.example", "/?stream=5").await?;
    assert_eq!(events.header("content-type"), "text/event-stream");
    Ok(())
}

#[tokio::test]
async fn requests_that_are_not_http_leave_the_gateway_serving() -> Result<()> {
    let (_standalone, _backend, edge) = shop().await?;
    for request in [
        &b"GET /../../etc/passwd HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"[..],
        b"GET /%00 HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01 this is TLS\r\n\r\n",
    ] {
        let answer = raw(edge.address(), request).await?;
        assert!(
            answer.starts_with(b"HTTP/1.1 400"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    edge.get("shop.example", "/").await?.seen()?;
    Ok(())
}
