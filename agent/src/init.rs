//! The smallest thing that can be the first process: starts the supervisor, reaps, restarts, passes signals on.
//!
//! No runtime and nothing that could fail later on: it has to outlive every other part.

use std::{
    env, fs,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, wait},
};
use signal_hook::{
    consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    iterator::Signals,
};
use tracing::{info, warn};

use crate::{args::Options, backoff::Backoff, nginx::process, prefix::Prefix};

/// A supervisor that has run for this long is restarted at once when it dies.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// How long NGINX may take to end when it is no longer asked to do so gracefully.
const CUT_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs until told to stop, and then ends with the supervisor's status.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let prefix = Prefix::create(&options.prefix)?;
    let _lock = lock(&prefix.lock())?;
    fs::write(prefix.init_pid(), format!("{}\n", getpid().as_raw_pid()))
        .with_context(|| format!("cannot write {}", prefix.init_pid().display()))?;
    set_child_subreaper(Some(getpid())).context("cannot become the parent of orphaned processes")?;
    let signals = signals()?;
    // Asked for before the executable can have been replaced by a newer one, which the supervisor is then started from.
    let executable = env::current_exe().context("cannot find the own executable")?;
    Init {
        options,
        prefix,
        executable,
        signals,
    }
    .supervise()
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
}

/// What init waits for.
enum Supervisor {
    Running { pid: Pid, since: Instant },
    Due { at: Instant },
}

impl Init<'_> {
    fn supervise(&self) -> anyhow::Result<ExitCode> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let mut supervisor = Supervisor::Due { at: Instant::now() };
        let mut is_stopping = false;
        loop {
            if let Supervisor::Due { at } = supervisor
                && at <= Instant::now()
            {
                supervisor = match self.start() {
                    Ok(pid) => Supervisor::Running {
                        pid,
                        since: Instant::now(),
                    },
                    Err(error) => {
                        warn!(%error, "cannot start the supervisor");
                        Supervisor::Due {
                            at: Instant::now() + backoff.delay(),
                        }
                    }
                };
            }
            match self.next_signal(&supervisor)? {
                None => {}
                Some(SIGCHLD) => {
                    let Some(status) = reap(&supervisor) else { continue };
                    if is_stopping {
                        self.end_nginx();
                        return Ok(exit_code(status));
                    }
                    if let Supervisor::Running { since, .. } = supervisor
                        && since.elapsed() > HEALTHY_AFTER
                    {
                        backoff.reset();
                    }
                    warn!(?status, "supervisor has ended");
                    supervisor = Supervisor::Due {
                        at: Instant::now() + backoff.delay(),
                    };
                }
                Some(signal) => {
                    info!(signal, "stopping");
                    is_stopping = true;
                    if let (Supervisor::Running { pid, .. }, Some(signal)) =
                        (&supervisor, Signal::from_named_raw(signal))
                    {
                        kill_process(*pid, signal)?;
                    } else {
                        self.end_nginx();
                        return Ok(ExitCode::SUCCESS);
                    }
                }
            }
        }
    }

    fn start(&self) -> io::Result<Pid> {
        // The same options: what differs is the role, which comes first.
        let child = Command::new(&self.executable)
            .arg("supervise")
            .args(env::args_os().skip(2))
            .spawn()?;
        Ok(Pid::from_child(&child))
    }

    /// The next signal; none when it is time to start the supervisor.
    fn next_signal(&self, supervisor: &Supervisor) -> anyhow::Result<Option<i32>> {
        let received = match supervisor {
            Supervisor::Running { .. } => self.signals.recv().map_err(RecvTimeoutError::from),
            Supervisor::Due { at } => self
                .signals
                .recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match received {
            Ok(signal) => Ok(Some(signal)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("signals can no longer be received"),
        }
    }

    /// Ends what the supervisor has left, or has not lived to end: gracefully, and then not.
    fn end_nginx(&self) {
        for (signal, limit) in [
            (Signal::QUIT, self.options.drain_timeout),
            (Signal::TERM, CUT_TIMEOUT),
        ] {
            let deadline = Instant::now() + limit;
            let left = process::all(&self.prefix);
            process::signal_all(&left, signal);
            while !process::all(&self.prefix).is_empty() {
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

/// Takes leave of all children that have ended; the supervisor's status, when it was among them.
fn reap(supervisor: &Supervisor) -> Option<WaitStatus> {
    let mut of_supervisor = None;
    while let Ok(Some((ended, status))) = wait(WaitOptions::NOHANG) {
        if matches!(supervisor, Supervisor::Running { pid, .. } if *pid == ended) {
            of_supervisor = Some(status);
        }
    }
    of_supervisor
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
