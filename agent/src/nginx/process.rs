//! The processes of an NGINX: its master and its workers, told apart by their titles.

use std::{fs, io, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::sleep,
};

use crate::prefix::Prefix;

/// The title NGINX gives a worker that accepts connections; one that no longer does says so behind it.
const WORKER: &str = "nginx: worker process";
const MASTER: &str = "nginx: master process";

/// What the arguments of a master say until it has taken its title.
pub(super) const FOREGROUND: &str = "daemon off;";

/// A master process, be it our child or not: held by a descriptor, so that its number cannot come to mean another.
#[derive(Debug)]
pub struct Master {
    pid: Pid,
    descriptor: AsyncFd<OwnedFd>,
}

impl Master {
    /// The running master that the prefix's pid file names; none when there is none.
    pub fn find(prefix: &Prefix) -> io::Result<Option<Self>> {
        let Some(pid) = written_pid(prefix) else {
            return Ok(None);
        };
        // Opened before looking at the process, so that what is looked at is what is held.
        let descriptor = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(descriptor) => watched(descriptor)?,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let master = Self { pid, descriptor };
        Ok(
            (runs_from(prefix, pid, |title| title.starts_with(MASTER)) && !master.has_exited())
                .then_some(master),
        )
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal; fine when the process has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(self.descriptor.get_ref(), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends when the process has ended.
    pub async fn exited(&self) {
        while !self.has_exited() {
            // An error could only come from a runtime that is shutting down.
            if let Ok(mut ready) = self.descriptor.readable().await {
                ready.clear_ready();
            }
        }
    }

    /// Whether the process has ended.
    #[must_use]
    pub fn has_exited(&self) -> bool {
        let mut descriptors = [PollFd::new(self.descriptor.get_ref(), PollFlags::IN)];
        poll(&mut descriptors, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

/// The workers of the prefix's NGINX that accept connections.
///
/// A worker that has been told to end gets another title in the same breath as it closes its listening sockets.
#[must_use]
pub fn accepting_workers(prefix: &Prefix) -> Vec<Pid> {
    processes(prefix, |title| title == WORKER)
}

/// Whether none of the workers accepts connections any longer.
#[must_use]
pub fn have_stopped_accepting(prefix: &Prefix, workers: &[Pid]) -> bool {
    !workers
        .iter()
        .any(|pid| runs_from(prefix, *pid, |title| title == WORKER))
}

/// Waits until every worker has come to rest: until it has taken up whatever it had been sent before this call, such
/// as answers of the DNS. Those that are never seen at rest are too busy to be waited for.
pub async fn at_rest(prefix: &Prefix) {
    let mut busy = accepting_workers(prefix);
    for _ in 0..500 {
        busy.retain(|pid| !is_asleep(*pid));
        if busy.is_empty() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// Ends workers whose master is gone: they would hold its listening sockets for ever.
///
/// They let the requests in their hands finish. Returns when none accepts connections, or after a second.
pub async fn dismiss_orphans(prefix: &Prefix) {
    let orphans = accepting_workers(prefix);
    signal_all(&orphans, Signal::QUIT);
    for _ in 0..200 {
        if have_stopped_accepting(prefix, &orphans) {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// The workers of the prefix's NGINX that accept no more connections, and end when those they have do.
#[must_use]
pub fn ending_workers(prefix: &Prefix) -> Vec<Pid> {
    processes(prefix, |title| title.starts_with(WORKER) && title != WORKER)
}

/// All processes of the prefix's NGINX: masters, those included that have only begun to start, and workers, whether they
/// accept connections or not.
#[must_use]
pub fn all(prefix: &Prefix) -> Vec<Pid> {
    processes(prefix, |title| {
        title.starts_with("nginx: ") || title.contains(FOREGROUND)
    })
}

/// Signals processes, those that are gone excepted.
pub fn signal_all(processes: &[Pid], signal: Signal) {
    for pid in processes {
        // The only error that is possible for processes of our own user is that they are gone.
        let _ = kill_process(*pid, signal);
    }
}

/// Whether a process waits for something to happen. What is sent to it makes it run from that very moment on.
fn is_asleep(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    // The state stands behind the name, which is in parentheses and may have any character; see proc_pid_stat(5).
    stat.rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with('S'))
}

#[expect(
    deprecated,
    reason = "sound for an owned descriptor; what takes its place is unsafe for every type"
)]
fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

fn written_pid(prefix: &Prefix) -> Option<Pid> {
    Pid::from_raw(fs::read_to_string(prefix.nginx_pid()).ok()?.trim().parse().ok()?)
}

fn processes(prefix: &Prefix, is_wanted: impl Fn(&str) -> bool) -> Vec<Pid> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    numbers
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .filter(|pid| runs_from(prefix, *pid, &is_wanted))
        .collect()
}

/// Whether a process works in the prefix and has a title that is wanted.
fn runs_from(prefix: &Prefix, pid: Pid, is_wanted: impl Fn(&str) -> bool) -> bool {
    let folder = format!("/proc/{}", pid.as_raw_pid());
    if fs::read_link(format!("{folder}/cwd")).is_ok_and(|path| path == prefix.path()) {
        // A title is padded with blanks to the length of the first command line.
        fs::read_to_string(format!("{folder}/cmdline"))
            .is_ok_and(|title| is_wanted(title.trim_end_matches(['\0', ' '])))
    } else {
        false
    }
}
