//! Exchanges that bytes describe, and what must hold of all of them.

use std::collections::VecDeque;

use agent::proxy::picker::{
    exchange::{Choice, Exchange},
    message::{
        BodyMutation, BodyResponse, CommonResponse, HttpHeaders, Metadata, ProcessingResponse,
        StreamedBodyResponse, body_mutation::Mutation, processing_response::Response,
    },
};
use bytes::Bytes;
use http::HeaderMap;
use prost::Message as _;

/// Bytes of a request's body that the picker may return.
const LIMIT: usize = 10_000;

/// Plays the exchange that some bytes describe.
///
/// # Panics
///
/// When a claim does not hold.
pub(crate) fn play(bytes: &[u8]) {
    any_messages(bytes);
    keeping_picker(bytes);
}

/// Whatever a picker sends and whenever it leaves, the exchange comes to an end.
fn any_messages(mut bytes: &[u8]) {
    let mut exchange = Exchange::new(None, LIMIT);
    exchange.show_request(HttpHeaders::default());
    let mut is_chosen = false;
    let mut is_request_ended = false;
    let mut is_response_ended = false;
    while let Some((&[step, length], rest)) = bytes.split_first_chunk() {
        let (argument, rest) = rest.split_at(usize::from(length).min(rest.len()));
        bytes = rest;
        let is_last = step & 0x80 != 0;
        match step % 8 {
            0 if !is_request_ended => {
                is_request_ended = is_last;
                exchange.show_request_chunk(Bytes::copy_from_slice(argument), is_last);
            }
            1 => exchange.end(),
            2 => exchange.lose(),
            3 if is_chosen && !is_response_ended => {
                is_response_ended = is_last;
                exchange.show_response_chunk(Bytes::copy_from_slice(argument), is_last);
            }
            4 if is_chosen && !is_response_ended => {
                is_response_ended = true;
                exchange.show_response_trailers(HeaderMap::new());
            }
            _ => {
                if let Ok(message) = ProcessingResponse::decode(argument) {
                    let _ = exchange.take(message);
                }
            }
        }
        if !is_chosen && matches!(exchange.choice(), Some(Ok(Choice::Endpoints { .. }))) {
            is_chosen = true;
            exchange.show_response(HttpHeaders::default(), Metadata::default());
        }
        exchange.response_mut().body.take_ready();
    }
    exchange.lose();
    if !is_request_ended {
        exchange.show_request_chunk(Bytes::new(), true);
    }
    assert!(
        is_chosen || exchange.choice().is_some(),
        "no outcome of the request"
    );
    if !is_response_ended {
        exchange.show_response_chunk(Bytes::new(), true);
    }
    assert!(exchange.response().is_complete(), "no end of the response");
}

/// A picker that returns what it was shown, in any of the ways there are, changes no byte; not even by leaving.
fn keeping_picker(mut bytes: &[u8]) {
    let mut exchange = Exchange::new(None, LIMIT);
    exchange.show_response(HttpHeaders::default(), Metadata::default());

    let mut picker = Keeper::default();
    let (mut original, mut passed) = (Vec::new(), Vec::new());
    let mut is_ended = false;
    let mut number = 0_u8;
    while let Some((&[step, length], rest)) = bytes.split_first_chunk() {
        bytes = rest;
        match step % 8 {
            0..=2 if !is_ended => {
                is_ended = step & 0x80 != 0;
                // Only the last chunk is empty, where the end comes later than the bytes.
                let chunk: Bytes = (0..(length % 16).max(u8::from(!is_ended)))
                    .map(|_| {
                        number = number.wrapping_add(1);
                        number
                    })
                    .collect();
                original.extend_from_slice(&chunk);
                if exchange.show_response_chunk(chunk.clone(), is_ended).is_some() {
                    picker.shown.push_back(chunk);
                }
            }
            3 if step >= 0xf0 => exchange.end(),
            4 if step >= 0xf0 => exchange.lose(),
            5 => take(&mut exchange, picker.keep()),
            6 | 7 => take(&mut exchange, picker.return_some(usize::from(length), is_ended)),
            _ => {}
        }
        passed.extend(exchange.response_mut().body.take_ready().into_iter().flatten());
        assert!(original.starts_with(&passed), "bytes that are not the endpoint's");
    }
    exchange.lose();
    if !is_ended {
        exchange.show_response_chunk(Bytes::new(), true);
    }
    while let Some(chunk) = exchange.response_mut().body.take_ready() {
        passed.extend_from_slice(&chunk);
    }
    assert!(exchange.response().is_complete(), "no end of the response");
    assert_eq!(original, passed);
}

fn take(exchange: &mut Exchange, answer: Option<BodyResponse>) {
    let Some(answer) = answer else { return };
    let message = ProcessingResponse {
        response: Some(Response::ResponseBody(answer)),
        dynamic_metadata: None,
    };
    exchange.take(message).expect("a body is no violation");
}

/// A picker that returns what it was shown.
#[derive(Default)]
struct Keeper {
    /// What it was shown and has not returned.
    shown: VecDeque<Bytes>,
    has_ended: bool,
}

impl Keeper {
    /// Keeps what is left of a chunk.
    fn keep(&mut self) -> Option<BodyResponse> {
        self.shown.pop_front()?;
        Some(BodyResponse::default())
    }

    /// Returns some bytes, of as many chunks as they are; with the last of them also the end.
    fn return_some(&mut self, length: usize, is_ended: bool) -> Option<BodyResponse> {
        if self.has_ended {
            return None;
        }
        let mut body = Vec::new();
        while body.len() < length
            && let Some(chunk) = self.shown.front_mut()
        {
            let part = chunk.split_to(chunk.len().min(length - body.len()));
            body.extend_from_slice(&part);
            if chunk.is_empty() {
                self.shown.pop_front();
            }
        }
        self.has_ended = is_ended && self.shown.is_empty();
        if body.is_empty() && !self.has_ended {
            return None;
        }
        let mutation = Some(Mutation::StreamedResponse(StreamedBodyResponse {
            body: body.into(),
            end_of_stream: self.has_ended,
        }));
        let response = CommonResponse {
            body_mutation: Some(BodyMutation { mutation }),
            ..CommonResponse::default()
        };
        Some(BodyResponse {
            response: Some(response),
        })
    }
}
