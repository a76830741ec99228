//! A request's body, which may be sent more than once.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Bytes;
use tokio::time::Instant;

use super::{BoxError, chunk::Room};

/// Why a body cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the request's body")]
    Source { source: BoxError },
    #[error("a later try sends the request")]
    Superseded,
}

/// The body of one request. Each try reads it from the start, as long as it fits into the buffer.
#[derive(Debug)]
pub struct Upload<B> {
    /// None for a body that is empty.
    state: Option<Rc<RefCell<State<B>>>>,
    made: Instant,
}

#[derive(Debug)]
struct State<B> {
    source: B,
    size: SizeHint,
    has_begun: bool,
    has_ended: bool,
    has_failed: bool,
    kept: Vec<Kept>,
    /// For what may still be kept; none once something was not.
    room: Option<Room>,
    /// The number of the try that reads.
    reader: u32,
    /// When something came last.
    touched: Instant,
}

#[derive(Clone, Debug)]
enum Kept {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// One try's reading of an [`Upload`].
#[derive(Debug)]
pub struct Reading<B> {
    state: Option<Rc<RefCell<State<B>>>>,
    number: u32,
    /// How much of what is kept was read.
    next: usize,
}

/// How far the upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More is to come; since when nothing came.
    Waiting(Instant),
    /// All of it was read; since when.
    Ended(Instant),
}

impl Progress {
    /// When something came last.
    #[must_use]
    pub fn since(self) -> Instant {
        match self {
            Self::Waiting(since) | Self::Ended(since) => since,
        }
    }
}

impl<B: Body<Data = Bytes>> Upload<B> {
    /// A body of which some bytes may be kept; none where it is not to be sent again.
    #[must_use]
    pub fn new(source: B, room: Option<usize>) -> Self {
        let made = Instant::now();
        let state = (!source.is_end_stream()).then(|| {
            Rc::new(RefCell::new(State {
                size: source.size_hint(),
                source,
                has_begun: false,
                has_ended: false,
                has_failed: false,
                kept: Vec::new(),
                room: room.map(Room::new),
                reader: 0,
                touched: made,
            }))
        });
        Self { state, made }
    }

    /// The body from its start, for the next try; what earlier tries still read of it fails.
    #[must_use]
    pub fn read(&self) -> Reading<B> {
        let number = self.state.as_ref().map_or(0, |state| {
            let mut state = state.borrow_mut();
            state.reader += 1;
            state.reader
        });
        Reading {
            state: self.state.clone(),
            number,
            next: 0,
        }
    }

    /// Whether it can be read from the start once more.
    #[must_use]
    pub fn can_be_repeated(&self) -> bool {
        self.state.as_ref().is_none_or(|state| {
            let state = state.borrow();
            // Nothing was read yet of a body that is not kept.
            !state.has_failed && (state.room.is_some() || !state.has_begun)
        })
    }

    /// Whether the client did not send all of it.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.borrow().has_failed)
    }

    /// Says that no further try will come.
    pub fn settle(&self) {
        if let Some(state) = &self.state {
            state.borrow_mut().room = None;
        }
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match &self.state {
            None => Progress::Ended(self.made),
            Some(state) => state.borrow().progress(),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> State<B>
where
    B::Error: Into<BoxError>,
{
    /// The next frame that no try has read.
    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.source).poll_frame(context));
        self.has_begun = true;
        self.touched = Instant::now();
        match frame {
            Some(Ok(frame)) => {
                self.keep(&frame);
                self.has_ended = frame.is_trailers() || self.source.is_end_stream();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.has_failed = true;
                Poll::Ready(Some(Err(Error::Source { source: error.into() })))
            }
            None => {
                self.has_ended = true;
                Poll::Ready(None)
            }
        }
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        let Some(room) = self.room else { return };
        let length = frame.data_ref().map_or(0, Bytes::len);
        self.room = room.beside(length);
        if self.room.is_none() {
            self.kept = Vec::new();
        } else if let Some(data) = frame.data_ref() {
            self.kept.push(Kept::Data(data.clone()));
        } else if let Some(trailers) = frame.trailers_ref() {
            self.kept.push(Kept::Trailers(trailers.clone()));
        }
    }
}

impl<B> State<B> {
    fn progress(&self) -> Progress {
        if self.has_ended {
            Progress::Ended(self.touched)
        } else {
            Progress::Waiting(self.touched)
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Reading<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let Some(state) = &this.state else {
            return Poll::Ready(None);
        };
        let mut state = state.borrow_mut();
        if state.reader != this.number {
            return Poll::Ready(Some(Err(Error::Superseded)));
        }
        if let Some(kept) = state.kept.get(this.next).cloned() {
            this.next += 1;
            return Poll::Ready(Some(Ok(kept.into())));
        }
        let frame = state.poll_source(context);
        if state.room.is_none() {
            state.kept = Vec::new();
        }
        this.next = state.kept.len();
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.state.as_ref().is_none_or(|state| {
            let state = state.borrow();
            state.has_ended && self.next >= state.kept.len()
        })
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            None => SizeHint::with_exact(0),
            // Asked for before anything is read of it.
            Some(state) => state.borrow().size,
        }
    }
}

impl From<Kept> for Frame<Bytes> {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Data(data) => Self::data(data),
            Kept::Trailers(trailers) => Self::trailers(trailers),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use futures::FutureExt as _;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    type Frames =
        futures::stream::Iter<std::collections::vec_deque::IntoIter<Result<Frame<Bytes>, Infallible>>>;

    fn body(chunks: &[&'static str]) -> StreamBody<Frames> {
        let frames: VecDeque<_> = chunks
            .iter()
            .map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes()))))
            .collect();
        StreamBody::new(futures::stream::iter(frames))
    }

    fn next(reading: &mut Reading<StreamBody<Frames>>) -> Option<Result<Bytes, Error>> {
        let frame = reading.frame().now_or_never().expect("nothing waits")?;
        Some(frame.map(|frame| frame.into_data().expect("data")))
    }

    #[test]
    fn a_second_try_reads_what_the_first_did_and_the_rest() {
        let upload = Upload::new(body(&["one", "two", "three"]), Some(1000));
        let mut first = upload.read();
        assert_eq!(next(&mut first).unwrap().unwrap(), "one");
        assert_eq!(next(&mut first).unwrap().unwrap(), "two");
        let second = upload.read();
        assert!(matches!(next(&mut first), Some(Err(Error::Superseded))));
        let all = second.collect().now_or_never().unwrap().unwrap().to_bytes();
        assert_eq!(all, "onetwothree");
        assert!(matches!(upload.progress(), Progress::Ended(_)));
    }

    #[test]
    fn what_does_not_fit_is_not_repeated() {
        let upload = Upload::new(body(&["one", "two"]), Some(5));
        let mut first = upload.read();
        next(&mut first).unwrap().unwrap();
        assert!(upload.can_be_repeated());
        next(&mut first).unwrap().unwrap();
        assert!(!upload.can_be_repeated());
    }

    #[test]
    fn what_is_not_kept_is_repeated_until_it_was_read() {
        let upload = Upload::new(body(&["one"]), None);
        let mut first = upload.read();
        assert!(upload.can_be_repeated());
        next(&mut first).unwrap().unwrap();
        assert!(!upload.can_be_repeated());
    }

    #[test]
    fn a_settled_upload_is_read_to_its_end() {
        let upload = Upload::new(body(&["one", "two", "three"]), Some(1000));
        let mut first = upload.read();
        next(&mut first).unwrap().unwrap();
        next(&mut first).unwrap().unwrap();
        let mut second = upload.read();
        next(&mut second).unwrap().unwrap();
        upload.settle();
        assert_eq!(next(&mut second).unwrap().unwrap(), "two");
        assert_eq!(next(&mut second).unwrap().unwrap(), "three");
        assert!(next(&mut second).is_none());
        assert!(!upload.can_be_repeated());
    }

    #[test]
    fn an_empty_body_is_ended_and_can_always_be_repeated() {
        let upload = Upload::new(http_body_util::Empty::<Bytes>::new(), None);
        assert!(upload.read().is_end_stream());
        assert_eq!(upload.read().size_hint().exact(), Some(0));
        upload.settle();
        assert!(upload.can_be_repeated());
    }
}
