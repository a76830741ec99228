//! One body's way through the picker: what it was shown, what it made of it, what may go on.

use std::collections::VecDeque;

use bytes::Bytes;

use super::message::{StreamedBodyResponse, body_mutation::Mutation};
use crate::proxy::chunk::weight;

/// A body of which a picker sees every chunk.
///
/// Pickers answer in three ways, and some mix them: with the bytes that replace the body, in pieces of their own
/// choice; with a mutation of one chunk; or with nothing, which keeps the chunk. A piece of the replacing bytes stands
/// for as many of the original's if it begins like them, and else for one chunk. That is exact for pickers that return
/// what they were shown and for those that rewrite chunk by chunk, so that the body can go on in the right place when
/// the picker goes away in the middle of it.
#[derive(Debug, Default)]
pub struct Passage {
    course: Course,
    /// Chunks that the picker was shown and has not answered; only while it is asked.
    unanswered: VecDeque<Bytes>,
    /// What all that is unanswered takes.
    waiting: usize,
    ready: VecDeque<Bytes>,
    /// What all that is ready takes.
    ready_weight: usize,
    /// Whether the original has no more chunks.
    is_ended: bool,
    manner: Manner,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Course {
    /// The picker decides.
    #[default]
    Asked,
    /// The picker has no say any more; the original goes on as it is.
    Untouched,
    /// The picker has said the last of the body; what the original still brings is dropped.
    Settled,
}

/// How the picker answers; each manner includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Manner {
    /// Not at all yet.
    #[default]
    Silent,
    /// Chunk by chunk.
    ByChunk,
    /// With bytes that replace the body, of which it says itself which are the last.
    InPieces,
    /// With other bytes than those that they replace.
    Rewriting,
}

impl Passage {
    /// Takes the next chunk of the original. Whether the picker is to be shown it.
    pub fn show(&mut self, chunk: Bytes) -> bool {
        match self.course {
            Course::Asked => {
                self.waiting += weight(&chunk);
                self.unanswered.push_back(chunk);
            }
            Course::Untouched => self.pass(chunk),
            Course::Settled => {}
        }
        self.course == Course::Asked
    }

    /// The original has no more chunks.
    pub fn end(&mut self) {
        self.is_ended = true;
    }

    /// There is no body: what the picker answers to one is nothing.
    pub fn omit(&mut self) {
        self.end();
        self.settle();
    }

    /// Takes the picker's answer to a chunk; none keeps it.
    pub fn answer(&mut self, mutation: Option<Mutation>) {
        if self.course != Course::Asked {
            return;
        }
        self.manner = self.manner.max(Manner::ByChunk);
        match mutation {
            None | Some(Mutation::ClearBody(false)) => {
                if let Some(kept) = self.pop() {
                    self.pass(kept);
                }
            }
            Some(Mutation::ClearBody(true)) => {
                self.pop();
            }
            Some(Mutation::Body(body)) => {
                self.pop();
                self.pass(body);
            }
            Some(Mutation::StreamedResponse(piece)) => self.replace_next(piece),
        }
    }

    /// The picker replaces the whole body.
    pub fn replace(&mut self, body: Bytes) {
        self.settle();
        self.pass(body);
    }

    /// The picker has no say any more, because it said so or because it is gone.
    pub fn release(&mut self, is_graceful: bool) {
        if self.course != Course::Asked {
            return;
        }
        if is_graceful && self.is_ended && self.manner == Manner::Rewriting {
            // It saw all and said all that it wanted; that no piece was marked as the last is how some are.
            self.settle();
        } else {
            self.course = Course::Untouched;
            while let Some(chunk) = self.pop() {
                self.pass(chunk);
            }
        }
    }

    /// The next bytes that may go on.
    pub fn take_ready(&mut self) -> Option<Bytes> {
        let chunk = self.ready.pop_front()?;
        self.ready_weight -= weight(&chunk);
        Some(chunk)
    }

    /// Bytes that what [`Self::take_ready`] has takes, as [`weight`] says; 0 for nothing.
    #[must_use]
    pub const fn ready(&self) -> usize {
        self.ready_weight
    }

    /// How many bytes [`Self::take_ready`] has.
    #[must_use]
    pub fn ready_length(&self) -> usize {
        self.ready.iter().map(Bytes::len).sum()
    }

    /// Whether nothing will follow what [`Self::take_ready`] still has.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        match self.course {
            Course::Asked => self.is_ended && self.unanswered.is_empty() && self.manner < Manner::InPieces,
            Course::Untouched => self.is_ended,
            Course::Settled => true,
        }
    }

    /// Whether the picker was shown something that it has not answered, or has not said the end of what it replaces.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        let is_unfinished = self.is_ended && self.manner >= Manner::InPieces;
        self.course == Course::Asked && (!self.unanswered.is_empty() || is_unfinished)
    }

    /// Bytes that what the picker has not answered takes, as [`weight`] says; 0 for nothing.
    #[must_use]
    pub const fn unanswered(&self) -> usize {
        self.waiting
    }

    /// Whether the picker answered with anything yet.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.manner > Manner::Silent
    }

    /// Whether the original has no more chunks.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.is_ended
    }

    fn replace_next(&mut self, piece: StreamedBodyResponse) {
        let StreamedBodyResponse { body, end_of_stream } = piece;
        self.manner = self.manner.max(Manner::InPieces);
        if body.is_empty() || !self.skip(&body) {
            let replaced = self.pop();
            if replaced.is_none_or(|chunk| !chunk.is_empty()) {
                self.manner = Manner::Rewriting;
            }
        }
        self.pass(body);
        if end_of_stream {
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.course = Course::Settled;
        self.waiting = 0;
        self.unanswered = VecDeque::new();
    }

    fn pass(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.ready_weight += weight(&chunk);
            self.ready.push_back(chunk);
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        let chunk = self.unanswered.pop_front()?;
        self.waiting -= weight(&chunk);
        Some(chunk)
    }

    /// Takes some bytes from the front of what is unanswered, if it begins with them.
    fn skip(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        let mut chunks = 0;
        for chunk in &self.unanswered {
            let (here, later) = rest.split_at(chunk.len().min(rest.len()));
            if here != &chunk[..here.len()] {
                return false;
            }
            rest = later;
            if here.len() < chunk.len() {
                break;
            }
            chunks += 1;
            if rest.is_empty() {
                break;
            }
        }
        if !rest.is_empty() {
            return false;
        }
        let mut left = bytes.len();
        for _ in 0..chunks {
            left -= self.pop().map_or(0, |chunk| chunk.len());
        }
        if left > 0 {
            let chunk = self.unanswered.front_mut().expect("the bytes end within a chunk");
            let _ = chunk.split_to(left);
            self.waiting -= left;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(chunks: &[&'static str]) -> Passage {
        let mut passage = Passage::default();
        for chunk in chunks {
            passage.show(Bytes::from_static(chunk.as_bytes()));
        }
        passage
    }

    fn streamed(body: &'static str, end_of_stream: bool) -> Mutation {
        Mutation::StreamedResponse(StreamedBodyResponse {
            body: Bytes::from_static(body.as_bytes()),
            end_of_stream,
        })
    }

    fn passed(passage: &mut Passage) -> String {
        let mut bytes = Vec::new();
        while let Some(chunk) = passage.take_ready() {
            bytes.extend_from_slice(&chunk);
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_answer_without_mutation_keeps_its_chunk() {
        let mut passage = shown(&["one ", "two"]);
        passage.answer(None);
        assert_eq!(passed(&mut passage), "one ");
        passage.end();
        assert!(!passage.is_complete());
        passage.answer(None);
        assert_eq!(passed(&mut passage), "two");
        assert!(passage.is_complete());
    }

    #[test]
    fn a_replacement_lasts_until_the_picker_says_its_end() {
        let mut passage = shown(&["one"]);
        passage.end();
        passage.answer(Some(streamed("some", false)));
        assert!(!passage.is_complete());
        passage.answer(Some(streamed("thing longer", true)));
        assert!(passage.is_complete());
        assert_eq!(passed(&mut passage), "something longer");
    }

    #[test]
    fn a_replacement_may_end_before_the_original() {
        let mut passage = shown(&["one"]);
        passage.answer(Some(streamed("1", true)));
        assert!(passage.is_complete());
        assert!(!passage.show(Bytes::from_static(b"two")));
        assert_eq!(passed(&mut passage), "1");
    }

    #[test]
    fn one_chunk_is_replaced_or_cleared() {
        let mut passage = shown(&["one ", "two ", "three"]);
        passage.end();
        passage.answer(Some(Mutation::Body(Bytes::from_static(b"1 "))));
        passage.answer(Some(Mutation::ClearBody(true)));
        passage.answer(None);
        assert!(passage.is_complete());
        assert_eq!(passed(&mut passage), "1 three");
    }

    #[test]
    fn all_goes_on_when_the_picker_leaves_before_it_answers() {
        let mut passage = shown(&["one ", "two "]);
        passage.release(true);
        assert!(!passage.show(Bytes::from_static(b"three")));
        passage.end();
        assert!(passage.is_complete());
        assert_eq!(passed(&mut passage), "one two three");
    }

    #[test]
    fn what_was_returned_in_other_pieces_is_not_sent_twice() {
        for is_graceful in [true, false] {
            let mut passage = shown(&["one ", "", "two ", "three"]);
            passage.answer(Some(streamed("on", false)));
            passage.answer(Some(streamed("e tw", false)));
            passage.release(is_graceful);
            assert_eq!(passed(&mut passage), "one two three");
        }
    }

    #[test]
    fn a_rewritten_chunk_is_not_sent_twice() {
        let mut passage = shown(&["one ", "two ", "three"]);
        passage.answer(Some(streamed("eins ", false)));
        passage.answer(Some(streamed("zwei ", false)));
        passage.release(false);
        assert_eq!(passed(&mut passage), "eins zwei three");
    }

    #[test]
    fn a_picker_that_rewrote_all_ends_the_body_by_leaving() {
        let mut passage = shown(&["one ", "two ", "three"]);
        passage.end();
        passage.answer(Some(streamed("eins zwei drei", false)));
        assert!(!passage.is_complete());
        passage.release(true);
        assert!(passage.is_complete());
        assert_eq!(passed(&mut passage), "eins zwei drei");
    }

    #[test]
    fn kinds_of_answers_may_be_mixed() {
        let mut passage = shown(&["one ", "two ", "three ", "four"]);
        passage.end();
        passage.answer(Some(streamed("one ", false)));
        passage.answer(None);
        passage.answer(Some(streamed("drei ", false)));
        passage.answer(Some(streamed("four", true)));
        assert!(passage.is_complete());
        assert_eq!(passed(&mut passage), "one two drei four");
    }

    #[test]
    fn a_whole_body_may_come_at_once() {
        let mut passage = shown(&["one"]);
        passage.replace(Bytes::from_static(b"all"));
        assert!(passage.is_complete());
        assert_eq!(passed(&mut passage), "all");
    }
}
