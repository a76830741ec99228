//! What gateway and picker say to each other about one request and its response: no I/O, no clock.
//!
//! ```text
//!    request ──show──> Exchange ──ProcessingRequest───> picker
//!   response ──show──>    │    <──ProcessingResponse──
//!                         ├── choice    where the request goes, with which headers and body
//!                         ├── response  which headers and bytes the client gets
//!                         └── answer    what it gets instead
//! ```
//!
//! Messages may come in any order: a picker may answer the body before the headers, never answer some of it, and
//! refuse the request at any time. What it may have us keep is bounded.
//!
//! See <https://github.com/kubernetes-sigs/gateway-api-inference-extension/tree/main/docs/proposals/004-endpoint-picker-protocol>.

use bytes::Bytes;
use http::HeaderMap;

use super::{
    answer::answer,
    half::Half,
    message::{
        self, BodyMutation, BodyResponse, HeaderMutation, HeadersResponse, HttpHeaders, HttpTrailers,
        Metadata, ProcessingRequest, ProcessingResponse, ProtocolConfiguration, TrailersResponse,
        body_mutation::Mutation, processing_request::Request, processing_response::Response,
    },
    violation::Violation,
};
use crate::proxy::chunk::Room;

/// What a picker decided of a request.
#[derive(Debug)]
pub enum Choice {
    /// The request goes to one of these endpoints.
    Endpoints {
        /// As the picker wrote them, in its order of preference.
        list: String,
        /// What it changes of the request's headers, in order.
        mutations: Vec<HeaderMutation>,
        /// The body as the picker returned it.
        body: Vec<Bytes>,
    },
    /// The request is answered with this.
    Answer(http::Response<Bytes>),
}

/// One request and its response, as the picker sees them.
#[derive(Debug)]
pub struct Exchange {
    /// What the first message says besides; taken by it.
    protocol: Option<ProtocolConfiguration>,
    subset: Option<Metadata>,
    phase: Phase,
    is_grpc: bool,
    request: Half,
    destination: Option<String>,
    /// For what the picker may still return for the request's body.
    returnable: Room,
    response: Half,
    answer: Option<http::Response<Bytes>>,
    is_gone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Request,
    Response,
}

impl Exchange {
    /// Nothing said yet. The subset is what the picker may choose from, none for the whole pool; the limit is for the
    /// bytes of the request's body that it may return.
    #[must_use]
    pub fn new(subset: Option<Metadata>, limit: usize) -> Self {
        Self {
            protocol: Some(message::protocol()),
            subset,
            phase: Phase::Request,
            is_grpc: false,
            request: Half::default(),
            destination: None,
            returnable: Room::new(limit),
            response: Half::default(),
            answer: None,
            is_gone: false,
        }
    }

    /// Takes the headers of the request, and whether that is all of it.
    pub fn show_request(&mut self, headers: HttpHeaders) -> ProcessingRequest {
        self.is_grpc = message::is_grpc(&headers);
        if headers.end_of_stream {
            self.request.body.omit();
        }
        self.of_request(Request::RequestHeaders(headers))
    }

    /// Takes a chunk of the request's body, and whether it is the last; what the picker is to be told of it.
    ///
    /// Trailers of requests are not shown: pickers choose at the end of the body, and do not see trailers as one.
    pub fn show_request_chunk(&mut self, chunk: Bytes, is_last: bool) -> Option<ProcessingRequest> {
        if is_last {
            self.request.body.end();
        }
        let is_asked = self.request.body.show(chunk.clone());
        is_asked.then(|| self.of_request(Request::RequestBody(message::body(chunk, is_last))))
    }

    /// Takes the headers of the response, who sent it, and whether that is all of it.
    pub fn show_response(&mut self, headers: HttpHeaders, served: Metadata) -> Option<ProcessingRequest> {
        self.phase = Phase::Response;
        if headers.end_of_stream {
            self.response.body.omit();
        }
        let metadata_context = Some(served);
        (!self.is_gone).then(|| ProcessingRequest {
            metadata_context,
            ..message::message(Request::ResponseHeaders(headers))
        })
    }

    /// Takes a chunk of the response's body, and whether it is the last and no trailers follow.
    pub fn show_response_chunk(&mut self, chunk: Bytes, is_last: bool) -> Option<ProcessingRequest> {
        if is_last {
            self.response.body.end();
        }
        let is_asked = self.response.body.show(chunk.clone());
        is_asked.then(|| message::message(Request::ResponseBody(message::body(chunk, is_last))))
    }

    /// Takes the trailers of the response, which end it.
    pub fn show_response_trailers(&mut self, trailers: HeaderMap) -> Option<ProcessingRequest> {
        let message = message::header_map([], &trailers);
        let is_asked = self.response.end_with(trailers, !self.is_gone);
        let trailers = HttpTrailers {
            trailers: Some(message),
        };
        is_asked.then(|| message::message(Request::ResponseTrailers(trailers)))
    }

    /// Takes what the picker sent. After a violation it has no say any more.
    pub fn take(&mut self, message: ProcessingResponse) -> Result<(), Violation> {
        if self.is_gone {
            return Ok(());
        }
        let taken = self.try_take(message);
        if taken.is_err() {
            self.lose();
        }
        taken
    }

    /// The picker has ended the exchange in good order: what it has not answered goes on as it is.
    pub fn end(&mut self) {
        self.release(true);
    }

    /// The picker is gone, or we no longer wait for it.
    pub fn lose(&mut self) {
        self.release(false);
    }

    /// What the picker decided of the request, once that is known.
    pub fn choice(&mut self) -> Option<Result<Choice, Violation>> {
        if let Some(answer) = self.answer.take() {
            return Some(Ok(Choice::Answer(answer)));
        }
        if !self.request.are_headers_answered || !self.request.body.is_complete() {
            return None;
        }
        let Some(list) = self.destination.take() else {
            return Some(Err(Violation::NoChoice));
        };
        let mut body = Vec::new();
        while let Some(chunk) = self.request.body.take_ready() {
            body.push(chunk);
        }
        let mutations = self.request.mutations();
        Some(Ok(Choice::Endpoints {
            list,
            mutations,
            body,
        }))
    }

    /// What the picker wants instead of the endpoint's response, if it does.
    pub fn answer(&mut self) -> Option<http::Response<Bytes>> {
        self.answer.take()
    }

    /// Whether the picker wants to answer by itself, which [`Self::choice`] and [`Self::answer`] take.
    #[must_use]
    pub const fn has_answer(&self) -> bool {
        self.answer.is_some()
    }

    /// The response, on its way.
    #[must_use]
    pub const fn response(&self) -> &Half {
        &self.response
    }

    /// The same, to be taken on.
    pub const fn response_mut(&mut self) -> &mut Half {
        &mut self.response
    }

    /// Whether the picker still has a say.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        self.is_gone
    }

    fn of_request(&mut self, request: Request) -> ProcessingRequest {
        ProcessingRequest {
            // Pickers differ in the message where they look for the subset.
            metadata_context: self.subset.clone(),
            protocol_config: self.protocol.take(),
            ..message::message(request)
        }
    }

    fn try_take(&mut self, message: ProcessingResponse) -> Result<(), Violation> {
        let ProcessingResponse {
            response,
            dynamic_metadata,
        } = message;
        if self.phase == Phase::Request
            && let Some(list) = dynamic_metadata.as_ref().and_then(message::destination)
        {
            self.destination = Some(list.to_owned());
        }
        match (self.phase, response) {
            (_, Some(Response::ImmediateResponse(immediate))) => {
                self.answer = Some(answer(immediate, self.is_grpc)?);
                Ok(())
            }
            (Phase::Request, Some(Response::RequestHeaders(HeadersResponse { response }))) => {
                let response = response.unwrap_or_default();
                if self.destination.is_none() {
                    self.destination = response.header_mutation.as_ref().and_then(destination);
                }
                self.count(response.body_mutation.as_ref())?;
                self.request.take_headers(response)
            }
            (Phase::Request, Some(Response::RequestBody(BodyResponse { response }))) => {
                let response = response.unwrap_or_default();
                self.count(response.body_mutation.as_ref())?;
                self.request.take_body(response)
            }
            (Phase::Response, Some(Response::ResponseHeaders(HeadersResponse { response }))) => {
                self.response.take_headers(response.unwrap_or_default())
            }
            (Phase::Response, Some(Response::ResponseBody(BodyResponse { response }))) => {
                self.response.take_body(response.unwrap_or_default())
            }
            (Phase::Response, Some(Response::ResponseTrailers(TrailersResponse { header_mutation }))) => {
                self.response.take_trailers(header_mutation)
            }
            // An answer to what was not asked, or what is over.
            _ => Ok(()),
        }
    }

    /// Counts what the picker returns for the request's body, which is held until it is complete.
    fn count(&mut self, mutation: Option<&BodyMutation>) -> Result<(), Violation> {
        let returned = match mutation.and_then(|mutation| mutation.mutation.as_ref()) {
            Some(Mutation::Body(body)) => body,
            Some(Mutation::StreamedResponse(piece)) => &piece.body,
            Some(Mutation::ClearBody(_)) | None => return Ok(()),
        };
        self.returnable = self.returnable.beside(returned.len()).ok_or(Violation::Body)?;
        Ok(())
    }

    fn release(&mut self, is_graceful: bool) {
        self.is_gone = true;
        self.request.release(is_graceful);
        self.response.release(is_graceful);
    }
}

/// The endpoints that a mutation of headers names.
fn destination(mutation: &HeaderMutation) -> Option<String> {
    let mut headers = mutation
        .set_headers
        .iter()
        .filter_map(|option| option.header.as_ref());
    let header = headers.find(|header| header.key.eq_ignore_ascii_case(message::DESTINATION))?;
    if header.raw_value.is_empty() {
        Some(header.value.clone())
    } else {
        String::from_utf8(header.raw_value.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests;
