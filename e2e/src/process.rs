//! Processes as `/proc` shows them: who descends from whom, how much memory they hold.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};

/// How long killed processes may take to go.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often they are looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(5);

/// The unit in which Linux counts a process's time, on every architecture that NGINX is packaged for.
const TICK: Duration = Duration::from_millis(10);

/// A process of this machine, alive or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pid: Pid,
    /// Tells it from a later process of the same number: clock ticks from boot to its start.
    started: Option<u64>,
}

impl Process {
    /// A child of ours.
    pub fn of(child: &Child) -> Self {
        Self::with_id(child.id()).expect("the system numbered this child")
    }

    /// The process with a number, which cannot be 0.
    pub fn with_id(id: u32) -> Option<Self> {
        i32::try_from(id).ok().and_then(Pid::from_raw).map(Self::with)
    }

    /// The process that a file names; none when there is no such file.
    pub fn from_pid_file(path: &Path) -> Option<Self> {
        let pid = fs::read_to_string(path).ok()?.trim().parse().ok()?;
        Some(Self::with(Pid::from_raw(pid)?))
    }

    /// Its number.
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Whether it runs still; a zombie does not.
    pub fn lives(&self) -> bool {
        match Stat::read(self.pid) {
            Some(stat) => stat.state != 'Z' && self.started == Some(stat.started),
            None => false,
        }
    }

    /// Itself and everything that descends from it, parents first.
    pub fn with_descendants(self) -> Vec<Self> {
        let all: Vec<(Self, i32)> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
            .filter_map(|pid| Some((Self::with(pid), Stat::read(pid)?.parent)))
            .collect();
        let mut family = vec![self];
        let mut next = 0;
        while let Some(parent) = family.get(next).map(Self::id) {
            family.extend(
                all.iter()
                    .filter(|(_, of)| *of == parent)
                    .map(|(child, _)| child.clone()),
            );
            next += 1;
        }
        family
    }

    /// Its arguments, separated by blanks; NGINX says there what it is (`nginx: worker process`).
    pub fn command_line(&self) -> String {
        let arguments = fs::read(self.file("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments)
            .replace('\0', " ")
            .trim_end()
            .to_owned()
    }

    /// Its resident memory in KiB; 0 when it is gone.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// As much of that as is its own and no part of a file, in KiB; 0 when it is gone.
    pub fn anonymous(&self) -> u64 {
        self.memory("RssAnon:")
    }

    /// Its share of anonymous memory in KiB, where what several processes have in common since a fork is shared out
    /// among them; 0 when it is gone.
    pub fn own_share(&self) -> u32 {
        let rollup = fs::read_to_string(self.file("smaps_rollup")).unwrap_or_default();
        kibibytes(&rollup, "Pss_Anon:").unwrap_or_default()
    }

    /// How many sockets it has open, those that listen included; 0 when it is gone.
    pub fn sockets(&self) -> usize {
        let files = fs::read_dir(self.file("fd")).into_iter().flatten().flatten();
        let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
        targets
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// The time that processors have spent on it, in steps of 10 ms; zero when it is gone.
    pub fn processor_time(&self) -> Duration {
        let ticks = Stat::read(self.pid).map_or(0, |stat| stat.ticks);
        TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    /// The time that processors have spent on those of its children that have ended; zero when it is gone.
    pub fn processor_time_of_ended(&self) -> Duration {
        let ticks = Stat::read(self.pid).map_or(0, |stat| stat.ticks_of_ended);
        TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    /// Sends a signal; a process that is gone does not mind.
    pub fn signal(&self, signal: Signal) {
        if self.lives() {
            // Between the look and the signal it may have ended, which is fine.
            let _ = kill_process(self.pid, signal);
        }
    }

    fn with(pid: Pid) -> Self {
        Self {
            pid,
            started: Stat::read(pid).map(|stat| stat.started),
        }
    }

    /// A line of `/proc/PID/status` in KiB; see proc(5).
    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(self.file("status")).unwrap_or_default();
        kibibytes(&status, field).unwrap_or_default()
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.id().to_string()).join(name)
    }
}

/// The processes of all gateways of an operator, by its state folder: one `flotilla-agent init` per Gateway, with
/// what descends from it, parents first.
pub fn gateway_processes(state: &Path) -> Vec<Process> {
    let gateways = fs::read_dir(state.join("gateways"))
        .into_iter()
        .flatten()
        .flatten();
    let inits = gateways.filter_map(|gateway| Process::from_pid_file(&gateway.path().join("init.pid")));
    inits.flat_map(Process::with_descendants).collect()
}

/// Makes this process the parent of those below it that lose theirs, so that [`end`] can reap them.
pub fn adopt_orphans() {
    // A kernel that cannot do this leaves them to the first process, which reaps them or not.
    let _ = set_child_subreaper(Some(getpid()));
}

/// Kills processes, each in turn, and waits until they are gone: what they held is free again.
pub fn end(processes: &[Process]) {
    for process in processes {
        process.signal(Signal::KILL);
    }
    let deadline = Instant::now() + PATIENCE;
    while processes.iter().any(Process::lives) && Instant::now() < deadline {
        thread::sleep(GLANCE);
    }
    for process in processes {
        // Those that others reap are no children of ours.
        let _ = waitpid(Some(process.pid), WaitOptions::NOHANG);
    }
}

/// The number behind a field's name.
fn kibibytes<T: FromStr>(text: &str, field: &str) -> Option<T> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What we need of `/proc/PID/stat`; see proc(5).
struct Stat {
    state: char,
    parent: i32,
    /// For the process and for the kernel on its behalf, of all its threads.
    ticks: u64,
    /// The same of its children that have ended and were waited for.
    ticks_of_ended: u64,
    started: u64,
}

impl Stat {
    fn read(pid: Pid) -> Option<Self> {
        let line = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        // The second field is the name in parentheses, which may itself hold blanks and parentheses.
        let mut fields = line.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let [user, system]: [u64; 2] = [fields.nth(9)?.parse().ok()?, fields.next()?.parse().ok()?];
        let [user_of_ended, system_of_ended]: [u64; 2] =
            [fields.next()?.parse().ok()?, fields.next()?.parse().ok()?];
        let started = fields.nth(4)?.parse().ok()?;
        Some(Self {
            state,
            parent,
            ticks: user + system,
            ticks_of_ended: user_of_ended + system_of_ended,
            started,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::{fd::OwnedFd, unix::net::UnixStream},
        process::{Command, Stdio},
    };

    use super::*;
    use crate::standalone::eventually;

    #[tokio::test]
    async fn descendants_are_found_and_ended() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 100 & wait"])
            .spawn()
            .unwrap();
        // The shell's own child is a shell until it is what it was started for.
        let family = eventually(async || {
            let family = Process::of(&child).with_descendants();
            let commands: Vec<String> = family.iter().map(Process::command_line).collect();
            anyhow::ensure!(
                commands.iter().any(|command| command == "sleep 100"),
                "{commands:?}"
            );
            Ok(family)
        })
        .await
        .unwrap();
        assert!(family[0].resident() > family[0].anonymous() && family[0].anonymous() > 0);
        end(&family);
        assert!(!family[0].lives());
        child.wait().expect_err("it has been reaped");
    }

    #[test]
    fn sockets_are_counted_and_other_files_are_not() {
        let mut cat = Command::new("cat");
        let (ours, its) = UnixStream::pair().unwrap();
        cat.stdin(OwnedFd::from(its))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = cat.spawn().unwrap();
        drop(cat);
        let process = Process::of(&child);
        assert_eq!(process.sockets(), 1);
        drop(ours);
        child.wait().unwrap();
        assert_eq!(process.sockets(), 0);
    }
}
