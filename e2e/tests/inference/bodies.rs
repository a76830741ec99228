//! Bodies reach the pod exactly as the picker returned them, and clients as it returned the pod's.

use anyhow::{Context, Result};
use e2e::{
    client::{Protocol, Request, raw},
    inference::served_pool::{HOST, Options, ServedPool},
    standalone::Standalone,
};
use hyper::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SIZES: [usize; 9] = [0, 1, 1_000, 61_999, 62_000, 62_001, 131_072, 3_000_000, 20 << 20];

/// Takes bodies of 20 MiB.
const LARGE: Options<'static> = Options {
    pods: 2,
    failure_mode: "FailClose",
    app_protocol: "http",
    proxy: "{ buffers: { request: 32Mi } }",
};

/// Bytes in which nothing can be lost, doubled or exchanged unnoticed.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = (0..length.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length).collect()
}

/// Whatever NGINX says of files that bodies were written to.
fn temporary_files(standalone: &Standalone) -> Result<Vec<String>> {
    let log = std::fs::read_to_string(standalone.state().with_file_name("flotilla.log"))?;
    let lines = log.lines().filter(|line| line.contains("temporary file"));
    Ok(lines.map(str::to_owned).collect())
}

#[tokio::test]
async fn bodies_with_a_length_are_whole_both_ways() -> Result<()> {
    let pool = ServedPool::with(LARGE).await?;
    for size in SIZES {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let body = bytes(size);
            let request = Request::new(Method::POST, "/?back=yes")
                .host(HOST)
                .body(body.clone());
            let answer = pool.edge.clone().protocol(protocol).send(request).await?;
            assert_eq!(answer.status, 200, "{size} bytes over {protocol:?}");
            assert!(
                answer.body == body,
                "{size} bytes over {protocol:?}: {} came back",
                answer.body.len()
            );
        }
    }
    assert_eq!(temporary_files(&pool.standalone)?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn bodies_in_chunks_are_whole_both_ways() -> Result<()> {
    let pool = ServedPool::with(LARGE).await?;
    let address = pool.standalone.gateway("default", "edge", 8080).await?;
    for size in SIZES {
        let body = bytes(size);
        let mut request = format!(
            "POST /?back=yes HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        .into_bytes();
        for chunk in body.chunks(50_001) {
            request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            request.extend_from_slice(chunk);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        let answer = raw(address, &request).await?;
        let (head, returned) = split(&answer)?;
        assert!(head.starts_with("HTTP/1.1 200"), "{size} bytes: {head}");
        let returned = if head.to_lowercase().contains("transfer-encoding: chunked") {
            dechunked(returned)?
        } else {
            returned.to_vec()
        };
        assert!(returned == body, "{size} bytes: {} came back", returned.len());
    }
    assert_eq!(temporary_files(&pool.standalone)?, Vec::<String>::new());
    Ok(())
}

/// Head and body of a response.
fn split(answer: &[u8]) -> Result<(String, &[u8])> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.with_context(|| format!("no head in {:?}", String::from_utf8_lossy(answer)))?;
    Ok((
        String::from_utf8_lossy(&answer[..end]).into_owned(),
        &answer[end + 4..],
    ))
}

fn dechunked(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n");
        let end = end.context("a chunk has a length")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end])?, 16)?;
        rest = &rest[end + 2..];
        if length == 0 {
            return Ok(whole);
        }
        whole.extend_from_slice(rest.get(..length).context("a chunk is as long as it says")?);
        rest = &rest[length + 2..];
    }
}

#[tokio::test]
async fn client_that_expects_100_continue_gets_it_first() -> Result<()> {
    let pool = ServedPool::with(LARGE).await?;
    let address = pool.standalone.gateway("default", "edge", 8080).await?;
    for size in [10, 100_000, 20 << 20] {
        let body = bytes(size);
        let head = format!(
            "POST /?back=yes HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nExpect: 100-continue\r\n\
             Content-Length: {size}\r\n\r\n"
        );
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(head.as_bytes()).await?;
        let expected = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut said = vec![0; expected.len()];
        stream.read_exact(&mut said).await?;
        assert_eq!(String::from_utf8_lossy(&said), String::from_utf8_lossy(expected));
        stream.write_all(&body).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let (head, returned) = split(&answer)?;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let whole = if head.to_lowercase().contains("transfer-encoding: chunked") {
            dechunked(returned)?
        } else {
            returned.to_vec()
        };
        assert!(whole == body, "{size} bytes");
    }
    Ok(())
}

#[tokio::test]
async fn body_that_is_longer_than_the_picker_may_see_is_refused_with_413() -> Result<()> {
    let pool = ServedPool::with(Options {
        proxy: "{ buffers: { request: 100k } }",
        ..Options::default()
    })
    .await?;
    for (length, status) in [(90_000, 200), (200_000, 413), (3_000_000, 413)] {
        let request = Request::new(Method::POST, "/?back=yes").body(bytes(length));
        let answer = pool.send(request).await?;
        assert_eq!(answer.status.as_u16(), status, "{length} bytes");
    }
    Ok(())
}
