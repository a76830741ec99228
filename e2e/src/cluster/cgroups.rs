//! The control groups of the node: one of its own in every hierarchy, so that pods and daemons are counted apart
//! from the rest of the machine.
//!
//! See <https://docs.kernel.org/admin-guide/cgroup-v2.html>, and `cgroup-v1` there for the older hierarchies.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

/// What hierarchies are mounted below.
const ROOT: &str = "/sys/fs/cgroup";

/// The group of the node, as `cgroupRoot` in the kubelet's configuration has it too.
const NODE: &str = "flotilla-node";

/// The group of its daemons, within.
const DAEMONS: &str = "flotilla-node/daemons";

/// How long the kernel may take to let go of a group after its last process.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the node's groups.
pub(super) fn create() -> Result<()> {
    for hierarchy in hierarchies()? {
        for group in [NODE, DAEMONS] {
            let group = hierarchy.join(group);
            fs::create_dir_all(&group).with_context(|| format!("cannot create {}", group.display()))?;
            // A group of this one kind has nothing to run on at first.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let inherited = fs::read_to_string(hierarchy.join(file)).unwrap_or_default();
                if !inherited.trim().is_empty() {
                    write(&group.join(file), inherited.trim())?;
                }
            }
        }
        if let Ok(controllers) = fs::read_to_string(hierarchy.join("cgroup.controllers")) {
            let enabled: Vec<String> = controllers
                .split_whitespace()
                .map(|controller| format!("+{controller}"))
                .collect();
            for group in [&hierarchy, &hierarchy.join(NODE)] {
                write(&group.join("cgroup.subtree_control"), &enabled.join(" "))?;
            }
        }
    }
    Ok(())
}

/// Moves this process into the group of the daemons; what it starts will be there too.
pub(super) fn join() -> Result<()> {
    for hierarchy in hierarchies()? {
        // Zero stands for whoever writes it.
        write(&hierarchy.join(DAEMONS).join("cgroup.procs"), "0")?;
    }
    Ok(())
}

/// Removes the node's groups, with those that the kubelet made within. None of them may have processes.
pub(super) fn remove() -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(NODE);
        while group.exists() {
            remove_with_children(&group);
            ensure!(
                Instant::now() < deadline,
                "{} has processes still",
                group.display()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

/// Removes what can be: a group goes when the kernel has buried its last process.
fn remove_with_children(group: &Path) {
    let children = fs::read_dir(group).into_iter().flatten().flatten();
    for child in children.map(|entry| entry.path()).filter(|path| path.is_dir()) {
        remove_with_children(&child);
    }
    let _ = fs::remove_dir(group);
}

/// Where groups can be made: the one hierarchy of today's machines, or the many of older ones.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = PathBuf::from(ROOT);
    if root.join("cgroup.procs").exists() {
        return Ok(vec![root]);
    }
    let entries = fs::read_dir(&root).context("cannot list control groups")?;
    let entries: Vec<fs::DirEntry> = entries
        .collect::<io::Result<_>>()
        .context("cannot list control groups")?;
    // Hierarchies of several controllers have symbolic links by the name of each.
    let folders = entries
        .iter()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let hierarchies = folders.map(fs::DirEntry::path);
    Ok(hierarchies
        .filter(|path| path.join("cgroup.procs").exists())
        .collect())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {text:?} to {}", path.display()))
}
