//! `cargo xtask cluster`: a Kubernetes cluster for tests, on this machine.
//!
//! ```text
//!                     ┌ kind, where there are Docker and kind
//! Cluster::up ────────┤
//!                     └ node: one real node without either, root only ── init: its first process
//!                         └ programs, pki: what it is made of             └ daemons: what runs there
//! ```
//!
//! Everything after the kubeconfig is the same code for both.

mod cgroups;
mod daemons;
mod definitions;
mod init;
mod kind;
mod node;
mod pki;
mod programs;
mod release;

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Subcommand;

pub use self::release::{NAMESPACE, RELEASE};
use self::{node::Node, programs::Programs};
use crate::{command::output, go::Go};

/// GPUs that the nodes say they have, for pods that ask for one. There is nothing behind them.
const GPUS: &str = r#"{"status":{"capacity":{"nvidia.com/gpu":"8"},"allocatable":{"nvidia.com/gpu":"8"}}}"#;

/// How long any one step of the start may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// How often it is looked whether a step has come to its end.
const GLANCE: Duration = Duration::from_millis(100);

/// What can be done with the cluster.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Start it unless it is up, with the kinds of the Gateway API and of inference; six minutes at first, then seconds
    Up,
    /// Install the operator from this checkout's chart and images, or upgrade it
    Install {
        /// Values of the chart, such as `replicas=1`
        values: Vec<String>,
    },
    /// End it, with all that is in it
    Down,
    /// Start a shell with kubectl and helm for it, in its network
    Shell,
    /// Run a command there
    Exec {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Be the first process of the node
    #[command(hide = true)]
    Init,
}

/// A cluster that runs.
#[derive(Debug)]
pub struct Cluster {
    provider: Provider,
}

/// Who runs it.
#[derive(Debug)]
enum Provider {
    Kind,
    Node(Node),
}

/// Prints how long each phase took.
struct Phases {
    started: Instant,
    phase: Instant,
}

/// Does what a command line asks for.
pub fn perform(task: &Task) -> Result<ExitCode> {
    match task {
        Task::Up => {
            Cluster::up()?;
        }
        Task::Install { values } => Cluster::expect_running()?.install(values)?,
        Task::Down => Cluster::down()?,
        Task::Shell => {
            let shell = env::var_os("SHELL").unwrap_or_else(|| "sh".into());
            return Cluster::expect_running()?.exit_of(&[shell]);
        }
        Task::Exec { command } => return Cluster::expect_running()?.exit_of(command),
        Task::Init => match init::run_node()? {},
    }
    Ok(ExitCode::SUCCESS)
}

impl Cluster {
    /// The cluster as it is up already, or a new one. The custom resources of our own come with the chart.
    pub fn up() -> Result<Self> {
        let mut phases = Phases::start();
        let cluster = match Self::running()? {
            Some(cluster) => cluster,
            None if kind::is_available() => {
                kind::create()?;
                Self {
                    provider: Provider::Kind,
                }
            }
            None => Self::up_on_node(&mut phases)?,
        };
        cluster.until("the API server is ready", &["get", "--raw=/readyz"])?;
        phases.end("API server ready");

        for definitions in definitions::get()? {
            cluster.apply(&definitions)?;
        }
        phases.end("custom resources defined");

        cluster.until(
            "a node is ready",
            &["wait", "--for=condition=Ready", "node", "--all"],
        )?;
        let nodes = cluster.kubectl(&["get", "nodes", "--output=name"])?;
        for node in nodes.lines() {
            cluster.kubectl(&["patch", node, "--subresource=status", "--patch", GPUS])?;
        }
        phases.end("node ready");
        let coredns = [
            "rollout",
            "status",
            "--timeout=1m",
            "--namespace=kube-system",
            "deployment/coredns",
        ];
        cluster.until("the DNS of the cluster serves", &coredns)?;
        phases.end("DNS ready");
        phases.all("the cluster is up: cargo xtask cluster shell");
        Ok(cluster)
    }

    /// Whether a cluster is up, or could be: the error says what it takes.
    pub fn is_possible() -> Result<()> {
        if Self::running()?.is_some() || kind::is_available() {
            return Ok(());
        }
        node::is_possible()?;
        Go::find().map(drop).context("a cluster is compiled with Go")
    }

    /// The cluster if it is up.
    pub fn running() -> Result<Option<Self>> {
        let provider = match Node::running() {
            Some(node) => Some(Provider::Node(node)),
            None => kind::is_running()?.then_some(Provider::Kind),
        };
        Ok(provider.map(|provider| Self { provider }))
    }

    /// Ends the cluster. Nothing of it is left but what was compiled and logged.
    pub fn down() -> Result<()> {
        match Self::running()?.map(|cluster| cluster.provider) {
            Some(Provider::Kind) => kind::delete(),
            Some(Provider::Node(node)) => node.stop(),
            None => node::clean(),
        }
    }

    /// A command that reaches the API server, pods, Services and their addresses: in the network of the node, with
    /// `$KUBECONFIG` set and `kubectl` and `helm` on the path.
    pub fn command(&self, program: impl Into<OsString>) -> Command {
        let mut command = match &self.provider {
            Provider::Kind => Command::new(program.into()),
            Provider::Node(node) => node.command(program.into()),
        };
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// A file that says where the API server is and who is its administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        match &self.provider {
            Provider::Kind => kind::kubeconfig(),
            Provider::Node(_) => node::kubeconfig(),
        }
    }

    /// Moves the calling thread, and those that it starts from now on, to the network in which [`Self::command`] runs.
    pub fn enter(&self) -> Result<()> {
        match &self.provider {
            Provider::Kind => Ok(()),
            Provider::Node(node) => node.enter_network(),
        }
    }

    /// What `kubectl` says with these arguments.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        output(self.command("kubectl").args(arguments))
    }

    /// Applies a file or a folder of manifests, taking over what others had applied.
    pub fn apply(&self, manifests: &Path) -> Result<()> {
        let mut command = self.command("kubectl");
        command.args(["apply", "--server-side", "--force-conflicts", "--filename"]);
        output(command.arg(manifests)).map(drop)
    }

    /// Gives an image of the container runtime another name.
    pub fn tag(&self, image: &str, name: &str) -> Result<()> {
        match &self.provider {
            Provider::Kind => kind::tag(image, name),
            Provider::Node(node) => node.tag(image, name),
        }
    }

    /// Gives an image to the container runtime, from an archive.
    pub fn load(&self, archive: &Path) -> Result<()> {
        match &self.provider {
            Provider::Kind => kind::load(archive),
            Provider::Node(node) => node.load(archive),
        }
    }

    fn up_on_node(phases: &mut Phases) -> Result<Self> {
        node::prepare()?;
        let programs = Programs::get()?;
        phases.end("programs there");
        let node = Node::start(&programs)?;
        phases.end("node started");
        for image in programs.images() {
            until("the container runtime takes images", || node.load(&image))?;
        }
        phases.end("images loaded");
        let cluster = Self {
            provider: Provider::Node(node),
        };
        let coredns = Path::new(programs::SOURCES).join("node/coredns.yaml");
        until("the DNS can be applied", || cluster.apply(&coredns))?;
        Ok(cluster)
    }

    /// The cluster, which has to be up.
    pub fn expect_running() -> Result<Self> {
        Self::running()?.context("no cluster is up: cargo xtask cluster up")
    }

    fn exit_of(&self, command: &[OsString]) -> Result<ExitCode> {
        let [program, arguments @ ..] = command else {
            bail!("no command was given");
        };
        let status = self.command(program).args(arguments).status();
        let code = status.context("cannot start nsenter")?.code().unwrap_or(1);
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
    }

    fn until(&self, claim: &str, arguments: &[&str]) -> Result<()> {
        until(claim, || self.kubectl(arguments))
    }
}

/// Tries until it works; what it said last is the error.
fn until<T>(claim: &str, attempt: impl Fn() -> Result<T>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| {
                    format!("gave up waiting until {claim}; see {}", node::logs().display())
                });
            }
            Err(_) => thread::sleep(GLANCE),
        }
    }
}

impl Phases {
    fn start() -> Self {
        let now = Instant::now();
        Self {
            started: now,
            phase: now,
        }
    }

    fn end(&mut self, done: &str) {
        eprintln!("{:6.1} s  {done}", self.phase.elapsed().as_secs_f64());
        self.phase = Instant::now();
    }

    fn all(&self, done: &str) {
        eprintln!("{:6.1} s  {done}", self.started.elapsed().as_secs_f64());
    }
}
