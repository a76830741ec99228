//! The smallest thing that can be the first process: starts supervisor and proxy, reaps, restarts, passes signals on.
//!
//! No runtime and nothing that could fail later on: it has to outlive every other part.

use std::{
    env, fs,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::{
        Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getpid, getrlimit, set_child_subreaper,
        setrlimit, wait,
    },
};
use signal_hook::{
    consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    iterator::Signals,
};
use tracing::{info, warn};

use crate::{args::Options, child::Child, nginx::process, prefix::Prefix};

/// How long NGINX, and then the proxy, may take to end when they are no longer asked to do so gracefully.
const CUT_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs until told to stop, and then ends with the supervisor's status.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let prefix = Prefix::create(&options.prefix)?;
    let _lock = lock(&prefix.lock())?;
    fs::write(prefix.init_pid(), format!("{}\n", getpid().as_raw_pid()))
        .with_context(|| format!("cannot write {}", prefix.init_pid().display()))?;
    set_child_subreaper(Some(getpid())).context("cannot become the parent of orphaned processes")?;
    allow_open_files();
    let signals = signals()?;
    // Asked for before the executable can have been replaced by a newer one, which the supervisor is then started from.
    let executable = env::current_exe().context("cannot find the own executable")?;
    Init {
        options,
        prefix,
        executable,
        signals,
        supervisor: Child::new("supervise"),
        proxy: Child::new("proxy"),
    }
    .run()
}

/// The lock that makes this agent the only one of its folder; held as long as the file is open.
fn lock(path: &Path) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => bail!(
            "{} is locked: another agent runs from this folder",
            path.display()
        ),
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Lets this process, and all that come from it, have as many open files as they may: a connection is one, and shells
/// and container runtimes begin with 1,024 for the sake of programs of old.
fn allow_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "cannot have as many open files as allowed");
    }
}

/// The signals that arrive from now on, in order.
fn signals() -> io::Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP])?;
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name("signals".to_owned())
        .stack_size(64 << 10)
        .spawn(move || {
            for signal in signals.forever() {
                if sender.send(signal).is_err() {
                    return;
                }
            }
        })?;
    Ok(receiver)
}

struct Init<'options> {
    options: &'options Options,
    prefix: Prefix,
    executable: PathBuf,
    signals: Receiver<i32>,
    supervisor: Child,
    proxy: Child,
}

impl Init<'_> {
    /// Keeps both running until a signal has made the supervisor end.
    fn run(mut self) -> anyhow::Result<ExitCode> {
        let mut is_stopping = false;
        loop {
            self.supervisor.start_if_due(&self.executable);
            self.proxy.start_if_due(&self.executable);
            match self.next_signal()? {
                None => {}
                Some(SIGCHLD) => {
                    while let Ok(Some((ended, status))) = wait(WaitOptions::NOHANG) {
                        if self.proxy.pid() == Some(ended) {
                            self.proxy.ended(status);
                        } else if self.supervisor.pid() == Some(ended) {
                            if is_stopping {
                                return Ok(self.end(exit_code(status)));
                            }
                            self.supervisor.ended(status);
                        }
                    }
                }
                Some(signal) => {
                    info!(signal, "stopping");
                    is_stopping = true;
                    let is_passed_on =
                        Signal::from_named_raw(signal).is_some_and(|signal| self.supervisor.signal(signal));
                    if !is_passed_on {
                        return Ok(self.end(ExitCode::SUCCESS));
                    }
                }
            }
        }
    }

    /// The next signal; none when it is time to start a child.
    fn next_signal(&self) -> anyhow::Result<Option<i32>> {
        let due = [&self.supervisor, &self.proxy]
            .into_iter()
            .filter_map(Child::due)
            .min();
        let received = match due {
            None => self.signals.recv().map_err(RecvTimeoutError::from),
            Some(at) => self
                .signals
                .recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match received {
            Ok(signal) => Ok(Some(signal)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("signals can no longer be received"),
        }
    }

    /// Ends what the supervisor has left, or has not lived to end, and then the proxy, which it hands requests to.
    fn end(&self, status: ExitCode) -> ExitCode {
        let graceful = self.options.drain_timeout;
        self.end_all(
            || process::all(&self.prefix),
            [(Signal::QUIT, graceful), (Signal::TERM, CUT_TIMEOUT)],
        );
        self.end_all(
            || self.proxy.alive().into_iter().collect(),
            [(Signal::TERM, CUT_TIMEOUT), (Signal::KILL, CUT_TIMEOUT)],
        );
        status
    }

    /// Ends processes: gracefully, and then not.
    fn end_all(&self, left: impl Fn() -> Vec<Pid>, signals: [(Signal, Duration); 2]) {
        for (signal, limit) in signals {
            let deadline = Instant::now() + limit;
            process::signal_all(&left(), signal);
            while !left().is_empty() {
                let Some(remaining) = deadline.checked_duration_since(Instant::now()) else {
                    break;
                };
                // Woken by the end of each child.
                let _ = self
                    .signals
                    .recv_timeout(remaining.min(Duration::from_millis(100)));
                while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
            }
        }
    }
}

/// The status as a shell would say it: 128 and the signal for a process that was killed.
fn exit_code(status: WaitStatus) -> ExitCode {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}
