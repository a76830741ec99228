//! Heads of requests and responses as large as NGINX takes them.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use e2e::{
    client::{Protocol, Request},
    inference::served_pool::{HOST, ServedPool},
    standalone::eventually,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// More than most servers and clients that are written in Rust take.
const HEADERS: usize = 150;

/// Answers one request with as many headers as it has of those that begin so, after an interim response.
async fn mirror(listener: TcpListener, beginning: &str) -> Result<()> {
    let (mut stream, _) = listener.accept().await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let count = String::from_utf8_lossy(&head)
        .lines()
        .filter(|line| line.to_ascii_lowercase().starts_with(beginning))
        .count();
    let mut response = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n\
                        HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"
        .to_owned();
    for number in 0..count {
        write!(response, "{beginning}{number}: 1\r\n")?;
    }
    stream.write_all(format!("{response}\r\n").as_bytes()).await?;
    // Until the gateway has had enough.
    drop(stream.read_u8().await);
    Ok(())
}

#[tokio::test]
async fn many_headers_pass_both_ways_and_interim_responses_do_not() -> Result<()> {
    let mut pool = ServedPool::start().await?;
    let address = pool.pod(0);
    drop(pool.pods.remove(0));
    let listener = eventually(async || Ok(TcpListener::bind(address).await?)).await?;
    let pod = tokio::spawn(mirror(listener, "x-many-"));
    pool.picker.choose(&address.to_string());
    let request = (0..HEADERS).fold(Request::get("/").host(HOST), |request, number| {
        request.header(&format!("x-many-{number}"), "1")
    });
    // The client counts headers in HTTP/1.1 itself.
    let answer = pool.edge.clone().protocol(Protocol::Http2).send(request).await?;
    assert_eq!(answer.status, 200, "{answer}");
    let names = answer.headers.keys();
    let many = names.filter(|name| name.as_str().starts_with("x-many-")).count();
    assert_eq!(many, HEADERS, "{answer}");
    assert_eq!(answer.header("link"), "", "{answer}");
    pod.abort();
    pod.await
        .map_or(Ok(()), |served| served.context("the pod has failed"))
}
