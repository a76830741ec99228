//! The response's half of an exchange: on its way to the client through the picker, or past it once it is gone.

use std::{
    future::{Future as _, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, StatusCode, header::CONTENT_LENGTH, response};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::{
    call::Call,
    conversation::Conversation,
    exchange::Exchange,
    message::{self, HttpHeaders, LONGEST_CHUNK},
    mutation,
};
use crate::proxy::{BoxError, outage::Outage, settings::Settings, usage::is_of_type};

/// An exchange of which the response is to come. Dropping it breaks it off.
#[derive(Debug)]
pub struct Consulted {
    conversation: Conversation,
    limits: Limits,
}

/// How much of a response waits for the picker, and how long.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Bytes, while it has answered nothing: some want to see all of it first.
    silent: usize,
    /// Bytes, once it answers as it is shown.
    answering: usize,
    /// For an answer that it owes. A picker that takes longer has no say any more.
    patience: Duration,
}

/// What the client gets.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub enum Responded<B> {
    /// The endpoint's response, as the picker wants it.
    Response(Response<Passing<B>>),
    /// The picker's own.
    Answer(Response<Bytes>),
}

/// Why a response ends in the middle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the endpoint broke off the response")]
    Endpoint { source: BoxError },
    #[error("the picker broke off the response with status {0}")]
    Picker(StatusCode),
}

impl Consulted {
    pub(super) fn new(exchange: Exchange, call: Call, settings: &Settings, outage: &Arc<Outage>) -> Self {
        Self {
            conversation: Conversation::new(exchange, call, Arc::clone(outage)),
            limits: Limits {
                silent: settings.request_buffer.max(settings.response_buffer),
                answering: settings.response_buffer,
                patience: settings.picker_response_timeout,
            },
        }
    }

    /// The picker's own response, when it wants to give one though the endpoint has not responded yet: it evicts the
    /// request.
    pub async fn eviction(&mut self) -> Response<Bytes> {
        self.conversation.eviction().await
    }

    /// Shows the picker the head of a response and who sent it, and waits a little for what it makes of it.
    pub async fn respond<B>(mut self, response: Response<B>, served: SocketAddr) -> Responded<B>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let (mut head, body) = response.into_parts();
        let is_empty = body.is_end_stream();
        self.show_head(&head, served, is_empty);
        let mut passing = Passing::new(self, body, is_of_type(&head.headers, "text/event-stream"));
        poll_fn(|context| passing.poll_head(context)).await;
        let exchange = &mut passing.conversation.exchange;
        if let Some(answer) = exchange.answer() {
            passing.conversation.finish();
            return Responded::Answer(answer);
        }
        for mutation in exchange.response_mut().mutations() {
            mutation::apply(mutation, &mut head.headers);
        }
        let body = &exchange.response().body;
        let may_change = if is_empty {
            body.ready() > 0
        } else {
            body.is_answered() || passing.conversation.is_going_on()
        };
        if may_change {
            head.headers.remove(CONTENT_LENGTH);
        }
        passing.finish_if_over();
        Responded::Response(Response::from_parts(head, passing))
    }

    /// Shows the picker that the connection changes its protocol; the exchange lasts as long as the connection does.
    pub fn switch(&mut self, head: &response::Parts, served: SocketAddr) {
        self.show_head(head, served, false);
    }

    /// Ends an exchange whose response ended elsewhere.
    pub fn finish(mut self) {
        let message = self.conversation.exchange.show_response_chunk(Bytes::new(), true);
        self.conversation.send(message, true);
        self.conversation.finish();
    }

    fn show_head(&mut self, head: &response::Parts, served: SocketAddr, is_all: bool) {
        let message = self
            .conversation
            .exchange
            .show_response(http_headers(head, is_all), message::served(served.to_string()));
        self.conversation.send(message, is_all);
    }
}

/// The body of a response, on its way through the picker. Dropping it breaks off the exchange.
#[derive(Debug)]
pub struct Passing<B> {
    conversation: Conversation,
    limits: Limits,
    source: B,
    is_source_ended: bool,
    /// Why the endpoint has ended in the middle, until the client is told.
    failure: Option<BoxError>,
    /// Whether each chunk is awaited by someone.
    is_event_stream: bool,
    /// When our patience ends; not set while the picker owes nothing that anyone waits for.
    deadline: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl<B> Passing<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    fn new(consulted: Consulted, source: B, is_event_stream: bool) -> Self {
        let Consulted { conversation, limits } = consulted;
        Self {
            conversation,
            limits,
            is_source_ended: source.is_end_stream(),
            source,
            failure: None,
            is_event_stream,
            deadline: None,
            timer: Box::pin(sleep(limits.patience)),
        }
    }

    /// Ready when the picker has said what becomes of the head, or has no say in it.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline();
        loop {
            self.hear(context);
            let exchange = &self.conversation.exchange;
            if exchange.has_answer() || exchange.response().are_headers_answered {
                self.deadline = None;
                return Poll::Ready(());
            }
            // The body need not wait for the head.
            if self.show(context).is_ready() {
                continue;
            }
            self.deadline = Some(deadline);
            ready!(self.poll_deadline(context, deadline));
            self.conversation.give_up();
        }
    }

    /// Takes what the picker has sent, as long as not too much waits for the client.
    fn hear(&mut self, context: &mut Context<'_>) {
        while !self.conversation.exchange.has_answer()
            && self.conversation.exchange.response().body.ready() <= self.limits.answering
            && self.conversation.poll_hear(context).is_ready()
        {
            self.deadline = None;
        }
    }

    /// Shows the picker what the endpoint has sent next; pending while either of them has to be waited for.
    fn show(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_source_ended || self.is_full() {
            return Poll::Pending;
        }
        ready!(self.conversation.poll_writable(context));
        let frame = ready!(Pin::new(&mut self.source).poll_frame(context));
        self.is_source_ended = !matches!(frame, Some(Ok(_))) || self.source.is_end_stream();
        match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(mut data))) => {
                while data.len() > LONGEST_CHUNK {
                    let chunk = data.split_to(LONGEST_CHUNK);
                    self.show_chunk(chunk, false);
                }
                if !data.is_empty() || self.is_source_ended {
                    self.show_chunk(data, self.is_source_ended);
                }
            }
            Some(Ok(Err(frame))) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.is_source_ended = true;
                    let message = self.conversation.exchange.show_response_trailers(trailers);
                    self.conversation.send(message, true);
                }
            }
            Some(Err(error)) => self.failure = Some(error.into()),
            None => self.show_chunk(Bytes::new(), true),
        }
        Poll::Ready(())
    }

    fn show_chunk(&mut self, chunk: Bytes, is_last: bool) {
        let message = self.conversation.exchange.show_response_chunk(chunk, is_last);
        self.conversation.send(message, is_last);
    }

    /// Ready when the picker owes an answer that someone has waited for long enough.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let is_awaited = self.is_event_stream || self.is_source_ended || self.is_full();
        let is_owed = self.conversation.is_going_on() && self.conversation.exchange.response().is_waiting();
        if !is_awaited || !is_owed {
            self.deadline = None;
            return Poll::Pending;
        }
        let deadline = self.deadline();
        self.poll_deadline(context, deadline)
    }

    /// When our patience ends, which begins now unless it has begun before.
    fn deadline(&mut self) -> Instant {
        *self
            .deadline
            .get_or_insert_with(|| Instant::now() + self.limits.patience)
    }

    /// Ready at a time. The timer is left as it was while it fires before that: most deadlines are never met.
    fn poll_deadline(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        loop {
            if self.timer.deadline() > deadline || self.timer.is_elapsed() {
                self.timer.as_mut().reset(deadline);
            }
            ready!(self.timer.as_mut().poll(context));
            if deadline <= self.timer.deadline() {
                return Poll::Ready(());
            }
        }
    }

    /// Whether as much waits for the picker as may.
    fn is_full(&self) -> bool {
        let body = &self.conversation.exchange.response().body;
        let window = if body.is_answered() {
            self.limits.answering
        } else {
            self.limits.silent
        };
        self.conversation.is_going_on() && body.unanswered() >= window
    }

    /// Whether nothing is left for the client.
    fn is_over(&self) -> bool {
        let response = self.conversation.exchange.response();
        response.is_complete() && response.body.ready() == 0 && !response.has_trailers()
    }

    /// Ends the call if nothing is left for the client, who may not ask again.
    fn finish_if_over(&mut self) {
        if self.is_over() {
            self.conversation.finish();
        }
    }
}

impl<B> Body for Passing<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        loop {
            this.hear(context);
            let exchange = &mut this.conversation.exchange;
            if let Some(answer) = exchange.answer() {
                this.conversation.finish();
                return Poll::Ready(Some(Err(Error::Picker(answer.status()))));
            }
            if let Some(chunk) = exchange.response_mut().body.take_ready() {
                this.finish_if_over();
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            if exchange.response().is_complete() {
                let trailers = exchange.response_mut().trailers();
                this.conversation.finish();
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            }
            if let Some(source) = this.failure.take() {
                this.conversation.lose();
                return Poll::Ready(Some(Err(Error::Endpoint { source })));
            }
            if this.show(context).is_ready() {
                continue;
            }
            ready!(this.poll_patience(context));
            this.conversation.give_up();
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    /// Exact once the picker has said all. Of a short response it has when the head goes on, which then says the length:
    /// NGINX passes it on in one piece, and in two where it is chunked.
    fn size_hint(&self) -> SizeHint {
        let length = self.conversation.exchange.response().length();
        length.map_or_else(SizeHint::default, |length| SizeHint::with_exact(length as u64))
    }
}

/// The head of a response, as pickers see it.
fn http_headers(head: &response::Parts, end_of_stream: bool) -> HttpHeaders {
    let pseudo = [(":status", head.status.as_str().as_bytes())];
    HttpHeaders {
        headers: Some(message::header_map(pseudo, &head.headers)),
        end_of_stream,
    }
}
