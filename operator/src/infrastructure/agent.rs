//! One gateway's agent: started, found running, stopped.

use std::{
    fs::OpenOptions,
    io,
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::{
    folder::{GatewayFolder, Record},
    settings::Settings,
};

/// How long connections may take to end when an agent stops.
const DRAIN: Duration = Duration::from_secs(30);

/// How much longer an agent may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a stopping agent is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// An agent that lives as long is well, and is started again at once.
const WELL: Duration = Duration::from_secs(10);

/// The longest wait before an agent that keeps ending is started again.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The agent of one gateway, whether it runs or not.
pub(super) struct Agent {
    folder: GatewayFolder,
    /// The process, if it is ours and not one that an earlier operator started.
    child: Option<Child>,
    started: Instant,
    /// How long to wait after it ended; grows as long as it keeps ending.
    wait: Duration,
    /// Not to be started before.
    not_before: Instant,
}

/// What was found when an agent was looked at.
#[derive(Debug)]
pub(super) enum Look {
    /// It runs.
    Runs,
    /// It ended, and will be started again a little later.
    Ended(ExitStatus),
    /// It ended a while ago, or never ran: it is time to start it.
    Due,
    /// It ended a while ago, and it is not time yet.
    Waits,
}

impl Agent {
    pub(super) fn new(folder: GatewayFolder) -> Self {
        let now = Instant::now();
        Self {
            folder,
            child: None,
            started: now,
            wait: Duration::ZERO,
            not_before: now,
        }
    }

    pub(super) fn folder(&self) -> &GatewayFolder {
        &self.folder
    }

    /// Looks whether it runs.
    pub(super) fn look(&mut self) -> Look {
        if let Some(child) = &mut self.child {
            return match child.try_wait() {
                Ok(Some(status)) => {
                    self.child = None;
                    self.wait = if self.started.elapsed() > WELL {
                        Duration::ZERO
                    } else {
                        (self.wait * 2).clamp(Duration::from_millis(100), LONGEST_WAIT)
                    };
                    self.not_before = Instant::now() + self.wait;
                    Look::Ended(status)
                }
                // An error would mean that it is not our child, but it is.
                Ok(None) | Err(_) => Look::Runs,
            };
        }
        if self.folder.agent().is_some() {
            Look::Runs
        } else if Instant::now() >= self.not_before {
            Look::Due
        } else {
            Look::Waits
        }
    }

    /// Starts it, in a process group of its own: what ends the operator, Ctrl-C included, does not end gateways.
    pub(super) fn start(&mut self, settings: &Settings, record: &Record) -> io::Result<()> {
        self.started = Instant::now();
        self.not_before = self.started + Duration::from_secs(1);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.log_file())?;
        let child = Command::new(&settings.agent)
            .arg("init")
            .arg("--prefix")
            .arg(self.folder.path())
            .arg("--operator")
            .arg(format!("unix:{}", settings.socket.display()))
            .arg("--token-file")
            .arg(self.folder.token_file())
            .args(["--instance", &record.name])
            .arg("--nginx")
            .arg(&settings.nginx)
            .args(["--dns", &record.dns.to_string()])
            .args(["--drain-timeout", &format!("{}s", DRAIN.as_secs())])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    /// Stops it in order, or by force when that takes too long.
    pub(super) async fn stop(mut self) {
        self.terminate();
        if !self.ends_within(DRAIN + PATIENCE).await {
            tracing::warn!(folder = %self.folder.path().display(), "agent does not end, killing it");
            self.kill();
            self.ends_within(PATIENCE).await;
        }
    }

    /// Waits for its end, for some time at most; whether it has ended.
    async fn ends_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while matches!(self.look(), Look::Runs) {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(GLANCE).await;
        }
        true
    }

    // Errors of the following two mean that it has just ended.

    fn terminate(&self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    fn kill(&self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    fn pid(&self) -> Option<Pid> {
        self.child
            .as_ref()
            .map(Pid::from_child)
            .or_else(|| self.folder.agent())
    }
}
