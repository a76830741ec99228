//! A model server without a model: it answers as vLLM would, a word at a time, as fast as it is told to.
//!
//! | request                                      | answer                                                      |
//! | -------------------------------------------- | ----------------------------------------------------------- |
//! | `POST /v1/chat/completions`, `/v1/completions` | `max_tokens` words; with `"stream": true` one event each    |
//! | `GET /v1/models`                             | the one model                                               |
//! | `GET /metrics`                               | requests that run and that wait, by vLLM's names            |
//! | `GET /health`                                | 200                                                         |
//!
//! A client that leaves ends its request at once, which the counts of `/metrics` show. HTTP/1.1, and HTTP/2 with
//! prior knowledge. See <https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html>.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{AbortHandle, JoinSet},
    time::sleep,
};

/// The model that every server has.
pub const MODEL: &str = "tide-1b";

/// The header of every answer that says who gave it.
pub const SERVED_BY: &str = "x-inference-pod";

/// What it has to say, over and over.
const WORDS: [&str; 12] = [
    "The", "fleet", "leaves", "the", "harbour", "at", "dawn", "and", "every", "ship", "knows", "its",
];

/// How many words an answer has unless the request says.
const DEFAULT_TOKENS: usize = 16;

/// How fast a server is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time to the first word.
    pub first: Duration,
    /// Time between two words.
    pub next: Duration,
    /// Requests that it works on at a time; others wait.
    pub slots: usize,
}

/// A running model server; it stops when this value is dropped.
#[derive(Debug)]
pub struct ModelServer {
    address: SocketAddr,
    load: Arc<Load>,
    listener: AbortHandle,
}

/// Requests by what they do.
#[derive(Debug, Default)]
struct Load {
    running: AtomicUsize,
    waiting: AtomicUsize,
}

/// What all connections of a server share.
#[derive(Clone, Debug)]
struct Server {
    name: HeaderValue,
    pace: Pace,
    slots: Arc<Semaphore>,
    load: Arc<Load>,
}

/// What we need of a request.
#[derive(Debug, Deserialize)]
struct Completion {
    #[serde(default)]
    model: String,
    #[serde(default)]
    stream: bool,
    max_tokens: Option<usize>,
}

/// Counts a request while it lives.
struct Counted {
    load: Arc<Load>,
    count: fn(&Load) -> &AtomicUsize,
}

/// A request that is being worked on.
struct Work {
    _running: Counted,
    _slot: OwnedSemaphorePermit,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

impl Pace {
    /// As fast as it goes, for any number of requests.
    pub const INSTANT: Self = Self {
        first: Duration::ZERO,
        next: Duration::ZERO,
        slots: Semaphore::MAX_PERMITS,
    };

    /// About as fast as people read, four at a time.
    pub const READING: Self = Self {
        first: Duration::from_millis(200),
        next: Duration::from_millis(50),
        slots: 4,
    };
}

impl ModelServer {
    /// Starts a server of this name, which its answers have in their header [`SERVED_BY`].
    pub async fn start(name: &str, address: SocketAddr, pace: Pace) -> Result<Self> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("model server {name} cannot listen at {address}"))?;
        let address = listener
            .local_addr()
            .context("a listening socket has an address")?;
        let load = Arc::<Load>::default();
        let server = Server {
            name: name.parse().context("the name is no header value")?,
            pace,
            slots: Arc::new(Semaphore::new(pace.slots)),
            load: Arc::clone(&load),
        };
        let listener = tokio::spawn(accept(listener, server)).abort_handle();
        Ok(Self {
            address,
            load,
            listener,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that it works on.
    pub fn running(&self) -> usize {
        self.load.running.load(Ordering::Relaxed)
    }

    /// Requests that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.load.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn accept(listener: TcpListener, server: Server) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        connections.spawn(serve_connection(stream, server.clone()));
    }
}

async fn serve_connection(stream: TcpStream, server: Server) {
    // A connection that fails is the client's to notice.
    drop(stream.set_nodelay(true));
    let service = service_fn(move |request| answer(request, server.clone()));
    let connection = auto::Builder::new(TokioExecutor::new());
    drop(connection.serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(request: Request<Incoming>, server: Server) -> hyper::Result<Response<Body>> {
    let name = server.name.clone();
    let path = request.uri().path().to_owned();
    let mut response = match (request.method(), path.as_str()) {
        (&Method::POST, "/v1/chat/completions" | "/v1/completions") => {
            let body = request.into_body().collect().await?.to_bytes();
            match serde_json::from_slice::<Completion>(&body) {
                Ok(completion) if completion.model == MODEL => server.complete(completion).await,
                Ok(completion) => {
                    let message = format!("The model `{}` does not exist.", completion.model);
                    failure(StatusCode::NOT_FOUND, &message)
                }
                Err(error) => failure(StatusCode::BAD_REQUEST, &error.to_string()),
            }
        }
        (&Method::GET, "/v1/models") => {
            let model = json!({ "id": MODEL, "object": "model", "owned_by": "flotilla" });
            json_response(StatusCode::OK, &json!({ "object": "list", "data": [model] }))
        }
        (&Method::GET, "/metrics") => typed("text/plain; version=0.0.4", whole(server.metrics())),
        (&Method::GET, "/health") => Response::new(whole(String::new())),
        _ => failure(StatusCode::NOT_FOUND, "Not Found"),
    };
    response.headers_mut().insert(SERVED_BY, name);
    Ok(response)
}

impl Server {
    async fn complete(self, completion: Completion) -> Response<Body> {
        let waiting = Counted::new(&self.load, |load| &load.waiting);
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let work = Work {
            _slot: slot.expect("nobody closes the semaphore"),
            _running: Counted::new(&self.load, |load| &load.running),
        };
        drop(waiting);
        let tokens = completion.max_tokens.unwrap_or(DEFAULT_TOKENS);
        if completion.stream {
            return typed("text/event-stream", self.events(tokens, work));
        }
        let others = u32::try_from(tokens.saturating_sub(1)).unwrap_or(u32::MAX);
        sleep(self.pace.first + self.pace.next * others).await;
        let text: String = (0..tokens).map(word).collect();
        let choice = json!({
            "index": 0,
            "message": { "role": "assistant", "content": text },
            "text": text,
            "finish_reason": "length",
        });
        json_response(
            StatusCode::OK,
            &json!({ "object": "chat.completion", "model": MODEL, "choices": [choice], "usage": usage(tokens) }),
        )
    }

    /// One event per word, then one with the usage and the end that `OpenAI` has for streams.
    fn events(self, tokens: usize, work: Work) -> Body {
        let Pace { first, next, .. } = self.pace;
        let events = stream::unfold((0, work), move |(number, work)| async move {
            let event = match number {
                _ if number > tokens => return None,
                _ if number == tokens => {
                    let end = json!({ "object": "chat.completion.chunk", "model": MODEL, "choices": [], "usage": usage(tokens) });
                    format!("data: {end}\n\ndata: [DONE]\n\n")
                }
                _ => {
                    let pause = if number == 0 { first } else { next };
                    if !pause.is_zero() {
                        sleep(pause).await;
                    }
                    let choice = json!({ "index": 0, "delta": { "content": word(number) } });
                    let event =
                        json!({ "object": "chat.completion.chunk", "model": MODEL, "choices": [choice] });
                    format!("data: {event}\n\n")
                }
            };
            Some((Ok(Frame::data(Bytes::from(event))), (number + 1, work)))
        });
        BodyExt::boxed_unsync(StreamBody::new(events))
    }

    /// See <https://docs.vllm.ai/en/latest/usage/metrics.html>.
    fn metrics(&self) -> String {
        let gauges = [
            ("num_requests_running", self.load.running.load(Ordering::Relaxed)),
            ("num_requests_waiting", self.load.waiting.load(Ordering::Relaxed)),
            ("kv_cache_usage_perc", 0),
        ];
        let lines = gauges.map(|(name, value)| {
            format!("# TYPE vllm:{name} gauge\nvllm:{name}{{model_name=\"{MODEL}\"}} {value}\n")
        });
        lines.concat()
    }
}

impl Counted {
    fn new(load: &Arc<Load>, count: fn(&Load) -> &AtomicUsize) -> Self {
        count(load).fetch_add(1, Ordering::Relaxed);
        Self {
            load: Arc::clone(load),
            count,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.count)(&self.load).fetch_sub(1, Ordering::Relaxed);
    }
}

fn word(number: usize) -> String {
    format!("{} ", WORDS[number % WORDS.len()])
}

fn usage(tokens: usize) -> Value {
    json!({ "prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1 })
}

fn failure(status: StatusCode, message: &str) -> Response<Body> {
    json_response(
        status,
        &json!({ "error": { "message": message, "code": status.as_u16() } }),
    )
}

fn json_response(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = typed("application/json", whole(value.to_string()));
    *response.status_mut() = status;
    response
}

fn typed(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn whole(text: String) -> Body {
    BodyExt::boxed_unsync(Full::from(text))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{
        client::{Request, Target},
        standalone::eventually,
    };

    fn chat(stream: bool, tokens: usize) -> Request {
        let body = json!({ "model": MODEL, "stream": stream, "max_tokens": tokens });
        Request::new(Method::POST, "/v1/chat/completions").body(body.to_string())
    }

    #[tokio::test]
    async fn streams_as_many_words_as_are_asked_for() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = ModelServer::start("a", address, Pace::INSTANT).await.unwrap();
        let answer = Target::http(server.address()).send(chat(true, 3)).await.unwrap();
        assert_eq!(answer.header(SERVED_BY), "a");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(text.matches("\"content\"").count(), 3, "{text}");
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    }

    #[tokio::test]
    async fn client_that_leaves_ends_its_request() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let slow = Pace {
            slots: 1,
            ..Pace::READING
        };
        let server = ModelServer::start("a", address, slow).await.unwrap();
        let target = Target::http(server.address());
        let mut clients = [target.connect().await.unwrap(), target.connect().await.unwrap()];
        let response = clients[0].open(chat(true, 1_000_000)).await.unwrap();
        let waits = async { clients[1].open(chat(true, 1)).await };
        tokio::select! {
            _ = waits => panic!("there is one slot"),
            counted = eventually(async || {
                let counts = (server.running(), server.waiting());
                anyhow::ensure!(counts == (1, 1), "{counts:?}");
                let metrics = target.get("a", "/metrics").await?;
                let text = String::from_utf8_lossy(&metrics.body).into_owned();
                anyhow::ensure!(text.contains("num_requests_waiting{model_name=\"tide-1b\"} 1"), "{text}");
                Ok(())
            }) => counted.unwrap(),
        }
        drop((response, clients));
        eventually(async || {
            anyhow::ensure!((server.running(), server.waiting()) == (0, 0), "still counted");
            Ok(())
        })
        .await
        .unwrap();
    }
}
