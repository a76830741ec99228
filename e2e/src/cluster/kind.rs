//! A cluster of kind, for machines with Docker. See <https://kind.sigs.k8s.io>.
//!
//! Minimal: `kubectl` has to be on the path, and addresses for `LoadBalancer` Services are up to
//! `cloud-provider-kind`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{
    command::{output, run},
    workspace,
};

/// What the cluster is called.
const NAME: &str = "flotilla";

/// Whether this machine has what it takes: kind, and a Docker daemon that answers.
pub(super) fn is_available() -> bool {
    output(Command::new("kind").arg("version")).is_ok() && output(Command::new("docker").arg("info")).is_ok()
}

/// Whether there is a cluster with our name.
pub(super) fn is_running() -> Result<bool> {
    if !is_available() {
        return Ok(false);
    }
    let clusters = output(Command::new("kind").args(["get", "clusters"]))?;
    Ok(clusters.lines().any(|name| name == NAME))
}

/// Creates the cluster.
pub(super) fn create() -> Result<()> {
    run(kind("create cluster").arg("--kubeconfig").arg(kubeconfig()))
}

/// Deletes the cluster.
pub(super) fn delete() -> Result<()> {
    run(kind("delete cluster").arg("--kubeconfig").arg(kubeconfig()))
}

/// Gives an image to the nodes.
pub(super) fn load(archive: &Path) -> Result<()> {
    run(kind("load image-archive").arg(archive))
}

/// Gives an image of the node another name.
pub(super) fn tag(image: &str, name: &str) -> Result<()> {
    let node = format!("{NAME}-control-plane");
    let mut command = Command::new("docker");
    command.args(["exec", &node]);
    command.args("ctr --namespace k8s.io images tag --force".split(' '));
    run(command.args([image, name]))
}

/// Written by kind when it creates the cluster.
pub(super) fn kubeconfig() -> PathBuf {
    workspace::target().join("cluster/kind.kubeconfig")
}

fn kind(task: &str) -> Command {
    let mut command = Command::new("kind");
    command.args(task.split(' ')).args(["--name", NAME]);
    command
}
