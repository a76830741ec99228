//! What is spoken with clients and with backends.

use anyhow::{Context, Result};
use e2e::{
    client::{Protocol, Request, Target, raw},
    echo::{Echo, Seen},
    manifests::{EDGE, route, route_to, service},
    standalone::{Standalone, eventually},
};
use futures::{SinkExt, StreamExt};
use hyper::Method;
use tokio::net::TcpStream;
use tokio_tungstenite::{client_async, tungstenite::Message};

/// A gateway that sends `shop.example` to a Service whose port says that it speaks this.
async fn gateway_to(app_protocol: &str) -> Result<(Standalone, Echo, Target)> {
    let route = route_to("shop.example", "shop");
    let standalone = Standalone::start(&[("edge.yaml", EDGE), ("route.yaml", &route)]).await?;
    let backend = standalone.echo("shop", 100).await?;
    let service = service("shop", &[backend.address()]);
    let port = format!("name: http, appProtocol: {app_protocol}, port: 80,");
    standalone.apply("service.yaml", &service.replace("name: http, port: 80,", &port))?;
    let edge = standalone.edge().await?;
    eventually(async || edge.get("shop.example", "/").await?.seen()).await?;
    Ok((standalone, backend, edge))
}

#[tokio::test]
async fn backend_of_http2_gets_requests_in_it_whatever_the_client_speaks() -> Result<()> {
    let (_standalone, _backend, edge) = gateway_to("kubernetes.io/h2c").await?;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let client = edge.clone().protocol(protocol);
        for (method, body) in [(Method::GET, ""), (Method::POST, "hello")] {
            let request = Request::new(method.clone(), "/a%20b?c=d").host("shop.example");
            let seen = client.send(request.body(body)).await?.seen()?;
            let expected = (
                "HTTP/2.0",
                method.as_str(),
                "/a%20b?c=d",
                "shop.example",
                body.len(),
            );
            let Seen {
                proto,
                method,
                path,
                host,
                body,
                ..
            } = &seen;
            assert_eq!(
                (&**proto, &**method, &**path, &**host, *body),
                expected,
                "{protocol:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn client_of_http2_without_tls_reaches_an_ordinary_backend() -> Result<()> {
    let (_standalone, _backend, edge) = gateway_to("http").await?;
    let client = edge.protocol(Protocol::Http2);
    let request = Request::new(Method::POST, "/").host("shop.example").body("hello");
    let answer = client.send(request).await?;
    assert_eq!(answer.version, hyper::Version::HTTP_2);
    let seen = answer.seen()?;
    assert_eq!((seen.proto.as_str(), seen.body), ("HTTP/1.1", 5));
    Ok(())
}

#[tokio::test]
async fn backend_is_told_the_address_for_a_host_where_a_client_of_http_1_0_names_none() -> Result<()> {
    let route = route("any", "rules: [{ backendRefs: [{ name: shop, port: 80 }] }]");
    let standalone = Standalone::start(&[("edge.yaml", EDGE), ("route.yaml", &route)]).await?;
    let backend = standalone.backend("shop", 100).await?;
    let edge = standalone.edge().await?;
    eventually(async || edge.get("any.example", "/").await?.seen()).await?;
    raw(edge.address(), b"GET /nameless HTTP/1.0\r\n\r\n").await?;
    let seen = backend.seen().into_iter().find(|seen| seen.path == "/nameless");
    let host = seen.context("the backend has not seen it")?.host;
    assert_eq!(host, edge.address().ip().to_string());
    Ok(())
}

#[tokio::test]
async fn web_socket_messages_go_both_ways() -> Result<()> {
    let (standalone, _backend, _edge) = gateway_to("kubernetes.io/ws").await?;
    let stream = TcpStream::connect(standalone.gateway("default", "edge", 8080).await?).await?;
    let (mut socket, _) = client_async("ws://shop.example/chat", stream).await?;
    for message in [Message::text("hello"), Message::binary(vec![0; 100_000])] {
        socket.send(message.clone()).await?;
        let answer = socket
            .next()
            .await
            .context("the gateway has closed the socket")??;
        assert_eq!(answer, message);
    }
    Ok(())
}
