//! Requests, responses and bodies that pass by a picker.

use std::io;

use agent::proxy::picker::{held::Held, respond::Passing};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody, combinators::BoxBody};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::UnboundedReceiverStream};

use super::soon;

pub type Body = BoxBody<Bytes, io::Error>;
/// Sends the chunks of a body.
pub type Sender = mpsc::UnboundedSender<Frame<Bytes>>;

pub fn get() -> http::Request<Body> {
    http::Request::get("/v1/models").body(empty()).unwrap()
}

pub fn post(body: Body) -> http::Request<Body> {
    http::Request::post("/v1/completions")
        .header("host", "models.example")
        .body(body)
        .unwrap()
}

pub fn empty() -> Body {
    http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed()
}

/// A body whose length is known.
pub fn full(body: impl Into<Bytes>) -> Body {
    http_body_util::Full::new(body.into())
        .map_err(|never| match never {})
        .boxed()
}

/// A body whose length is not known, and where its chunks are sent.
pub fn chunks() -> (Sender, Body) {
    let (sender, chunks) = mpsc::unbounded_channel();
    let chunks = UnboundedReceiverStream::new(chunks).map(Ok);
    (sender, StreamBody::new(chunks).boxed())
}

/// A body that does not come to its end.
pub fn cut(beginning: &'static str) -> Body {
    let frames = [
        Ok(Frame::data(beginning.into())),
        Err(io::ErrorKind::UnexpectedEof.into()),
    ];
    StreamBody::new(tokio_stream::iter(frames)).boxed()
}

pub fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(text.into())
}

pub async fn text(body: Held<Body>) -> String {
    String::from_utf8(soon(body.collect()).await.unwrap().to_bytes().into()).unwrap()
}

pub async fn next(body: &mut Passing<Body>) -> String {
    let frame = soon(body.frame()).await.expect("more comes").unwrap();
    String::from_utf8(frame.into_data().unwrap().into()).unwrap()
}
