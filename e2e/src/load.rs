//! A load generator: so many requests per second, and what became of each.
//!
//! The loop is open: requests are due at fixed times whatever the answers do, and latency counts from the
//! time a request was due. A stall therefore shows in every request it held up. Only a load [without a
//! rate](Load::unpaced) is closed: each connection has its next request due when it has the answer to the last.

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroU32,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Error, Result};
use hyper::StatusCode;
use tokio::{
    task::JoinSet,
    time::{Instant, error::Elapsed, sleep, sleep_until},
};

use crate::client::{Answer, Connection, Request, Target};

/// How many descriptions of failures a report keeps.
const EXAMPLES: usize = 5;

/// How long after its end a load may send what was due before.
const LATENESS: Duration = Duration::from_secs(30);

/// A load to be put on a target.
#[derive(Clone, Debug)]
pub struct Load {
    target: Target,
    request: Request,
    /// Requests per second; none for as many as there are answers.
    rate: Option<NonZeroU32>,
    connections: u32,
    reuse: bool,
}

/// A load that is on; dropping it ends it without a report.
#[derive(Debug)]
pub struct Running {
    started: Instant,
    end: Arc<OnceLock<Instant>>,
    workers: JoinSet<Report>,
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Number of answers by status.
    pub answers: BTreeMap<StatusCode, u64>,
    /// Number of requests for which there was no connection.
    pub unconnected: u64,
    /// Number of requests whose connection broke before the end of the answer.
    pub broken: u64,
    /// Number of requests without a whole answer in time.
    pub late: u64,
    /// The first few failures in words, with when they happened since the start.
    pub examples: Vec<String>,
    latencies: Vec<Duration>,
}

impl Load {
    /// A hundred requests per second on four connections that are kept alive.
    pub fn new(target: Target, request: Request) -> Self {
        let rate = const { NonZeroU32::new(100).expect("100 is not 0") };
        Self {
            target,
            request,
            rate: Some(rate),
            connections: 4,
            reuse: true,
        }
    }

    /// With this many requests per second.
    ///
    /// # Panics
    ///
    /// When the rate is 0.
    #[must_use]
    pub fn rate(self, rate: u32) -> Self {
        Self {
            rate: Some(NonZeroU32::new(rate).expect("a load has requests")),
            ..self
        }
    }

    /// With as many requests per second as are answered.
    #[must_use]
    pub fn unpaced(self) -> Self {
        Self { rate: None, ..self }
    }

    /// With at most this many requests at a time.
    #[must_use]
    pub fn connections(self, connections: u32) -> Self {
        Self { connections, ..self }
    }

    /// With a connection of its own for each request.
    #[must_use]
    pub fn without_keep_alive(self) -> Self {
        Self { reuse: false, ..self }
    }

    /// Starts the load.
    pub fn start(self) -> Running {
        let end = Arc::<OnceLock<Instant>>::default();
        let started = Instant::now();
        let schedule = Arc::new(Schedule {
            start: started,
            rate: self.rate,
            taken: AtomicU32::new(0),
            end: Arc::clone(&end),
        });
        let mut workers = JoinSet::new();
        for _ in 0..self.connections {
            workers.spawn(work(self.clone(), Arc::clone(&schedule)));
        }
        Running {
            started,
            end,
            workers,
        }
    }

    /// Puts the load on for this long.
    pub async fn run(self, duration: Duration) -> Report {
        let running = self.start();
        sleep(duration).await;
        running.stop().await
    }
}

impl Running {
    /// When it was put on.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Ends the load when the requests that are due by now have their answers, however late they are sent.
    pub async fn stop(self) -> Report {
        self.end.get_or_init(Instant::now);
        self.workers
            .join_all()
            .await
            .into_iter()
            .fold(Report::default(), Report::and)
    }
}

impl Report {
    /// Number of requests.
    pub fn total(&self) -> u64 {
        self.answers.values().sum::<u64>() + self.unconnected + self.broken + self.late
    }

    /// Number of requests without a successful answer.
    pub fn failed(&self) -> u64 {
        let successful = self.answers.iter().filter(|(status, _)| status.is_success());
        self.total() - successful.map(|(_, count)| count).sum::<u64>()
    }

    /// The latency that this part of the requests, from 0 to 100 percent, stayed within; zero without any.
    pub fn percentile(&self, percent: u32) -> Duration {
        let mut latencies = self.latencies.clone();
        latencies.sort_unstable();
        let last = latencies.len().saturating_sub(1);
        latencies
            .get(last * percent as usize / 100)
            .copied()
            .unwrap_or_default()
    }

    fn count(&mut self, outcome: Result<Answer>, due: Instant, since_start: Duration) {
        let failure = match outcome {
            Ok(answer) => {
                *self.answers.entry(answer.status).or_default() += 1;
                self.latencies.push(due.elapsed());
                (!answer.status.is_success()).then(|| answer.to_string())
            }
            Err(error) => {
                match () {
                    () if error.root_cause().is::<Elapsed>() => self.late += 1,
                    () if error.is::<Unconnected>() => self.unconnected += 1,
                    () => self.broken += 1,
                }
                Some(format!("{error:#}"))
            }
        };
        if let Some(failure) = failure.filter(|_| self.examples.len() < EXAMPLES) {
            self.examples.push(format!("after {since_start:.1?}: {failure}"));
        }
    }

    fn and(mut self, other: Self) -> Self {
        let Self {
            answers,
            unconnected,
            broken,
            late,
            examples,
            latencies,
        } = other;
        for (status, count) in answers {
            *self.answers.entry(status).or_default() += count;
        }
        self.unconnected += unconnected;
        self.broken += broken;
        self.late += late;
        self.examples.extend(examples);
        self.examples.truncate(EXAMPLES);
        self.latencies.extend(latencies);
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} requests, {} failed", self.total(), self.failed())?;
        for (status, count) in &self.answers {
            write!(formatter, ", {count} x {}", status.as_u16())?;
        }
        for (count, what) in [
            (self.unconnected, "unconnected"),
            (self.broken, "broken"),
            (self.late, "late"),
        ] {
            if count > 0 {
                write!(formatter, ", {count} {what}")?;
            }
        }
        let [median, slow] = [50, 99].map(|percent| self.percentile(percent));
        write!(formatter, "; median {median:.1?}, 99 % within {slow:.1?}")?;
        self.examples
            .iter()
            .try_for_each(|example| write!(formatter, "\n  {example}"))
    }
}

/// When each request is due; the workers take turns.
struct Schedule {
    start: Instant,
    rate: Option<NonZeroU32>,
    taken: AtomicU32,
    /// From when on nothing is due, once that is known.
    end: Arc<OnceLock<Instant>>,
}

/// The request found nobody to take it.
#[derive(Debug)]
struct Unconnected;

impl fmt::Display for Unconnected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("no connection")
    }
}

impl Schedule {
    /// Waits for the next request; none when the load is over.
    async fn next(&self) -> Option<Instant> {
        let due = match self.rate {
            Some(rate) => {
                let number = self.taken.fetch_add(1, Ordering::Relaxed);
                let due = self.start + Duration::from_secs(number.into()) / rate.get();
                sleep_until(due).await;
                due
            }
            None => Instant::now(),
        };
        let is_over = |end: &Instant| due >= *end || end.elapsed() > LATENESS;
        (!self.end.get().is_some_and(is_over)).then_some(due)
    }
}

async fn work(load: Load, schedule: Arc<Schedule>) -> Report {
    let mut report = Report::default();
    let mut idle = None;
    while let Some(due) = schedule.next().await {
        let outcome = exchange(&load, &mut idle).await;
        report.count(outcome, due, due - schedule.start);
    }
    report
}

async fn exchange(load: &Load, idle: &mut Option<Connection>) -> Result<Answer> {
    if let Some(mut connection) = idle.take()
        && connection.ready().await
    {
        match connection.send(load.request.clone()).await {
            Ok(answer) => {
                *idle = Some(connection);
                return Ok(answer);
            }
            // The server closed the idle connection before the request was written: every client asks again.
            Err(error) if never_sent(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let mut connection = load
        .target
        .connect()
        .await
        .map_err(|error| error.context(Unconnected))?;
    let answer = connection.send(load.request.clone()).await?;
    *idle = load.reuse.then_some(connection);
    Ok(answer)
}

fn never_sent(error: &Error) -> bool {
    error
        .downcast_ref::<hyper::Error>()
        .is_some_and(hyper::Error::is_canceled)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::echo::Echo;

    const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[tokio::test]
    async fn every_request_is_counted_once() {
        let echo = Echo::start("a", ANYWHERE).await.unwrap();
        let load = Load::new(Target::http(echo.address()), Request::get("/")).rate(500);
        for (load, least) in [
            (load.clone(), 150),
            (load.clone().without_keep_alive(), 150),
            (load.unpaced(), 1),
        ] {
            let before = echo.seen().len();
            let report = load.run(Duration::from_millis(300)).await;
            assert_eq!(report.failed(), 0, "{report}");
            assert_eq!(report.total(), (echo.seen().len() - before) as u64);
            assert!(report.total() >= least, "{report}");
        }
    }

    #[tokio::test]
    async fn requests_that_were_due_in_time_are_sent_though_it_is_late() {
        let echo = Echo::start("a", ANYWHERE).await.unwrap();
        let load = Load::new(Target::http(echo.address()), Request::get("/?delay=20ms"));
        let report = load.connections(1).run(Duration::from_millis(200)).await;
        assert_eq!(report.failed(), 0, "{report}");
        assert!(report.total() >= 20, "{report}");
    }

    #[tokio::test]
    async fn failures_are_told_apart() {
        let echo = Echo::start("a", ANYWHERE).await.unwrap();
        let refused = Load::new(Target::http(echo.address()), Request::get("/status/503"));
        let report = refused.run(Duration::from_millis(100)).await;
        assert_eq!(
            report.answers.get(&StatusCode::SERVICE_UNAVAILABLE),
            Some(&report.total()),
            "{report}"
        );
        let target = Target::http(echo.address());
        drop(echo);
        let report = Load::new(target, Request::get("/"))
            .run(Duration::from_millis(100))
            .await;
        assert_eq!(report.unconnected, report.total(), "{report}");
        assert!(report.total() > 0);
    }
}
