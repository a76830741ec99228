//! A process that init keeps running.

use std::{
    env, io,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitStatus, kill_process, test_kill_process};
use tracing::warn;

use crate::backoff::Backoff;

/// A child that has run for this long is restarted almost at once when it dies.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// One of the agent's roles, in a process that is started again whenever it ends.
#[derive(Debug)]
pub struct Child {
    role: &'static str,
    state: State,
    backoff: Backoff,
}

#[derive(Debug)]
enum State {
    Running { pid: Pid, since: Instant },
    Due { at: Instant },
}

impl Child {
    /// To be started at once; the role is the subcommand of that name.
    #[must_use]
    pub fn new(role: &'static str) -> Self {
        Self {
            role,
            state: State::Due { at: Instant::now() },
            backoff: Backoff::new(Duration::from_millis(10), Duration::from_secs(2)),
        }
    }

    /// Its number, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        match self.state {
            State::Running { pid, .. } => Some(pid),
            State::Due { .. } => None,
        }
    }

    /// When it is to be started; none while it runs.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Running { .. } => None,
            State::Due { at } => Some(at),
        }
    }

    /// Starts it from the agent's executable when it is time to.
    pub fn start_if_due(&mut self, executable: &Path) {
        if self.due().is_none_or(|at| at > Instant::now()) {
            return;
        }
        match self.start(executable) {
            Ok(pid) => {
                let since = Instant::now();
                self.state = State::Running { pid, since };
            }
            Err(error) => {
                warn!(%error, role = self.role, "cannot start");
                self.start_later();
            }
        }
    }

    /// Takes note of its end.
    pub fn ended(&mut self, status: WaitStatus) {
        warn!(?status, role = self.role, "has ended");
        if let State::Running { since, .. } = self.state
            && since.elapsed() > HEALTHY_AFTER
        {
            self.backoff.reset();
        }
        self.start_later();
    }

    /// Sends a signal; whether there was a process to send it to.
    #[must_use]
    pub fn signal(&self, signal: Signal) -> bool {
        self.pid().is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    /// Its process, if that has not ended since init last took note.
    #[must_use]
    pub fn alive(&self) -> Option<Pid> {
        self.pid().filter(|pid| test_kill_process(*pid).is_ok())
    }

    fn start(&self, executable: &Path) -> io::Result<Pid> {
        // The same options: what differs is the role, which comes first.
        let child = Command::new(executable)
            .arg(self.role)
            .args(env::args_os().skip(2))
            .spawn()?;
        Ok(Pid::from_child(&child))
    }

    fn start_later(&mut self) {
        let at = Instant::now() + self.backoff.delay();
        self.state = State::Due { at };
    }
}
