//! Bringing NGINX to serve what is wanted, and keeping it at that.
//!
//! Level-triggered: whatever happens (a newer configuration, the end of NGINX, time to try again), the same
//! step compares what is wanted with what is served.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use proto::fleet::{Config, Rejection, Report};
use rustix::process::{Pid, Signal};
use tokio::{
    select,
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{error, info, warn};

use crate::{
    backoff::Backoff,
    causes, data,
    dns::{Dns, Upstream},
    files,
    generation::{self, Addition, Generations},
    nginx::{self, Answer, Attention, Binary, Master, Refusal, process},
    prefix::Prefix,
    proxy_link::ProxyLink,
};

/// How long NGINX may take from the signal to serving; the largest configurations take seconds.
const CONFIRM_TIMEOUT: Duration = Duration::from_mins(1);

/// How often NGINX is asked in that time.
const CONFIRM_INTERVAL: Duration = Duration::from_millis(5);

/// How long NGINX may be silent before it has asked for the endpoints of all new upstreams. It asks at once when it
/// starts serving, and many questions take seconds where there is little CPU time.
const ENDPOINTS_SILENCE: Duration = Duration::from_secs(2);

/// How long the proxy may take to know the legs of new configurations; it is told at once.
const PROXY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long NGINX may take to end when it is no longer asked to do so gracefully.
const CUT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why NGINX does not serve a configuration.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Stage(#[from] generation::Error),
    #[error(transparent)]
    Nginx(#[from] nginx::Error),
    #[error("cannot remove the socket of an NGINX that is gone")]
    Socket(#[from] files::Error),
}

/// What the newest workers serve.
#[derive(Debug)]
struct Served {
    version: String,
    reloads: u64,
    upstreams: BTreeSet<Upstream>,
}

/// One NGINX and all that has a say in what it serves.
pub struct Gateway {
    parts: Parts,
    running: Option<Running>,
    attention: Attention,
}

/// What a gateway is made of.
pub struct Parts {
    /// The folder that NGINX runs from.
    pub prefix: Prefix,
    /// The NGINX to run.
    pub binary: Binary,
    /// What NGINX learns its endpoints from.
    pub dns: Dns,
    /// Where NGINX is to ask for them.
    pub resolvers: Vec<SocketAddr>,
    /// What is in effect without a reload.
    pub data: Arc<data::InEffect>,
    /// What is known of the proxy that NGINX hands requests to.
    pub proxy: ProxyLink,
    /// Threads of the proxy, each with a socket.
    pub proxy_threads: usize,
    /// The newest configuration that the operator wants; none before its first word.
    pub wanted: watch::Receiver<Option<Arc<Config>>>,
    /// What the operator is told.
    pub report: watch::Sender<Report>,
}

/// An NGINX that runs.
struct Running {
    master: Master,
    /// None where no worker answers, or NGINX asks a DNS that is no longer there: in need of a reload.
    served: Option<Served>,
}

impl Gateway {
    /// Not yet running.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            attention: Attention::new(&parts.prefix),
            parts,
            running: None,
        }
    }

    /// Takes over the NGINX that runs from the prefix, if one does, without a reload.
    ///
    /// It has to be reloaded all the same when it asks a DNS that is no longer there.
    pub async fn adopt(&mut self, dns_is_where_it_was: bool) {
        let master = match Master::find(&self.parts.prefix) {
            Ok(Some(master)) => master,
            Ok(None) => return,
            Err(error) => return error!(%error, "cannot look for a running NGINX"),
        };
        let answer = if dns_is_where_it_was {
            Answer::ask(&self.parts.prefix).await
        } else {
            None
        };
        let served = answer.map(|Answer { version, reloads, .. }| Served {
            upstreams: self.generations().upstreams(&version).unwrap_or_default(),
            version,
            reloads,
        });
        // It lives longer than the supervisor does, and would otherwise be reported as missing.
        self.parts.proxy.knows_newest(PROXY_TIMEOUT).await;
        info!(pid = master.pid().as_raw_pid(), version = ?served.as_ref().map(|served| &served.version), "adopted NGINX");
        self.running = Some(Running { master, served });
        self.report_served();
    }

    /// Serves what is wanted, for ever; last good until something is.
    pub async fn run(&mut self) -> Infallible {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));
        loop {
            let wanted = self.parts.wanted.borrow_and_update().clone();
            self.forget_rejection(wanted.as_deref());
            let retry = match self.step(wanted.as_deref()).await {
                Ok(()) => {
                    backoff.reset();
                    self.retire()
                }
                Err((version, failure)) => {
                    self.reject(version, &failure);
                    Some(backoff.delay())
                }
            };
            select! {
                Ok(()) = self.parts.wanted.changed() => backoff.reset(),
                () = ended(self.running.as_ref()) => warn!("NGINX has ended"),
                () = self.parts.proxy.changed() => self.report_served(),
                () = self.attention.changed(), if served(self.running.as_ref()).is_some() => self.heed_silence(),
                () = at_retry(retry) => {}
            }
        }
    }

    /// Nobody is sent to an NGINX that does not answer. Where it has no worker at all, because the last could not be
    /// started, a reload starts others.
    fn heed_silence(&mut self) {
        if self.attention.is_answered() {
            info!("NGINX answers again");
        } else if process::accepting_workers(&self.parts.prefix).is_empty() {
            error!("NGINX has no workers");
            if let Some(running) = &mut self.running {
                running.served = None;
            }
        } else {
            error!("NGINX does not answer");
        }
        self.report_served();
    }

    /// Lets connections end, then cuts what is left after the time limit, and returns when NGINX has ended.
    pub async fn stop(&mut self, limit: Duration) {
        let running = self.running.take().map(|running| running.master);
        // What was interrupted may have been a start.
        let Some(master) = running.or_else(|| Master::find(&self.parts.prefix).ok().flatten()) else {
            return;
        };
        for (signal, limit) in [
            (Signal::QUIT, limit),
            (Signal::TERM, CUT_TIMEOUT),
            (Signal::KILL, CUT_TIMEOUT),
        ] {
            if let Err(error) = master.signal(signal) {
                error!(%error, "cannot signal NGINX");
            }
            if timeout(limit, master.exited()).await.is_ok() {
                return;
            }
            warn!(
                ?signal,
                seconds = limit.as_secs_f32(),
                "NGINX has not ended in time"
            );
        }
    }

    /// Does what is missing between wanted and served; where that fails, says which version and why.
    async fn step(&mut self, wanted: Option<&Config>) -> Result<(), (String, Failure)> {
        self.running.take_if(|running| running.master.has_exited());
        let kept = self.serve_good().await;
        match wanted {
            Some(config) if self.generations().good().as_ref() != Some(&config.version) => self
                .apply(config)
                .await
                .map_err(|failure| (config.version.clone(), failure)),
            _ => kept,
        }
    }

    /// Has NGINX run and serve the last good configuration, if there is one.
    async fn serve_good(&mut self) -> Result<(), (String, Failure)> {
        if self.served_version().is_some() {
            return Ok(());
        }
        self.report_served();
        match self.generations().good() {
            Some(version) => self
                .bring_up(&version)
                .await
                .map_err(|failure| (version, failure)),
            None => Ok(()),
        }
    }

    /// Stages, switches, and keeps the switch only if NGINX follows.
    async fn apply(&mut self, config: &Config) -> Result<(), Failure> {
        let generations = self.generations();
        let previous = generations.good();
        generations.stage(config)?;
        let outcome = self.bring_up(&config.version).await;
        if outcome.is_err() {
            generations.go_back()?;
        }
        let mut keep = vec![config.version.as_str()];
        keep.extend(previous.as_deref());
        if let Err(error) = generations.prune(&keep) {
            let reason = causes::sentence(&error);
            warn!(reason, "configurations of before are left behind");
        }
        outcome
    }

    /// From a staged version to one that NGINX serves, with all endpoints known.
    async fn bring_up(&mut self, version: &str) -> Result<(), Failure> {
        let begun = Instant::now();
        let generations = self.generations();
        let served = served(self.running.as_ref());
        let reloads = match (&self.running, served) {
            (None, _) => 0,
            (Some(_), served) => served.map_or(0, |served| served.reloads) + 1,
        };
        generations.add(&Addition {
            version,
            reloads,
            resolvers: &self.parts.resolvers,
            counts_connections: self.parts.binary.counts_connections(),
            proxy_threads: self.parts.proxy_threads,
        })?;
        if !self.may_be_tried(version) {
            let configuration = Generations::configuration(version);
            self.parts.binary.test(&configuration).await?;
        }
        let upstreams = generations.upstreams(version)?;
        // NGINX carries over the endpoints of an upstream that it had before.
        let known = served.map(|served| &served.upstreams);
        let is_new = |upstream: &&Upstream| known.is_none_or(|known| !known.contains(upstream));
        let new: Vec<&Upstream> = upstreams.iter().filter(is_new).collect();
        if !self.parts.proxy.knows_newest(PROXY_TIMEOUT).await {
            warn!(version, "the proxy does not know all legs; serving nevertheless");
        }
        let endpoints_known = self.parts.dns.asked_about(&new, ENDPOINTS_SILENCE);

        generations.switch(version)?;
        self.start_or_reload(version, reloads).await?;
        self.attention.answered();
        generations.approve(version)?;
        if endpoints_known.await {
            process::at_rest(&self.parts.prefix).await;
        } else {
            warn!(
                version,
                "NGINX has not asked for all endpoints; serving nevertheless"
            );
        }
        if let Some(running) = &mut self.running {
            running.served = Some(Served {
                version: version.to_owned(),
                reloads,
                upstreams,
            });
        }
        info!(
            version,
            reloads,
            milliseconds = begun.elapsed().as_millis(),
            "serving"
        );
        self.report_served();
        Ok(())
    }

    /// Whether a version is put to the NGINX that runs, without a test in a process of its own.
    ///
    /// A reload reads all of it anyway, which is most of what it costs, and changes nothing when it cannot: see
    /// <https://nginx.org/en/docs/control.html#reconfiguration>. What was refused before is tested first, though, so
    /// that nothing that harms NGINX can do so again and again.
    fn may_be_tried(&self, version: &str) -> bool {
        let report = self.parts.report.borrow();
        let refused = report.rejection.as_ref();
        self.running.is_some() && refused.is_none_or(|rejection| rejection.config != version)
    }

    async fn start_or_reload(&mut self, version: &str, reloads: u64) -> Result<(), Failure> {
        let replaced = if let Some(running) = &self.running {
            let replaced = process::accepting_workers(&self.parts.prefix);
            self.parts.binary.forget_refusals();
            running.master.signal(Signal::HUP).map_err(nginx::Error::Signal)?;
            replaced
        } else {
            process::dismiss_orphans(&self.parts.prefix).await;
            files::remove(&self.parts.prefix.nginx_socket())?;
            let master = self.parts.binary.start().await?;
            self.running = Some(Running { master, served: None });
            Vec::new()
        };
        Ok(self.confirm(version, reloads, &replaced).await?)
    }

    /// Waits until the workers that were there before accept nothing any more and another one answers as it should.
    async fn confirm(&self, version: &str, reloads: u64, replaced: &[Pid]) -> Result<(), nginx::Error> {
        let begun = Instant::now();
        while begun.elapsed() < CONFIRM_TIMEOUT {
            if process::have_stopped_accepting(&self.parts.prefix, replaced)
                && let Some(answer) = Answer::ask(&self.parts.prefix).await
                && (answer.version == version && answer.reloads == reloads)
            {
                return Ok(());
            }
            if let Some(refusal) = self.parts.binary.refusal() {
                return Err(refusal.into());
            }
            select! {
                () = ended(self.running.as_ref()) => return Err(Refusal::new("NGINX ended").into()),
                () = sleep(CONFIRM_INTERVAL) => {}
            }
        }
        let seconds = CONFIRM_TIMEOUT.as_secs();
        Err(Refusal::new(format!(
            "NGINX did not begin to serve this within {seconds} seconds"
        ))
        .into())
    }

    /// Once NGINX serves what is wanted, nobody needs what only older configurations named.
    ///
    /// Returns when to look again for what cannot be removed yet.
    fn retire(&self) -> Option<Duration> {
        let Parts { wanted, data, .. } = &self.parts;
        // What has come since may lack what NGINX serves.
        if wanted.borrow().is_none() || wanted.has_changed().unwrap_or(false) {
            return None;
        }
        data.retire().unwrap_or_else(|error| {
            warn!(%error, "cannot remove what is no longer needed");
            None
        })
    }

    fn reject(&self, version: String, failure: &Failure) {
        let refusal = match failure {
            Failure::Nginx(nginx::Error::Refused(refusal)) => refusal.clone(),
            failure => Refusal::new(causes::sentence(failure)),
        };
        let Refusal { message, file, line } = refusal;
        warn!(version, reason = message, file, line, "not served");
        let rejection = Some(Rejection {
            config: version,
            message,
            file,
            line,
        });
        self.parts.report.send_if_modified(|report| {
            let is_new = report.rejection != rejection;
            report.rejection = rejection;
            is_new
        });
    }

    /// A rejection is of no interest once another version is wanted.
    fn forget_rejection(&self, wanted: Option<&Config>) {
        let Some(wanted) = wanted else { return };
        self.parts.report.send_if_modified(|report| {
            report
                .rejection
                .take_if(|rejection| rejection.config != wanted.version)
                .is_some()
        });
    }

    fn report_served(&self) {
        let served = served(self.running.as_ref());
        self.parts.report.send_if_modified(|report| {
            let before = report.clone();
            report.ready = served.is_some() && self.attention.is_answered() && self.parts.proxy.is_ready();
            if let Some(served) = served {
                report.config.clone_from(&served.version);
                report.reloads = served.reloads;
                report
                    .rejection
                    .take_if(|rejection| rejection.config == served.version);
            }
            *report != before
        });
    }

    fn served_version(&self) -> Option<&str> {
        Some(&served(self.running.as_ref())?.version)
    }

    fn generations(&self) -> Generations {
        Generations::new(&self.parts.prefix)
    }
}

fn served(running: Option<&Running>) -> Option<&Served> {
    running?.served.as_ref()
}

/// Ends when NGINX does; never where none runs.
async fn ended(running: Option<&Running>) {
    match running {
        Some(running) => running.master.exited().await,
        None => future::pending().await,
    }
}

/// Ends when it is time to try again; never where there is nothing to try.
async fn at_retry(delay: Option<Duration>) {
    match delay {
        Some(delay) => sleep(delay).await,
        None => future::pending().await,
    }
}
