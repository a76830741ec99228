//! One real Kubernetes node on this machine, in namespaces of its own: a network with nothing but itself, mounts that
//! hide the machine's state from it, and process ids, so that the end of its first process is the end of all.
//!
//! Its addresses are those that are set aside for benchmarks, 198.18.0.0/15: pods have 198.18.0.0/20, the node
//! 198.18.16.1, Services 198.19.0.0/20 (the DNS 198.19.0.10) and load balancers 198.19.16.0/20. No packet leaves.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::{
    process::geteuid,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{cgroups, pki, programs::Programs};
use crate::{
    command::{output, run},
    process::{Process, end},
    workspace::{self, fresh},
};

/// What the node is called.
pub(super) const NAME: &str = "node";

/// The node's own address.
pub(super) const ADDRESS: &str = "198.18.16.1";

/// Programs that the machine has to have, and the Debian packages that bring them.
const PACKAGES: [(&str, &str); 6] = [
    ("/usr/bin/containerd", "containerd"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/lib/cni/ptp", "containernetworking-plugins"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/sbin/iptables", "iptables"),
    ("/bin/ip", "iproute2"),
];

/// The arguments by which the first process is told from a later one with the same id.
const INIT: [&str; 2] = ["cluster", "init"];

/// A node that runs.
#[derive(Debug)]
pub(super) struct Node {
    /// The parent of the node's first process. It has the node's mounts and network too, and takes the first process
    /// along when it ends.
    unshare: Process,
}

/// Where the node's state is: keys in `pki`, `/var/lib` in `lib`, `/var/log` in `log`.
pub(super) fn folder() -> PathBuf {
    workspace::target().join("cluster/node")
}

/// Logs of the daemons and, below, of the pods; they outlive the node.
pub(super) fn logs() -> PathBuf {
    folder().join("log")
}

/// The administrator's.
pub(super) fn kubeconfig() -> PathBuf {
    folder().join("pki/admin.kubeconfig")
}

/// Whether this user can run a node at all.
pub(super) fn is_possible() -> Result<()> {
    ensure!(
        geteuid().is_root(),
        "without Docker and kind, a cluster takes root: namespaces, mounts and control groups of its own"
    );
    Ok(())
}

/// Sees to it that the machine can run a node; installs Debian packages that it lacks.
pub(super) fn prepare() -> Result<()> {
    is_possible()?;
    let lacking = PACKAGES.into_iter().filter(|(file, _)| !Path::new(file).exists());
    let packages: Vec<&str> = lacking.map(|(_, package)| package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", packages.join(" "));
    let install = || {
        let mut command = Command::new("apt-get");
        command.args("--quiet --quiet --yes --no-install-recommends install".split(' '));
        // In the runlevel of a single user, packages start no services.
        run(command.args(&packages).env("RUNLEVEL", "1"))
    };
    install().or_else(|_| {
        // The package lists of a fresh machine are empty or old.
        run(Command::new("apt-get").args(["--quiet", "--quiet", "update"]))?;
        install()
    })
}

/// Removes what a node that ended left behind.
pub(super) fn clean() -> Result<()> {
    cgroups::remove().context("the node of another checkout seems to be up")?;
    fresh(&folder().join("lib"))?;
    let pid_file = pid_file();
    if pid_file.exists() {
        fs::remove_file(&pid_file).with_context(|| format!("cannot remove {}", pid_file.display()))?;
    }
    Ok(())
}

impl Node {
    /// The node if it runs.
    pub(super) fn running() -> Option<Self> {
        let unshare = Process::from_pid_file(&pid_file())?;
        let is_ours = unshare.lives() && unshare.command_line().ends_with(&INIT.join(" "));
        is_ours.then_some(Self { unshare })
    }

    /// Starts a node with nothing in it. Its daemons are still starting when this returns.
    pub(super) fn start(programs: &Programs) -> Result<Self> {
        clean()?;
        pki::write(&folder().join("pki"), [NAME, ADDRESS])?;
        let log = fresh(&logs())?.join("init.log");
        let log = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        cgroups::create()?;
        let program = folder().join("xtask");
        // Of this very program: what is at its path may be a newer one by now, or be replaced while the node runs.
        fs::copy("/proc/self/exe", &program).context("cannot copy this program")?;
        // A session of its own, so that the node outlives the terminal.
        let mut command = Command::new("setsid");
        command.arg("unshare");
        command.args("--net --mount --pid --fork --kill-child --mount-proc".split(' '));
        command
            .arg(program)
            .args(INIT)
            .env("PATH", path(&programs.bin())?)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share a log file")?)
            .stderr(log);
        let child = command.spawn().context("cannot start setsid")?;
        let unshare = Process::of(&child);
        fs::write(pid_file(), unshare.id().to_string()).context("cannot write the id of a process")?;
        Ok(Self { unshare })
    }

    /// Ends the node and all that runs on it.
    #[allow(clippy::needless_pass_by_value, reason = "there is no node afterwards")]
    pub(super) fn stop(self) -> Result<()> {
        end(&self.unshare.with_descendants());
        clean()
    }

    /// A command in the node's network.
    pub(super) fn command(&self, program: OsString) -> Command {
        let mut command = self.enter(&["--net"]);
        command.arg(program);
        command
    }

    /// Gives an image to containerd.
    pub(super) fn load(&self, archive: &Path) -> Result<()> {
        let mut command = self.enter(&["--net", "--mount"]);
        command
            .args("ctr --namespace k8s.io images import".split(' '))
            .arg(archive);
        output(&mut command).map(drop)
    }

    /// Gives an image of containerd another name.
    pub(super) fn tag(&self, image: &str, name: &str) -> Result<()> {
        let mut command = self.enter(&["--net", "--mount"]);
        command.args("ctr --namespace k8s.io images tag --force".split(' '));
        output(command.args([image, name])).map(drop)
    }

    /// Moves the calling thread to the node's network.
    pub(super) fn enter_network(&self) -> Result<()> {
        let network = format!("/proc/{}/ns/net", self.unshare.id());
        let network = File::open(&network).with_context(|| format!("cannot open {network}"))?;
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
            .context("cannot enter the network of the node")
    }

    fn enter(&self, namespaces: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.unshare.id().to_string());
        command.args(namespaces).arg("--");
        // A path that cannot be written as a list is one that nothing was found on.
        command.env("PATH", path(&Programs::folder().join("bin")).unwrap_or_default());
        command
    }
}

fn pid_file() -> PathBuf {
    folder().join("pid")
}

/// The search path with a folder before all others, and with those that only root has.
fn path(first: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [first.to_owned()]
        .into_iter()
        .chain(env::split_paths(&path))
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    env::join_paths(folders).context("a folder with a colon cannot be on the search path")
}
