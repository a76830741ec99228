//! The agent's processes, from init on.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Backend, DEADLINE, Operator, config, data, free_address};

/// An agent in a folder of its own, which goes away with it.
pub struct Agent {
    pub folder: tempfile::TempDir,
    nginx: PathBuf,
    arguments: Vec<String>,
    init: Child,
}

impl Agent {
    /// An operator and an agent that follows it.
    pub fn start(nginx: &Path) -> (Operator, Self) {
        Self::start_with(nginx, &[])
    }

    /// The same, with more arguments for the agent.
    pub fn start_with(nginx: &Path, arguments: &[&str]) -> (Operator, Self) {
        let folder = tempfile::Builder::new().prefix("agent").tempdir().unwrap();
        fs::write(folder.path().join("token"), "secret\n").unwrap();
        let operator = Operator::start(&folder.path().join("operator.sock"));
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let init = spawn(folder.path(), nginx, &arguments);
        (
            operator,
            Self {
                folder,
                nginx: nginx.to_owned(),
                arguments,
                init,
            },
        )
    }

    /// The same, once it serves a backend called `shop` at an address: configuration `1a` with data `d1`.
    pub async fn of_shop(nginx: &Path, arguments: &[&str]) -> (Operator, Self, SocketAddr, Backend) {
        let (mut operator, agent) = Self::start_with(nginx, arguments);
        let (address, shop) = (free_address(), Backend::start("shop").await);
        operator.want(config("1a", address, ""), data("d1", &[shop.address]));
        operator.served("1a").await;
        (operator, agent, address, shop)
    }

    /// Starts again after [`Self::wait`].
    pub fn restart(&mut self) {
        self.init = spawn(self.folder.path(), &self.nginx, &self.arguments);
    }

    /// The end of another agent for the same folder.
    pub fn second(&self) -> ExitStatus {
        end_of(&mut spawn(self.folder.path(), &self.nginx, &self.arguments))
    }

    pub fn prefix(&self) -> PathBuf {
        self.folder.path().join("gateway")
    }

    /// What NGINX and the agent have written to standard output.
    pub fn stdout(&self) -> String {
        fs::read_to_string(self.folder.path().join("stdout")).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.init), signal).unwrap();
    }

    /// Waits for the end of init.
    pub fn wait(&mut self) -> ExitStatus {
        end_of(&mut self.init)
    }

    /// The supervisor, as a child of init.
    pub fn supervisor(&self) -> Option<Pid> {
        self.processes("supervise").into_iter().next()
    }

    /// The proxy, as another child of init.
    pub fn proxy(&self) -> Option<Pid> {
        self.processes("\0proxy\0").into_iter().next()
    }

    /// A master that has no title yet.
    pub fn starting(&self) -> Option<Pid> {
        self.processes("daemon off;").into_iter().next()
    }

    /// Processes that have ended and that their parent, init or the supervisor, has taken no note of.
    pub fn unreaped(&self) -> usize {
        let parents: Vec<String> = [Some(Pid::from_child(&self.init)), self.supervisor()]
            .into_iter()
            .flatten()
            .map(|pid| pid.to_string())
            .collect();
        let is_unreaped = |entry: &fs::DirEntry| {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // State and parent stand behind the name, which is in parentheses; see proc_pid_stat(5).
            let mut fields = stat
                .rsplit_once(") ")
                .map(|(_, rest)| rest.split(' '))
                .into_iter()
                .flatten();
            fields.next() == Some("Z")
                && fields
                    .next()
                    .is_some_and(|parent| parents.iter().any(|pid| pid == parent))
        };
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes.filter(is_unreaped).count()
    }

    pub fn master(&self) -> Option<Pid> {
        self.processes("nginx: master process").into_iter().next()
    }

    /// Workers, whether they accept connections or not.
    pub fn workers(&self) -> Vec<Pid> {
        self.processes("nginx: worker process")
    }

    /// Processes that have something in their command lines beside the folder, which masters and our own name
    /// there, and workers work in.
    fn processes(&self, what: &str) -> Vec<Pid> {
        let prefix = self.prefix();
        let of = |entry: fs::DirEntry| {
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let arguments = fs::read_to_string(entry.path().join("cmdline")).ok()?;
            let is_ours = arguments.contains(prefix.to_str()?)
                || fs::read_link(entry.path().join("cwd")).is_ok_and(|path| path == prefix);
            (is_ours && arguments.contains(what)).then_some(pid)
        };
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| of(entry.ok()?))
            .collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.init.kill();
        let _ = self.init.wait();
        for what in ["supervise", "\0proxy\0", "nginx: "] {
            for pid in self.processes(what) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

fn end_of(init: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    while begun.elapsed() < DEADLINE {
        if let Some(status) = init.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    init.kill().unwrap();
    panic!("init does not end");
}

fn spawn(folder: &Path, nginx: &Path, arguments: &[String]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flotilla-agent"));
    command.arg("init").arg("--prefix").arg(folder.join("gateway"));
    command
        .arg("--operator")
        .arg(format!("unix:{}", folder.join("operator.sock").display()));
    command
        .arg("--token-file")
        .arg(folder.join("token"))
        .args(["--instance", "gateway-0"]);
    command.arg("--nginx").arg(nginx).args(arguments);
    command.stdout(fs::File::create(folder.join("stdout")).unwrap());
    command.spawn().unwrap()
}
