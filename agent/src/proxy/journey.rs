//! A request's tries: at which endpoint, how many, for how long.

use std::{net::SocketAddr, pin::pin, rc::Rc, sync::Arc, time::Duration};

use futures::future::{Either, select};
use http::{Response, request};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::{
    refusal::Refusal,
    replay::{Progress, Upload},
    server::Server,
    source::Source,
    table::{Endpoint, InFlight, Leg, Retry, Table},
    upstream::{Download, Failure},
};

/// Endpoints that a request without a picker is taken to while connections cannot be made.
const MOST_ENDPOINTS: usize = 5;

/// A request on its way.
pub struct Journey<'a> {
    pub server: &'a Rc<Server>,
    pub table: &'a Table,
    pub leg: &'a Leg,
    /// When the response must have ended.
    pub deadline: Option<Instant>,
    /// The only endpoints that it may go to, in order of preference; none for all of the leg's.
    pub chosen: Option<Vec<SocketAddr>>,
    /// Endpoints that it went to in vain.
    pub tried: Vec<SocketAddr>,
    /// Tries that only the leg's retry allowed.
    pub retries: u32,
}

/// What an endpoint responds.
pub struct Reply {
    pub response: Response<Download>,
    pub in_flight: InFlight,
    /// When it must have ended.
    pub deadline: Option<Instant>,
}

/// What a try came to.
enum Outcome {
    Response(Response<Download>),
    Failure(Failure),
    /// The endpoint took too long.
    Late,
    /// The request did.
    Over,
}

/// Whether a request goes on after a try.
enum Next {
    Another,
    AnotherAfter(Duration),
    None,
}

impl Journey<'_> {
    /// Bytes of the body to keep, so that it may be sent again though an endpoint may have seen it; none where it may not.
    #[must_use]
    pub fn keep(&self, head: &request::Parts) -> Option<usize> {
        let settings = &self.table.settings;
        if self.chosen.is_some() {
            // All of it is in memory as it is.
            return Some(settings.request_buffer);
        }
        let may_repeat = self.leg.retry.is_some() || head.method.is_idempotent();
        may_repeat.then_some(settings.replay_buffer)
    }

    /// Tries endpoints until one responds with what is final.
    pub async fn travel(
        mut self,
        mut head: request::Parts,
        upload: &Upload<Source>,
    ) -> Result<Reply, Refusal> {
        let is_idempotent = head.method.is_idempotent();
        loop {
            let Some(endpoint) = self.endpoint() else {
                return Err(Refusal::NoEndpoint);
            };
            let begun = Instant::now();
            let deadline = self.leg.try_timeout.map(|timeout| begun + timeout);
            let in_flight = endpoint.begin();
            let (sent, kept) = if self.may_go_on(endpoint.address, is_idempotent) {
                (head.clone(), Some(head))
            } else {
                (head, None)
            };
            let outcome = self.attempt(endpoint.address, sent, upload, deadline).await;
            self.count(&outcome);
            let next = if upload.can_be_repeated() {
                self.next(endpoint.address, is_idempotent, &outcome)
            } else {
                Next::None
            };
            head = match (kept, next) {
                (Some(kept), Next::Another) => kept,
                (Some(kept), Next::AnotherAfter(backoff)) => {
                    drop((outcome, in_flight));
                    self.wait(backoff).await?;
                    kept
                }
                (None, _) | (_, Next::None) => {
                    upload.settle();
                    let deadline = earlier(deadline, self.deadline);
                    return outcome.conclude(upload, in_flight, deadline);
                }
            };
            self.tried.push(endpoint.address);
        }
    }

    /// The next endpoint to try, one that was not tried yet if there is any.
    fn endpoint(&self) -> Option<Arc<Endpoint>> {
        match &self.chosen {
            Some(chosen) => {
                let endpoint = |address: &SocketAddr| {
                    let mut members = self.leg.endpoints.iter();
                    members.find(|endpoint| endpoint.address == *address).cloned()
                };
                let mut untried = chosen.iter().filter(|address| self.is_untried(address));
                untried.next().or(chosen.first()).and_then(endpoint)
            }
            None => self.least_loaded(),
        }
    }

    /// The endpoint with the fewest requests in flight.
    fn least_loaded(&self) -> Option<Arc<Endpoint>> {
        let endpoints = &self.leg.endpoints;
        // Equally loaded endpoints take turns.
        let start = self.server.turn(endpoints.len());
        let (before, from) = endpoints.split_at(start);
        let in_turn = || from.iter().chain(before);
        let least = in_turn()
            .filter(|endpoint| self.is_untried(&endpoint.address))
            .min_by_key(|endpoint| endpoint.in_flight());
        least
            .or_else(|| in_turn().min_by_key(|endpoint| endpoint.in_flight()))
            .cloned()
    }

    fn is_untried(&self, address: &SocketAddr) -> bool {
        !self.tried.contains(address)
    }

    async fn attempt(
        &self,
        address: SocketAddr,
        head: request::Parts,
        upload: &Upload<Source>,
        deadline: Option<Instant>,
    ) -> Outcome {
        let transport = &self.leg.transport;
        let response = self.server.pool.send(
            transport,
            transport.to(address),
            (head, upload.read()),
            self.table.settings.connect_timeout,
        );
        match select(pin!(response), pin!(self.late(upload, deadline))).await {
            Either::Left((Ok(response), _)) => Outcome::Response(response),
            Either::Left((Err(failure), _)) => Outcome::Failure(failure),
            Either::Right((late, _)) => late,
        }
    }

    /// Resolves when a try that begins now has taken too long.
    async fn late(&self, upload: &Upload<Source>, deadline: Option<Instant>) -> Outcome {
        let begun = Instant::now();
        let deadlines = earlier(deadline, self.deadline);
        loop {
            let silence = self.end_of_silence(begun, upload);
            sleep_until(deadlines.map_or(silence, |deadline| deadline.min(silence))).await;
            let now = Instant::now();
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                return Outcome::Over;
            }
            // Bytes of the request may have come meanwhile.
            if deadline.is_some_and(|deadline| deadline <= now) || self.end_of_silence(begun, upload) <= now {
                return Outcome::Late;
            }
        }
    }

    /// When a try that began at some time has waited for too long, if nothing comes.
    fn end_of_silence(&self, begun: Instant, upload: &Upload<Source>) -> Instant {
        let settings = &self.table.settings;
        match upload.progress() {
            Progress::Waiting(since) => since.max(begun) + settings.idle_timeout,
            Progress::Ended(since) => since.max(begun) + settings.first_byte_timeout,
        }
    }

    /// Whether another try may follow the one at an endpoint, whatever comes of that.
    fn may_go_on(&self, address: SocketAddr, is_idempotent: bool) -> bool {
        self.is_retried() || self.may_cost_nothing(address, is_idempotent)
    }

    /// Whether the request goes on after a try, and how.
    fn next(&mut self, address: SocketAddr, is_idempotent: bool, outcome: &Outcome) -> Next {
        if let Outcome::Failure(failure) = outcome
            && self.costs_nothing(address, is_idempotent, failure)
        {
            return Next::Another;
        }
        match &self.leg.retry {
            Some(retry) if self.is_retried() && outcome.is_worth(retry) => {
                self.retries += 1;
                Next::AnotherAfter(retry.backoff)
            }
            _ => Next::None,
        }
    }

    /// Whether the leg's retry allows another try.
    fn is_retried(&self) -> bool {
        let retry = self.leg.retry.as_ref();
        retry.is_some_and(|retry| self.retries < retry.attempts)
    }

    /// Whether there is another endpoint than one that is tried, which was not tried yet.
    fn is_another_left(&self, address: SocketAddr) -> bool {
        let is_left = |other: &SocketAddr| *other != address && self.is_untried(other);
        if let Some(chosen) = &self.chosen {
            return chosen.iter().any(is_left);
        }
        let mut endpoints = self.leg.endpoints.iter();
        endpoints.any(|endpoint| is_left(&endpoint.address))
    }

    /// Whether another try may follow without the leg's saying so, after some failures.
    fn may_cost_nothing(&self, address: SocketAddr, is_idempotent: bool) -> bool {
        if self.chosen.is_some() {
            // The picker's list is there to be walked.
            return self.is_another_left(address);
        }
        let has_room = self.leg.retry.is_none() && self.tried.len() + 1 < MOST_ENDPOINTS;
        has_room && (is_idempotent || self.is_another_left(address))
    }

    /// Whether this failure is one of those.
    fn costs_nothing(&self, address: SocketAddr, is_idempotent: bool, failure: &Failure) -> bool {
        let is_meant = match failure {
            // It has done its work, and the next one's answer would hardly be shorter.
            Failure::Unreadable { .. } => false,
            _ if self.chosen.is_some() => true,
            Failure::Reset { was_kept, .. } => *was_kept && is_idempotent,
            failure => failure.is_before_the_request() && self.is_another_left(address),
        };
        is_meant && self.may_cost_nothing(address, is_idempotent)
    }

    /// Waits before the next try, unless the time of the request ends before.
    async fn wait(&self, backoff: Duration) -> Result<(), Refusal> {
        let backoff = sleep(backoff);
        if let Some(deadline) = self.deadline {
            return timeout_at(deadline, backoff).await.map_err(|_| Refusal::Late);
        }
        backoff.await;
        Ok(())
    }

    fn count(&self, outcome: &Outcome) {
        let tries = &self.server.metrics.tries;
        let counter = match outcome {
            Outcome::Response(_) => &tries.response,
            Outcome::Failure(Failure::Reset { .. } | Failure::Unreadable { .. }) => &tries.reset,
            Outcome::Failure(_) => &tries.connect,
            Outcome::Late | Outcome::Over => &tries.timeout,
        };
        counter.inc();
    }
}

impl Outcome {
    /// What the last try came to.
    fn conclude(
        self,
        upload: &Upload<Source>,
        in_flight: InFlight,
        deadline: Option<Instant>,
    ) -> Result<Reply, Refusal> {
        match self {
            Self::Response(response) => Ok(Reply {
                response,
                in_flight,
                deadline,
            }),
            _ if upload.has_failed() => Err(Refusal::Incomplete),
            Self::Failure(failure) => Err(Refusal::Failure {
                endpoint: Arc::clone(in_flight.endpoint()),
                failure,
            }),
            Self::Late | Self::Over => Err(Refusal::Late),
        }
    }

    /// Whether a retry is for it.
    fn is_worth(&self, retry: &Retry) -> bool {
        match self {
            Self::Response(response) => retry.codes.contains(&response.status()),
            Self::Failure(_) | Self::Late => true,
            Self::Over => false,
        }
    }
}

/// The earlier of two times that may be set.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
