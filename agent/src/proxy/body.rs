//! The body of a response, as NGINX gets it.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Bytes;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    BoxError,
    metrics::Ongoing,
    picker::respond::{self, Passing},
    replay::Upload,
    source::Source,
    table::InFlight,
    upstream::Download,
    usage::Meter,
};

/// Why a response is cut. NGINX's connection ends with it, so that clients do not take the part for the whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the endpoint cut the response")]
    Endpoint { source: BoxError },
    #[error("the time for the response is over")]
    Deadline,
    #[error("nothing came for too long")]
    Idle,
}

pin_project! {
    /// The body of a response.
    #[project = BodyProjection]
    pub enum Body {
        /// The proxy's own.
        Own { text: Option<Bytes> },
        /// An endpoint's.
        Served { #[pin] served: Served },
    }
}

pin_project! {
    /// An endpoint's body, within its limits of time. Dropping it ends the exchange with the endpoint at once.
    pub struct Served {
        origin: Origin,
        limits: Limits,
        touched: Instant,
        #[pin]
        timer: Option<Sleep>,
        meter: Option<Box<Meter>>,
        ongoing: Ongoing,
        _in_flight: InFlight,
    }
}

/// Whom the bytes come from.
pub enum Origin {
    Endpoint(Download),
    /// A picker, which passes on what it makes of the endpoint's.
    Picker(Box<Passing<Download>>),
}

impl Origin {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self {
            Self::Endpoint(download) => Pin::new(download).poll_frame(context),
            Self::Picker(passing) => Pin::new(passing).poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Endpoint(download) => download.is_end_stream(),
            Self::Picker(passing) => passing.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Endpoint(download) => download.size_hint(),
            Self::Picker(passing) => passing.size_hint(),
        }
    }
}

/// How long a response may take.
#[derive(Debug)]
pub struct Limits {
    /// When it must have ended.
    pub deadline: Option<Instant>,
    /// How long nothing may come.
    pub idle: Duration,
    /// The request, while its end has not come: as long as the client sends, the exchange is not idle.
    pub upload: Option<Upload<Source>>,
}

impl Body {
    /// A text; empty for none.
    #[must_use]
    pub fn text(text: impl Into<Bytes>) -> Self {
        Self::Own {
            text: Some(text.into()).filter(|text| !text.is_empty()),
        }
    }

    /// What an endpoint sends.
    #[must_use]
    pub fn served(
        origin: Origin,
        limits: Limits,
        meter: Option<Box<Meter>>,
        mut ongoing: Ongoing,
        in_flight: InFlight,
    ) -> Self {
        if origin.is_end_stream() {
            ongoing.end();
        }
        Self::Served {
            served: Served {
                origin,
                limits,
                touched: Instant::now(),
                timer: None,
                meter,
                ongoing,
                _in_flight: in_flight,
            },
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.project() {
            BodyProjection::Own { text } => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            BodyProjection::Served { served } => served.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { text } => text.is_none(),
            Self::Served { served } => served.origin.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { text } => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Served { served } => served.origin.size_hint(),
        }
    }
}

impl Served {
    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut this = self.project();
        match this.origin.poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                *this.touched = Instant::now();
                if let (Some(meter), Some(data)) = (this.meter.as_mut(), frame.data_ref()) {
                    meter.see(data, *this.touched);
                }
                if this
                    .limits
                    .deadline
                    .is_some_and(|deadline| deadline <= *this.touched)
                {
                    this.ongoing.end();
                    this.ongoing.metrics.aborts.timeout.inc();
                    return Poll::Ready(Some(Err(Error::Deadline)));
                }
                if this.origin.is_end_stream() {
                    this.ongoing.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.ongoing.end();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(source))) => {
                this.ongoing.end();
                let aborts = &this.ongoing.metrics.aborts;
                match source.downcast_ref() {
                    Some(respond::Error::Picker(_)) => aborts.picker.inc(),
                    _ => aborts.endpoint.inc(),
                };
                Poll::Ready(Some(Err(Error::Endpoint { source })))
            }
            Poll::Pending => loop {
                let (end, error) = this.limits.end(*this.touched);
                if end <= Instant::now() {
                    this.ongoing.end();
                    this.ongoing.metrics.aborts.timeout.inc();
                    return Poll::Ready(Some(Err(error)));
                }
                match this.timer.as_mut().as_pin_mut() {
                    None => this.timer.set(Some(sleep_until(end))),
                    // It is left as it was while bytes come: most timers of a stream never fire.
                    Some(timer) if timer.is_elapsed() => timer.reset(end),
                    Some(timer) if timer.deadline() > end => timer.reset(end),
                    Some(_) => {}
                }
                let timer = this.timer.as_mut().as_pin_mut().expect("it was set");
                std::task::ready!(timer.poll(context));
            },
        }
    }
}

impl Limits {
    /// When the wait for something is over that has come last at some time, and what is said then.
    fn end(&self, touched: Instant) -> (Instant, Error) {
        let sent = self.upload.as_ref().map(|upload| upload.progress().since());
        let idle = sent.map_or(touched, |sent| sent.max(touched)) + self.idle;
        match self.deadline {
            Some(deadline) if deadline < idle => (deadline, Error::Deadline),
            _ => (idle, Error::Idle),
        }
    }
}
