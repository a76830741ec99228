//! What the backend answers.

use std::{convert::Infallible, time::Duration};

use futures::{SinkExt, StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{
        CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
    },
};
use hyper_util::rt::TokioIo;
use tokio::time::{interval, sleep};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

use super::Backend;

/// How often streams have an event, unless the request says.
const EVENT: Duration = Duration::from_millis(100);

type Body = BoxBody<Bytes, Infallible>;

/// What a request wants, which is remembered.
pub(super) async fn answer(
    mut request: Request<Incoming>,
    backend: Backend,
) -> hyper::Result<Response<Body>> {
    if let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY).cloned() {
        backend.remember(&request, 0);
        return Ok(upgrade(&mut request, &key));
    }
    let body = request.body_mut().collect().await?.to_bytes();
    let seen = backend.remember(&request, body.len());
    let query = Query(request.uri().query().unwrap_or_default());
    if let Some(delay) = query.milliseconds("delay") {
        sleep(delay).await;
    }
    let (content_type, body) = if let Some(events) = query.number("stream") {
        (
            "text/event-stream",
            event_stream(events, query.milliseconds("each").unwrap_or(EVENT)),
        )
    } else if query.value("back").is_some() {
        ("application/octet-stream", BodyExt::boxed(Full::new(body)))
    } else {
        let seen = serde_json::to_vec(&seen).expect("strings and numbers are JSON");
        ("application/json", whole(seen))
    };
    let mut response = Response::new(body);
    *response.status_mut() = wanted_status(request.uri().path());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    for wanted in request.headers().get_all("x-echo-set-header") {
        if let Some((name, value)) = header_line(wanted) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

fn upgrade(request: &mut Request<Incoming>, key: &HeaderValue) -> Response<Body> {
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let stream = TokioIo::new(upgraded.await?);
        let messages = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let (sink, stream) = messages.split();
        let echoed = stream.try_filter(|message| {
            let echo = message.is_text() || message.is_binary();
            async move { echo }
        });
        echoed.forward(sink.sink_map_err(Into::into)).await?;
        anyhow::Ok(())
    });
    let mut response = Response::new(whole(Vec::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).expect("base64 is a header value");
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

fn event_stream(events: u64, each: Duration) -> Body {
    let ticks = stream::unfold(interval(each), |mut interval| async {
        interval.tick().await;
        Some(((), interval))
    });
    let events = ticks.zip(stream::iter(0..events)).map(|((), number)| {
        let event = format!("id: {number}\ndata: event {number}\n\n");
        Ok(Frame::data(Bytes::from(event)))
    });
    BodyExt::boxed(StreamBody::new(events))
}

fn whole(body: Vec<u8>) -> Body {
    BodyExt::boxed(Full::from(body))
}

fn wanted_status(path: &str) -> StatusCode {
    let status = path
        .strip_prefix("/status/")
        .and_then(|status| status.parse().ok());
    status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::OK)
}

fn header_line(line: &HeaderValue) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.to_str().ok()?.split_once(':')?;
    Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
}

/// The query of a request to the backend: plain `name=value` pairs.
struct Query<'a>(&'a str);

impl Query<'_> {
    fn value(&self, wanted: &str) -> Option<&str> {
        let mut pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.parse().ok()
    }

    fn milliseconds(&self, name: &str) -> Option<Duration> {
        Some(Duration::from_millis(
            self.value(name)?.strip_suffix("ms")?.parse().ok()?,
        ))
    }
}
