//! The rig: `flotilla run` on a folder of a test's own, with its gateways, until the test ends.

use std::{
    env,
    fs::{self, File},
    net::{IpAddr, SocketAddr},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    client::{Answer, Request, Target},
    echo::Echo,
    loopback::Loopback,
    manifests, nginx,
    process::{Process, adopt_orphans, end, gateway_processes},
    workspace::{Binaries, Profile},
};

/// How long anything the rig waits for may take; on a busy machine a process may get no processor for seconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long the rig waits at least, and at most, until it looks again at what it waits for.
const GLANCE: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(250)];

/// The last octet of the operator's admin address; its gateways count from 1.
const ADMIN_HOST: u8 = 250;

/// Where backends listen; see [`Standalone::echo`].
const BACKEND_PORT: u16 = 3000;

/// How many lines of each log a failed test shows.
const LINES_SHOWN: usize = 40;

/// A running operator with its gateways; all of it ends when this value is dropped.
#[derive(Debug)]
pub struct Standalone {
    operator: Child,
    binaries: Binaries,
    loopback: Loopback,
    /// Holds `manifests/`, `state/` and the operator's log.
    folder: TempDir,
}

/// A condition of an object's status.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Condition {
    /// `Accepted`, `Programmed`, and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The reason in one word.
    pub reason: String,
    /// The reason in a sentence.
    pub message: String,
}

/// Names an object in [`Standalone::object`]: kind, namespace, name.
pub type Name<'a> = (&'a str, &'a str, &'a str);

impl Standalone {
    /// Starts an operator on manifests, each a file name with its YAML, and waits until it is ready.
    ///
    /// `{range}` in a manifest becomes the first three octets of the test's own loopback addresses, of which
    /// 100 to 249 are left to backends.
    pub async fn start(manifests: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(Loopback::lease()?, manifests).await
    }

    /// Starts an operator in a range that was leased before, because its backends run already.
    pub async fn start_with(loopback: Loopback, manifests: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("flotilla-").tempdir();
        let folder = folder.context("cannot create a temporary folder")?;
        fs::create_dir(folder.path().join("manifests")).context("cannot create the folder of manifests")?;
        for (file, yaml) in manifests {
            write(folder.path(), file, &substituted(yaml, &loopback))?;
        }
        let binaries = product()?.clone();
        let operator = spawn(&binaries, &loopback, folder.path())?;
        let standalone = Self {
            operator,
            binaries,
            loopback,
            folder,
        };
        standalone.ready().await?;
        Ok(standalone)
    }

    /// The loopback addresses of this test.
    pub fn loopback(&self) -> &Loopback {
        &self.loopback
    }

    /// The folder in which the operator keeps its state.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The folder in which the only gateway runs: its logs, sockets and temporary files.
    pub fn gateway_folder(&self) -> Result<PathBuf> {
        let folders = fs::read_dir(self.state().join("gateways")).context("there is no gateway")?;
        let folders: Vec<PathBuf> = folders.flatten().map(|entry| entry.path()).collect();
        match folders.as_slice() {
            [folder] => Ok(folder.clone()),
            folders => bail!("{} gateways in place of one", folders.len()),
        }
    }

    /// Starts a backend at an address of the test's own: 100 to 249, and port 3000.
    pub async fn echo(&self, name: &str, host: u8) -> Result<Echo> {
        Echo::start(name, self.loopback.socket(host, BACKEND_PORT)).await
    }

    /// Starts a backend and makes it the only endpoint of a Service of the same name; see
    /// [`manifests::service`].
    pub async fn backend(&self, name: &str, host: u8) -> Result<Echo> {
        let echo = self.echo(name, host).await?;
        self.apply(
            &format!("service-{name}.yaml"),
            &manifests::service(name, &[echo.address()]),
        )?;
        Ok(echo)
    }

    /// Waits until the Gateway `default/edge` is programmed, and returns where its port 8080 is served.
    pub async fn edge(&self) -> Result<Target> {
        Ok(Target::http(self.gateway("default", "edge", 8080).await?))
    }

    /// The workers of NGINX that serve, oldest first: they change exactly when NGINX is reloaded.
    pub fn workers(&self) -> Vec<Process> {
        let is_worker = |process: &Process| process.command_line().starts_with("nginx: worker process");
        let mut processes = self.gateway_processes();
        processes.retain(|process| is_worker(process) && !process.command_line().contains("shutting down"));
        processes
    }

    /// Creates or replaces a manifest in one step.
    pub fn apply(&self, file: &str, yaml: &str) -> Result<()> {
        write(self.folder.path(), file, &substituted(yaml, &self.loopback))
    }

    /// Deletes a manifest.
    pub fn delete(&self, file: &str) -> Result<()> {
        let path = self.folder.path().join("manifests").join(file);
        fs::remove_file(&path).with_context(|| format!("cannot delete {}", path.display()))
    }

    /// Asks the operator's admin address.
    pub async fn admin(&self, path: &str) -> Result<Answer> {
        Target::http(admin(&self.loopback)).send(Request::get(path)).await
    }

    /// An object with its status as the operator knows it.
    pub async fn object(&self, name: Name<'_>) -> Result<Value> {
        let list: Value = serde_json::from_slice(&self.admin("/objects").await?.body)?;
        let objects = list["items"].as_array().context("/objects is no list")?;
        let (kind, namespace, object) = name;
        let found = objects.iter().find(|candidate| {
            let metadata = &candidate["metadata"];
            let here = metadata["namespace"].as_str().unwrap_or_default() == namespace;
            candidate["kind"] == kind && here && metadata["name"] == object
        });
        found
            .cloned()
            .with_context(|| format!("there is no {kind} {namespace}/{object}"))
    }

    /// The conditions of an object that are about its present generation, those for all parents, listeners
    /// and ancestors included.
    pub async fn conditions(&self, name: Name<'_>) -> Result<Vec<Condition>> {
        let object = self.object(name).await?;
        let status = &object["status"];
        let nested = ["parents", "listeners", "ancestors"].map(|list| &status[list]);
        let holders = nested
            .into_iter()
            .filter_map(Value::as_array)
            .flatten()
            .chain([status]);
        let conditions = holders
            .filter_map(|holder| holder["conditions"].as_array())
            .flatten();
        let generation = &object["metadata"]["generation"];
        let current = |condition: &&Value| {
            generation.is_null()
                || condition["observedGeneration"].is_null()
                || condition["observedGeneration"] == *generation
        };
        conditions
            .filter(current)
            .map(|condition| Ok(serde_json::from_value(condition.clone())?))
            .collect()
    }

    /// Waits for a condition of an object: its type and status; returns it with its reason and message.
    pub async fn condition(&self, name: Name<'_>, kind: &str, status: &str) -> Result<Condition> {
        eventually(async || {
            let conditions = self.conditions(name).await?;
            let found = conditions
                .iter()
                .find(|found| found.kind == kind && found.status == status);
            found
                .cloned()
                .with_context(|| format!("{name:?} is not {kind}={status}: {conditions:#?}"))
        })
        .await
    }

    /// Waits until a Gateway is programmed, and returns its address.
    pub async fn programmed(&self, namespace: &str, gateway: &str) -> Result<IpAddr> {
        let name = ("Gateway", namespace, gateway);
        self.condition(name, "Programmed", "True").await?;
        let object = self.object(name).await?;
        let address = object["status"]["addresses"][0]["value"].as_str();
        Ok(address
            .with_context(|| format!("programmed without an address: {object}"))?
            .parse()?)
    }

    /// Where a Gateway's port is served: ports below 1024 are 10,000 higher when they cannot be bound.
    pub async fn gateway(&self, namespace: &str, gateway: &str, port: u16) -> Result<SocketAddr> {
        let address = self.programmed(namespace, gateway).await?;
        Ok(SocketAddr::new(
            address,
            if port < 1024 && !privileged() {
                port + 10_000
            } else {
                port
            },
        ))
    }

    /// The operator's process.
    pub fn operator(&self) -> Process {
        Process::of(&self.operator)
    }

    /// The processes of all gateways; see [`gateway_processes`].
    pub fn gateway_processes(&self) -> Vec<Process> {
        gateway_processes(&self.state())
    }

    /// The only gateway process whose command line has all of these words.
    pub fn gateway_process(&self, words: &[&str]) -> Result<Process> {
        let processes = self.gateway_processes();
        let found = processes.iter().find(|process| {
            let command = process.command_line();
            words.iter().all(|word| command.contains(word))
        });
        found.cloned().with_context(|| {
            let commands: Vec<String> = processes.iter().map(Process::command_line).collect();
            format!("no process with {words:?} among {commands:#?}")
        })
    }

    /// Kills the operator without warning.
    pub fn kill_operator(&mut self) -> Result<()> {
        self.operator.kill().context("cannot kill the operator")?;
        self.operator.wait().context("cannot reap the operator")?;
        Ok(())
    }

    /// Starts an operator again on the same folders.
    pub async fn restart_operator(&mut self) -> Result<()> {
        self.operator = spawn(&self.binaries, &self.loopback, self.folder.path())?;
        self.ready().await
    }

    async fn ready(&self) -> Result<()> {
        eventually(async || {
            let answer = self.admin("/readyz").await?;
            ensure!(answer.status.is_success(), "the operator is not ready: {answer}");
            Ok(())
        })
        .await
    }

    /// The end of each log, for a test that failed.
    fn show_logs(&self) {
        for path in files(self.folder.path())
            .into_iter()
            .filter(|path| path.extension().is_some_and(|end| end == "log"))
        {
            let log = fs::read(&path).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
            eprintln!("--- {}, last lines\n{}", path.display(), shown.join("\n"));
        }
    }
}

/// The operator first, or it would start its gateways again.
impl Drop for Standalone {
    fn drop(&mut self) {
        if thread::panicking() || env::var_os("FLOTILLA_SHOW_LOGS").is_some() {
            self.show_logs();
        }
        // It may be dead already, which is what is wanted.
        drop(self.kill_operator());
        end(&self.gateway_processes());
    }
}

/// Tries until it works, and fails with the last failure when that takes too long.
pub async fn eventually<T>(attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    eventually_within(PATIENCE, attempt).await
}

/// The same with another patience.
pub async fn eventually_within<T>(
    patience: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    let [least, most] = GLANCE;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if started.elapsed() > patience => {
                return Err(error.context(format!("not within {patience:?}")));
            }
            // What takes long is looked at seldom, as looking takes processors from those that are waited for.
            Err(_) => sleep((started.elapsed() / 50).clamp(least, most)).await,
        }
    }
}

/// Whether this process may bind the ports below 1024.
pub fn privileged() -> bool {
    static PRIVILEGED: OnceLock<bool> = OnceLock::new();
    *PRIVILEGED.get_or_init(|| {
        let lowest = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
        let open = lowest.is_ok_and(|lowest| lowest.trim() == "0");
        open || rustix::process::geteuid().is_root()
    })
}

/// The product is compiled as the harness is: quickly for tests, optimized for benches.
const PROFILE: Profile = if cfg!(debug_assertions) {
    Profile::Dev
} else {
    Profile::Release
};

/// The binaries under test: those in `$FLOTILLA_BINARIES`, else of this checkout, built once per test process.
pub(crate) fn product() -> Result<&'static Binaries> {
    static BINARIES: OnceLock<Result<Binaries, String>> = OnceLock::new();
    let built = BINARIES.get_or_init(|| match env::var_os("FLOTILLA_BINARIES") {
        Some(folder) => Ok(Binaries::in_folder(Path::new(&folder))),
        None => Binaries::build(PROFILE).map_err(|error| format!("{error:#}")),
    });
    built.as_ref().map_err(|error| anyhow!("{error}"))
}

pub(crate) fn nginx_path() -> Result<&'static Path> {
    static NGINX: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = NGINX.get_or_init(|| Ok(nginx::find(None).map_err(|error| format!("{error:#}"))?.path));
    found.as_deref().map_err(|error| anyhow!("{error}"))
}

fn admin(loopback: &Loopback) -> SocketAddr {
    loopback.socket(ADMIN_HOST, 9090)
}

fn spawn(binaries: &Binaries, loopback: &Loopback, folder: &Path) -> Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("flotilla.log"));
    let log = log.context("cannot create the operator's log")?;
    let mut command = Command::new(&binaries.flotilla);
    command
        .arg("run")
        .arg("--manifests")
        .arg(folder.join("manifests"));
    command
        .arg("--state")
        .arg(folder.join("state"))
        .arg("--nginx")
        .arg(nginx_path()?);
    command.args([
        "--addresses",
        &loopback.to_string(),
        "--admin",
        &admin(loopback).to_string(),
    ]);
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot share the log")?)
        .stderr(log);
    // A group of its own: Ctrl-C on the tests reaches the rig, which ends the operator in order.
    command.process_group(0);
    adopt_orphans();
    command
        .spawn()
        .with_context(|| format!("cannot start {}", binaries.flotilla.display()))
}

/// Writes beside the folder of manifests and renames, as careful editors do.
fn write(folder: &Path, file: &str, yaml: &str) -> Result<()> {
    let (draft, path) = (folder.join("draft"), folder.join("manifests").join(file));
    fs::write(&draft, yaml)
        .and_then(|()| fs::rename(&draft, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn substituted(yaml: &str, loopback: &Loopback) -> String {
    let first = loopback.address(0).to_string();
    let range = first
        .strip_suffix(".0")
        .expect("the address was made with a last octet of 0");
    yaml.replace("{range}", range)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder { files(&path) } else { vec![path] }
        })
        .collect()
}
