//! An exchange about a request on its way, with the call that carries it.

use std::{
    error::Error,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use tracing::warn;

use super::{call::Call, exchange::Exchange, message::ProcessingRequest};
use crate::{causes, proxy::outage::Outage};

/// Why a picker has no say any more, though its call goes on.
#[derive(Debug, thiserror::Error)]
#[error("the picker takes too long with the response")]
struct Late;

/// What gateway and picker have to say to each other once an endpoint was chosen. Dropping it breaks it off.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) exchange: Exchange,
    /// None once the picker has no say any more.
    call: Option<Call>,
    outage: Arc<Outage>,
}

impl Conversation {
    /// Goes on with a call whose failures, should there be any, are the picker's outage.
    pub(super) fn new(exchange: Exchange, call: Call, outage: Arc<Outage>) -> Self {
        let is_gone = exchange.is_gone();
        let mut conversation = Self {
            exchange,
            call: Some(call),
            outage,
        };
        if is_gone {
            conversation.finish();
        }
        conversation
    }

    /// Whether the picker has a say.
    pub(super) const fn is_going_on(&self) -> bool {
        self.call.is_some()
    }

    /// Says something to the picker, and whether it is the last.
    pub(super) fn send(&mut self, message: Option<ProcessingRequest>, is_last: bool) {
        if let (Some(call), Some(message)) = (&mut self.call, message) {
            call.send(&message, is_last);
        }
    }

    /// Ready when the picker takes what was said so far, and when it has no say.
    pub(super) fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let call = self.call.as_mut();
        call.map_or(Poll::Ready(()), |call| call.poll_writable(context))
    }

    /// Takes what the picker says next, be it nothing more. Pending for ever when it has no say.
    pub(super) fn poll_hear(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(call) = &mut self.call else {
            return Poll::Pending;
        };
        match ready!(call.poll_message(context)) {
            Ok(Some(message)) => {
                if let Err(violation) = self.exchange.take(message) {
                    self.blame(&violation);
                }
            }
            Ok(None) => {
                self.exchange.end();
                self.finish();
            }
            Err(error) => self.blame(&error),
        }
        Poll::Ready(())
    }

    /// The picker's own response, when it wants one in place of the endpoint's though that has not responded yet: pickers
    /// evict requests for others that are more urgent.
    pub(super) async fn eviction(&mut self) -> Response<Bytes> {
        poll_fn(|context| {
            loop {
                ready!(self.poll_hear(context));
                if let Some(answer) = self.exchange.answer() {
                    self.finish();
                    return Poll::Ready(answer);
                }
            }
        })
        .await
    }

    /// Goes on without the picker.
    pub(super) fn lose(&mut self) {
        self.exchange.lose();
        self.call = None;
    }

    /// Goes on without a picker that we no longer wait for.
    pub(super) fn give_up(&mut self) {
        self.blame(&Late);
    }

    /// Ends the call in good order.
    pub(super) fn finish(&mut self) {
        if let Some(call) = self.call.take() {
            call.finish();
        }
    }

    /// Goes on without a picker that has failed.
    fn blame(&mut self, error: &dyn Error) {
        if let Some(failures) = self.outage.fail() {
            warn!(
                failures,
                error = causes::sentence(error),
                "going on without the picker"
            );
        }
        self.lose();
    }
}
