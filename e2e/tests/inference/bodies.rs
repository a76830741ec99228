//! Bodies reach the pod exactly as the picker returned them, and clients as it returned the pod's.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    client::{Protocol, Request, raw},
    inference::{
        picker::{Exchange, Picker, streamed},
        served_pool::{HOST, Options, ServedPool},
    },
    standalone::{Standalone, eventually},
};
use hyper::Method;
use proto::envoy::service::ext_proc::v3::{
    HttpBody, ProcessingRequest, ProcessingResponse, external_processor_client::ExternalProcessorClient,
    processing_request::Request as Part, processing_response::Response as Verdict,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, Status, transport::Endpoint};

const SIZES: [usize; 9] = [0, 1, 1_000, 61_999, 62_000, 62_001, 131_072, 3_000_000, 20 << 20];

/// Takes bodies of 20 MiB.
const LARGE: Options<'static> = Options {
    pods: 2,
    failure_mode: "FailClose",
    app_protocol: "http",
    proxy: "{ buffers: { request: 32Mi } }",
    nginx: "{}",
};

/// Bytes in which nothing can be lost, doubled or exchanged unnoticed.
pub fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = (0..length.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length).collect()
}

/// The folders in which NGINX would put what it does not want to hold in memory.
///
/// It takes a file's name away as soon as the file is there, but making it has changed the folder.
struct TemporaryFiles<'a> {
    standalone: &'a Standalone,
    changed: BTreeMap<PathBuf, SystemTime>,
}

impl<'a> TemporaryFiles<'a> {
    fn watch(standalone: &'a Standalone) -> Result<Self> {
        let changed = temporary_folders(&standalone.gateway_folder()?)?;
        ensure!(!changed.is_empty(), "NGINX has its temporary files elsewhere");
        Ok(Self { standalone, changed })
    }

    /// Fails when there was one.
    fn expect_none(&self) -> Result<()> {
        let folder = self.standalone.gateway_folder()?;
        let log = fs::read_to_string(folder.join("agent.log"))?;
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("temporary file"))
            .collect();
        ensure!(lines.is_empty(), "NGINX says {lines:#?}");
        let changed = temporary_folders(&folder)?;
        ensure!(
            changed == self.changed,
            "{changed:#?} in place of {:#?}",
            self.changed
        );
        Ok(())
    }
}

/// With when something last came into them or went.
fn temporary_folders(gateway: &Path) -> Result<BTreeMap<PathBuf, SystemTime>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(gateway)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        if entry.file_name().to_string_lossy().ends_with("_temp") {
            found.insert(entry.path(), entry.metadata()?.modified()?);
        }
        found.extend(temporary_folders(&entry.path())?);
    }
    Ok(found)
}

/// Whoever speaks HTTP/1.1 or HTTP/2 sends bodies with a length to pods that speak either.
async fn bodies_with_a_length(app_protocol: &str) -> Result<()> {
    let pool = ServedPool::with(Options {
        app_protocol,
        ..LARGE
    })
    .await?;
    let files = TemporaryFiles::watch(&pool.standalone)?;
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
    files.expect_none()
}

#[tokio::test]
async fn bodies_with_a_length_are_whole_both_ways() -> Result<()> {
    bodies_with_a_length("http").await
}

#[tokio::test]
async fn bodies_with_a_length_are_whole_both_ways_for_pods_of_http2() -> Result<()> {
    bodies_with_a_length("kubernetes.io/h2c").await
}

#[tokio::test]
async fn bodies_in_chunks_are_whole_both_ways() -> Result<()> {
    let pool = ServedPool::with(LARGE).await?;
    let files = TemporaryFiles::watch(&pool.standalone)?;
    for size in SIZES {
        // NGINX keeps trailers of requests for itself; what comes before them is to be whole.
        for trailers in ["", "x-checksum: none\r\nx-other: one\r\n"] {
            let body = bytes(size);
            let request = [head("Transfer-Encoding: chunked"), chunked(&body, trailers)].concat();
            let answer = raw(pool.edge.address(), &request).await?;
            let returned = returned(&answer)?;
            assert!(
                returned == body,
                "{size} bytes and {trailers:?}: {} came back",
                returned.len()
            );
        }
    }
    files.expect_none()
}

#[tokio::test]
async fn client_that_expects_100_continue_gets_it_first() -> Result<()> {
    let pool = ServedPool::with(LARGE).await?;
    let files = TemporaryFiles::watch(&pool.standalone)?;
    for size in [1, 10, 100_000, 20 << 20] {
        let body = bytes(size);
        let framings = [
            (format!("Content-Length: {size}"), body.clone()),
            ("Transfer-Encoding: chunked".into(), chunked(&body, "")),
            (
                "Transfer-Encoding: chunked".into(),
                chunked(&body, "x-checksum: none\r\n"),
            ),
        ];
        for (framing, sent) in framings {
            let returned = after_100_continue(pool.edge.address(), &framing, &sent);
            let returned = timeout(Duration::from_mins(1), returned).await??;
            assert!(returned == body, "{size} bytes with {framing}");
        }
    }
    files.expect_none()
}

/// Sends a body when it is asked for, and returns what comes back of it.
async fn after_100_continue(edge: SocketAddr, framing: &str, body: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(edge).await?;
    stream
        .write_all(&head(&format!("{framing}\r\nExpect: 100-continue")))
        .await?;
    let expected = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut said = vec![0; expected.len()];
    stream.read_exact(&mut said).await?;
    ensure!(said == expected, "{:?}", String::from_utf8_lossy(&said));
    stream.write_all(body).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    returned(&answer)
}

/// The head of a request whose body is to come back.
fn head(framing: &str) -> Vec<u8> {
    format!("POST /?back=yes HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{framing}\r\n\r\n").into_bytes()
}

/// A body in chunks that are no picker's, with trailers, each with its line break.
fn chunked(body: &[u8], trailers: &str) -> Vec<u8> {
    let mut chunked = Vec::new();
    for chunk in body.chunks(50_001) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
    chunked
}

/// The body of a good response.
pub fn returned(answer: &[u8]) -> Result<Vec<u8>> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.with_context(|| format!("no head in {:?}", String::from_utf8_lossy(answer)))?;
    let (head, body) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    if head.to_lowercase().contains("transfer-encoding: chunked") {
        dechunked(body)
    } else {
        Ok(body.to_vec())
    }
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
async fn grpc_messages_are_whole_both_ways_with_the_trailers_after_them() -> Result<()> {
    // The gRPC service that a test has at hand is a picker; here it stands for a pod.
    let mut pool = ServedPool::with(Options {
        app_protocol: "kubernetes.io/h2c",
        ..LARGE
    })
    .await?;
    let address = pool.pod(0);
    drop(pool.pods.remove(0));
    let echo = async |mut exchange: Exchange| {
        while let Some(message) = exchange.next().await? {
            if let Some(Part::RequestBody(message)) = message.request {
                exchange.pass_chunk(message).await?;
            }
        }
        Err(Status::failed_precondition("that was all"))
    };
    let _pod = eventually(async || Picker::start(address, echo).await).await?;
    pool.picker.choose(&address.to_string());
    let files = TemporaryFiles::watch(&pool.standalone)?;
    let channel = Endpoint::try_from(format!("http://{}", pool.edge.address()))?
        .origin(format!("http://{HOST}").parse()?)
        .connect()
        .await?;
    let mut client = ExternalProcessorClient::new(channel);
    // None is longer than gRPC takes by default; all of them together are.
    let lengths = [0, 1, 61_999, 62_000, 62_001, 131_072, 3_000_000, 0];
    let lengths = [lengths.as_slice(), &[3_000_000; 5]].concat();
    let messages = lengths.iter().map(|length| bytes(*length)).map(message);
    let messages: Vec<ProcessingRequest> = messages.collect();
    let mut answers = client
        .process(futures::stream::iter(messages))
        .await?
        .into_inner();
    for length in lengths {
        let answer = answers.message().await?.context("an answer to each message")?;
        assert_eq!(answer, said(bytes(length)), "the message of {length} bytes");
    }
    let status = answers
        .message()
        .await
        .expect_err("the status is in the trailers");
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "that was all")
    );
    files.expect_none()
}

fn message(body: Vec<u8>) -> ProcessingRequest {
    ProcessingRequest {
        request: Some(Part::RequestBody(HttpBody {
            body: body.into(),
            ..HttpBody::default()
        })),
        ..ProcessingRequest::default()
    }
}

fn said(body: Vec<u8>) -> ProcessingResponse {
    ProcessingResponse {
        response: Some(Verdict::ResponseBody(streamed(body.into(), false))),
        ..ProcessingResponse::default()
    }
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
