//! The first process of a node: makes its mounts and its network, then starts the daemons and keeps them running.

use std::{
    collections::HashMap,
    convert::Infallible,
    fs::{self, OpenOptions},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::{
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change},
    process::{Pid, WaitOptions, wait},
};

use super::{
    cgroups,
    daemons::{BIN, DAEMONS, Daemon, Milestone},
    node,
    programs::{self, Programs},
};
use crate::command::{output, run};

/// Settings of the whole kernel that the kubelet changes. It gets files to write to in their place.
const KERNEL_SETTINGS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// How long after its end a daemon is started again.
const BACKOFF: Duration = Duration::from_secs(1);

/// How often it is looked whether a milestone is reached.
const GLANCE: Duration = Duration::from_millis(50);

/// Is the first process, in namespaces that [`node::Node::start`] made. Never returns but for an error.
pub(super) fn run_node() -> Result<Infallible> {
    cgroups::join()?;
    make_mounts()?;
    make_network()?;
    let mut running = HashMap::new();
    for daemon in &DAEMONS {
        reach(daemon.after);
        running.insert(start(daemon)?, daemon);
    }
    keep(running)
}

/// Gives the node folders of its own where its programs have their state, so that nothing is left of them.
///
/// ```text
/// /run                in memory
/// /run/flotilla/bin   the programs
/// /run/flotilla/conf  e2e/cluster/node
/// /run/flotilla/pki   keys, certificates, kubeconfigs
/// /var/lib, /var/log  lib and log in the node's folder
/// ```
fn make_mounts() -> Result<()> {
    let folder = node::folder();
    let run = Path::new("/run/flotilla");
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).context("cannot mount /run")?;
    bind(&Programs::folder().join("bin"), Path::new(BIN))?;
    bind(&Path::new(programs::SOURCES).join("node"), &run.join("conf"))?;
    bind(&folder.join("pki"), &run.join("pki"))?;
    bind(&folder.join("lib"), Path::new("/var/lib"))?;
    bind(&folder.join("log"), Path::new("/var/log"))?;
    for folder in ["/run/netns", "/var/lib/kubelet", "/var/log/containers"] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {folder}"))?;
    }
    for (number, setting) in KERNEL_SETTINGS.into_iter().enumerate() {
        let setting = Path::new("/proc/sys").join(setting);
        let copy = run.join(format!("setting-{number}"));
        let value = fs::read(&setting).with_context(|| format!("cannot read {}", setting.display()))?;
        fs::write(&copy, value).with_context(|| format!("cannot write {}", copy.display()))?;
        mount_bind(&copy, &setting).with_context(|| format!("cannot mount {}", setting.display()))?;
    }
    // The kubelet wants what it mounts to show in containers.
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    mount_change("/", shared).context("cannot share mounts")
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    mount_bind(from, to).with_context(|| format!("cannot mount {} at {}", from.display(), to.display()))
}

/// Makes the node's network: loopback alone, with the node's address, and no way out.
fn make_network() -> Result<()> {
    let address = format!("{}/32", node::ADDRESS);
    // The route lets packets to Services and load balancers reach the hook where kube-proxy rewrites them.
    for arguments in [
        "link set lo up",
        &format!("address add {address} dev lo"),
        &format!("route add 198.19.0.0/16 dev lo src {}", node::ADDRESS),
    ] {
        run(Command::new("ip").args(arguments.split(' ')))?;
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot switch forwarding on")
}

/// Waits for a milestone.
fn reach(milestone: Milestone) {
    let reached = || match milestone {
        Milestone::Start => true,
        Milestone::Listening => TcpStream::connect(("127.0.0.1", 6443)).is_ok(),
        Milestone::Ready => {
            let mut kubectl = Command::new("kubectl");
            kubectl.args([
                "get",
                "--raw=/readyz",
                "--kubeconfig=/run/flotilla/pki/admin.kubeconfig",
            ]);
            output(&mut kubectl).is_ok()
        }
    };
    while !reached() {
        thread::sleep(GLANCE);
    }
}

/// Starts a daemon, whose log is appended to.
fn start(daemon: &Daemon) -> Result<Pid> {
    let Daemon { name, arguments, .. } = daemon;
    let path = format!("/var/log/{name}.log");
    let log = OpenOptions::new().create(true).append(true).open(&path);
    let log = log.with_context(|| format!("cannot write {path}"))?;
    let child = Command::new(name)
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot share a log file")?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    println!("started {name}");
    Ok(Pid::from_child(&child))
}

/// Starts daemons again as they end, and reaps what lost its parent.
fn keep(mut running: HashMap<Pid, &Daemon>) -> Result<Infallible> {
    loop {
        let ended = match wait(WaitOptions::empty()) {
            Ok(ended) => ended,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error).context("cannot wait for daemons"),
        };
        let Some((daemon, status)) = ended.and_then(|(pid, status)| Some((running.remove(&pid)?, status)))
        else {
            continue;
        };
        println!("{} ended: {status:?}", daemon.name);
        thread::sleep(BACKOFF);
        running.insert(start(daemon)?, daemon);
    }
}
