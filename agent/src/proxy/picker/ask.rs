//! The request's half of an exchange: asking the picker while the body arrives.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{CONTENT_LENGTH, HOST},
    request,
    uri::PathAndQuery,
};
use http_body::Body;
use tokio::{
    select,
    time::{Instant, sleep},
};
use tracing::debug;

use super::{
    call::{self, Call},
    connections::{self, Connections},
    destination::endpoints,
    exchange::{Choice, Exchange},
    held::{Held, Unreadable},
    joined::turn,
    message::{self, HttpHeaders, Metadata},
    mutation, request_id,
    respond::Consulted,
    violation::Violation,
};
use crate::proxy::{BoxError, outage::Outage, settings::Settings, table::Endpoint};

/// What became of a request.
#[derive(Debug)]
pub enum Asked<B> {
    /// It goes to an endpoint.
    Chosen(Box<Chosen<B>>),
    /// The picker answers it.
    Answer(Response<Bytes>),
}

/// Where a request goes, and how.
#[derive(Debug)]
pub struct Chosen<B> {
    /// Members of the pool, in order of preference; not empty.
    pub endpoints: Vec<SocketAddr>,
    /// With the headers and the body that the picker gave it.
    pub request: Request<Held<B>>,
    /// For the response.
    pub consulted: Consulted,
}

/// Why a request goes nowhere.
#[derive(Debug)]
pub enum Refused<B> {
    /// The picker has failed. This is the request as it came, to go on without a picker.
    Failed {
        failure: Failure,
        request: Box<Request<Held<B>>>,
    },
    /// The body is longer than a picker may look at, which is answered with 413.
    TooLong,
    /// The client's body cannot be read.
    Client { source: BoxError },
}

/// What a picker has failed in.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("cannot call a picker")]
    Connect {
        #[from]
        source: connections::Error,
    },
    #[error("the call of the picker failed")]
    Call {
        #[from]
        source: call::Error,
    },
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error("the picker takes too long to choose")]
    Timeout,
    #[error("the picker chose {0:?}, of which nothing is a ready endpoint of the pool")]
    Strangers(String),
}

/// Asks a picker where a request goes, and waits for all that it says of headers and body. The members of its pool are
/// those when it has chosen.
///
/// The picker's time begins when it was shown the whole body. Where the call breaks before the picker said anything, it
/// is asked once more on another connection. Where it chooses what is no member, because it knows of other pods than the
/// gateway does, it is asked once more with the members as the only endpoints to choose from: the subset hint of the
/// protocol. As long as both know the same pods, a hint would only say what the pool's selector says already. What the
/// picker fails in during the response is its outage.
pub async fn ask<B>(
    connections: &Connections,
    outage: &Arc<Outage>,
    settings: &Settings,
    request: Request<B>,
    members: impl Fn() -> Arc<[Arc<Endpoint>]>,
) -> Result<Asked<B>, Refused<B>>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let (mut head, body) = request.into_parts();
    request_id::ensure(&mut head.headers);
    let mut body = Held::new(body, settings.request_buffer);
    if body.is_length_known() {
        // What has come goes to the picker together with the head.
        select! {
            biased;
            read = read(&mut body) => read?,
            () = turn() => {}
        }
    } else {
        // A body that turns out empty is none to pickers.
        read(&mut body).await?;
    }
    let mut tried = None;
    let mut subset = None;
    let failure = loop {
        let (call, connection) = match connections.call(tried.as_ref()).await {
            Ok(call) => call,
            Err(source) => break Failure::Connect { source },
        };
        let mut asking = Asking::new(call, subset.clone(), settings, &mut body);
        let chosen = asking.choose(&head, settings).await;
        let is_heard = asking.is_heard;
        let Asking { call, exchange, .. } = asking;
        match chosen {
            Ok(Choice::Answer(response)) => {
                call.finish();
                return Ok(Asked::Answer(response));
            }
            Ok(Choice::Endpoints {
                list,
                mutations,
                body: returned,
            }) => {
                let members = members();
                let is_member =
                    |address: &SocketAddr| members.iter().any(|member| member.address == *address);
                let endpoints = endpoints(&list, is_member);
                if endpoints.is_empty() {
                    call.finish();
                    if subset.is_some() || members.is_empty() {
                        break Failure::Strangers(list);
                    }
                    debug!(
                        list,
                        "picker chose strangers, and is told the members of its pool"
                    );
                    let members = members.iter().map(|member| member.address.to_string());
                    subset = Some(message::subset(members));
                    continue;
                }
                for mutation in mutations {
                    mutation::apply(mutation, &mut head.headers);
                }
                let body = Held::whole(returned, body.take_trailers());
                frame(&mut head.headers, &body);
                return Ok(Asked::Chosen(Box::new(Chosen {
                    endpoints,
                    request: Request::from_parts(head, body),
                    consulted: Consulted::new(exchange, call, settings, outage),
                })));
            }
            Err(Interruption::Failed(Failure::Call { source }))
                if source.is_broken() && !is_heard && tried.is_none() =>
            {
                tried = Some(connection);
            }
            Err(Interruption::Failed(failure)) => break failure,
            Err(Interruption::Unreadable(unreadable)) => return Err(unreadable.into()),
        }
    };
    let request = Box::new(Request::from_parts(head, body));
    Err(Refused::Failed { failure, request })
}

/// Reads the first of a body, or its end.
async fn read<B>(body: &mut Held<B>) -> Result<(), Unreadable>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    while body.chunks().is_empty() && !body.is_read() {
        poll_fn(|context| body.poll_read(context)).await?;
    }
    Ok(())
}

/// Sets the length of a body that the picker may have changed; of none only where the client did.
fn frame<B>(headers: &mut HeaderMap, body: &Held<B>) {
    let had_length = headers.remove(CONTENT_LENGTH).is_some();
    if (had_length || !body.chunks().is_empty()) && !body.has_trailers() {
        headers.insert(CONTENT_LENGTH, body.length().into());
    }
}

/// One call about a request.
struct Asking<'a, B> {
    call: Call,
    exchange: Exchange,
    body: &'a mut Held<B>,
    /// Chunks that the picker was shown.
    shown: usize,
    is_end_shown: bool,
    /// Whether the picker has said anything.
    is_heard: bool,
}

/// Why a call brought no choice.
enum Interruption {
    Failed(Failure),
    Unreadable(Unreadable),
}

impl<'a, B> Asking<'a, B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    fn new(call: Call, subset: Option<Metadata>, settings: &Settings, body: &'a mut Held<B>) -> Self {
        Self {
            call,
            // A body that is printed anew is a little longer or shorter.
            exchange: Exchange::new(subset, settings.request_buffer.saturating_mul(2)),
            body,
            shown: 0,
            is_end_shown: false,
            is_heard: false,
        }
    }

    async fn choose(&mut self, head: &request::Parts, settings: &Settings) -> Result<Choice, Interruption> {
        let is_all = self.body.is_read() && self.body.chunks().is_empty();
        self.is_end_shown = is_all;
        let message = self.exchange.show_request(http_headers(head, is_all));
        self.call.send(&message, false);
        let mut timeout = pin!(sleep(settings.picker_timeout));
        let mut is_timed = false;
        poll_fn(|context| {
            loop {
                if let Poll::Ready(choice) = self.poll_picker(context) {
                    return Poll::Ready(choice.map_err(Interruption::Failed));
                }
                match self.poll_show(context) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(unreadable)) => {
                        return Poll::Ready(Err(Interruption::Unreadable(unreadable)));
                    }
                    Poll::Pending => break,
                }
            }
            if self.is_end_shown && !is_timed {
                is_timed = true;
                timeout.as_mut().reset(Instant::now() + settings.picker_timeout);
            }
            if is_timed && timeout.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(Interruption::Failed(Failure::Timeout)));
            }
            Poll::Pending
        })
        .await
    }

    /// Takes what the picker has sent, until it has chosen.
    fn poll_picker(&mut self, context: &mut Context<'_>) -> Poll<Result<Choice, Failure>> {
        loop {
            if let Some(choice) = self.exchange.choice() {
                return Poll::Ready(choice.map_err(Failure::from));
            }
            if self.exchange.is_gone() {
                // What is left of the body goes on as it is.
                return Poll::Pending;
            }
            match ready!(self.call.poll_message(context))? {
                Some(message) => {
                    self.is_heard = true;
                    self.exchange.take(message)?;
                }
                None => self.exchange.end(),
            }
        }
    }

    /// Shows the picker one chunk more, or reads one; pending when there is none or all were shown.
    fn poll_show(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Unreadable>> {
        if self.is_end_shown {
            return Poll::Pending;
        }
        // The first goes together with the head: there is no room before the call has begun.
        if self.shown > 0 {
            ready!(self.call.poll_writable(context));
        }
        let chunks = self.body.chunks();
        let chunk = match chunks.get(self.shown) {
            Some(chunk) => chunk.clone(),
            // The end came later than the last chunk.
            None if self.body.is_read() => Bytes::new(),
            None => return self.body.poll_read(context),
        };
        self.is_end_shown = self.body.is_read() && self.shown + 1 >= chunks.len();
        self.shown += 1;
        if let Some(message) = self.exchange.show_request_chunk(chunk, self.is_end_shown) {
            self.call.send(&message, false);
        }
        Poll::Ready(Ok(()))
    }
}

impl<B> From<Unreadable> for Refused<B> {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::TooLong => Self::TooLong,
            Unreadable::Source { source } => Self::Client { source },
        }
    }
}

/// The head of a request, as pickers see it.
fn http_headers(head: &request::Parts, end_of_stream: bool) -> HttpHeaders {
    let host = head.headers.get(HOST).map(HeaderValue::as_bytes);
    let authority = host.or_else(|| Some(head.uri.authority()?.as_str().as_bytes()));
    let scheme = head.headers.get("x-forwarded-proto").map(HeaderValue::as_bytes);
    let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let pseudo = [
        (":method", head.method.as_str().as_bytes()),
        (
            ":scheme",
            scheme.filter(|scheme| *scheme == b"https").unwrap_or(b"http"),
        ),
        (":authority", authority.unwrap_or_default()),
        (":path", path.as_bytes()),
    ];
    HttpHeaders {
        headers: Some(message::header_map(pseudo, &head.headers)),
        end_of_stream,
    }
}
