//! One message, request or response, on its way through the picker.

use std::mem;

use http::HeaderMap;

use super::{
    message::{CommonResponse, HeaderMutation, body_mutation::Mutation, common_response::ResponseStatus},
    mutation,
    passage::Passage,
    violation::{MOST_HEADERS, Violation},
};

/// A message and what the picker makes of it.
#[derive(Debug, Default)]
pub struct Half {
    /// Whether the picker has said what becomes of the headers.
    pub are_headers_answered: bool,
    are_headers_gone: bool,
    /// Whether the picker wants to see no more of it.
    is_final: bool,
    mutations: Vec<HeaderMutation>,
    /// Bytes of all mutations.
    mutated: usize,
    /// The body, on its way.
    pub body: Passage,
    trailers: Option<Trailers>,
}

#[derive(Debug)]
struct Trailers {
    headers: HeaderMap,
    is_answered: bool,
}

impl Half {
    /// Takes the picker's answer to the headers.
    pub fn take_headers(&mut self, answer: CommonResponse) -> Result<(), Violation> {
        self.are_headers_answered = true;
        let is_final = answer.status() == ResponseStatus::ContinueAndReplace;
        self.keep(answer.header_mutation)?;
        if is_final {
            self.finish(answer.body_mutation.and_then(|mutation| mutation.mutation));
        }
        Ok(())
    }

    /// Takes the picker's answer to a chunk of the body.
    pub fn take_body(&mut self, answer: CommonResponse) -> Result<(), Violation> {
        let is_final = answer.status() == ResponseStatus::ContinueAndReplace;
        self.keep(answer.header_mutation)?;
        let mutation = answer.body_mutation.and_then(|mutation| mutation.mutation);
        if is_final {
            self.finish(mutation);
        } else {
            self.body.answer(mutation);
        }
        Ok(())
    }

    /// The message ends with trailers, which the picker is to be shown or not; whether it is.
    pub fn end_with(&mut self, headers: HeaderMap, is_shown: bool) -> bool {
        let is_shown = is_shown && !self.is_final;
        self.body.end();
        self.trailers = Some(Trailers {
            headers,
            is_answered: !is_shown,
        });
        is_shown
    }

    /// Takes the picker's answer to the trailers.
    pub fn take_trailers(&mut self, mutation: Option<HeaderMutation>) -> Result<(), Violation> {
        let Some(trailers) = &mut self.trailers else {
            return Ok(());
        };
        trailers.is_answered = true;
        // Where trailers follow, no chunk is marked as the last.
        self.body.release(true);
        if let Some(mutation) = mutation {
            measure(&mut self.mutated, &mutation)?;
            mutation::apply(mutation, &mut trailers.headers);
        }
        Ok(())
    }

    /// What the picker changes of the headers, in order; what it wants of them later comes too late.
    pub fn mutations(&mut self) -> Vec<HeaderMutation> {
        self.are_headers_gone = true;
        mem::take(&mut self.mutations)
    }

    /// The picker has no say any more.
    pub fn release(&mut self, is_graceful: bool) {
        self.are_headers_answered = true;
        self.body.release(is_graceful);
        if let Some(trailers) = &mut self.trailers {
            trailers.is_answered = true;
        }
    }

    /// Whether the original has ended, and nothing will follow what the body still has, and the trailers.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.body.is_ended()
            && self.body.is_complete()
            && self.trailers.as_ref().is_none_or(|trailers| trailers.is_answered)
    }

    /// How many bytes the body still has, once that is known; with trailers, a length says nothing.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        (self.is_complete() && !self.has_trailers()).then(|| self.body.ready_length())
    }

    /// Whether the picker owes an answer.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        let trailers = self.trailers.as_ref();
        self.body.is_waiting() || trailers.is_some_and(|trailers| !trailers.is_answered)
    }

    /// Whether trailers follow the body.
    #[must_use]
    pub const fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    /// The trailers, as the picker wants them.
    pub fn trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take().map(|trailers| trailers.headers)
    }

    /// The picker wants to see no more of the body.
    fn finish(&mut self, mutation: Option<Mutation>) {
        self.is_final = true;
        match mutation {
            Some(Mutation::Body(body)) => self.body.replace(body),
            Some(Mutation::StreamedResponse(piece)) => self.body.replace(piece.body),
            Some(Mutation::ClearBody(true)) => self.body.replace(bytes::Bytes::new()),
            Some(Mutation::ClearBody(false)) | None => self.body.release(false),
        }
    }

    fn keep(&mut self, mutation: Option<HeaderMutation>) -> Result<(), Violation> {
        if let Some(mutation) = mutation
            && !self.are_headers_gone
        {
            measure(&mut self.mutated, &mutation)?;
            self.mutations.push(mutation);
        }
        Ok(())
    }
}

fn measure(mutated: &mut usize, mutation: &HeaderMutation) -> Result<(), Violation> {
    *mutated += mutation::size(mutation);
    if *mutated > MOST_HEADERS {
        return Err(Violation::Headers);
    }
    Ok(())
}
