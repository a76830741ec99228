//! The operator in the cluster, as Helm installs it from this checkout.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use super::Cluster;
use crate::{
    command::{output, result, run},
    image::hexadecimal,
    workspace,
};

/// What a release is called, and the Deployment, Service and ServiceAccount in it.
pub const RELEASE: &str = "flotilla";

/// Where the operator of all namespaces runs.
pub const NAMESPACE: &str = "flotilla-system";

/// How the gateways of the release's class run, from the root of the workspace, and what that is called there.
const FLEET: (&str, &str) = ("e2e/src/cluster/fleet.yaml", "small");

/// The tag of the images that `cargo xtask image` makes.
const TAG: &str = "dev";

impl Cluster {
    /// Installs the operator or upgrades it, with these values of the chart beside the images of this checkout, and
    /// waits until it is ready. Pods of the operator are replaced when its image is another one. Gateways ask for little,
    /// unless they or the values say otherwise.
    pub fn install<Value: AsRef<str>>(&self, values: &[Value]) -> Result<()> {
        let (fleet, name) = FLEET;
        let fleet_of_class = format!("gatewayClass.parametersRef.name={name}");
        let values = values.iter().map(AsRef::as_ref);
        let values: Vec<&str> = [fleet_of_class.as_str()].into_iter().chain(values).collect();
        self.install_in(NAMESPACE, &values)?;
        // Not before: its definition and its namespace come with the chart. No Gateway is run without it.
        self.apply(&workspace::root().join(fleet))
    }

    /// Installs an operator, or upgrades it, in a namespace where there may be others elsewhere, with these values beside
    /// the images of this checkout, and waits until it is ready.
    pub fn install_in(&self, namespace: &str, values: &[&str]) -> Result<()> {
        let archive = workspace::target().join("images/operator.tar");
        let digest = digest(&archive).context("make the images first: cargo xtask image")?;
        let mut command = self.command("helm");
        command.args(["upgrade", RELEASE, "--install", "--wait", "--timeout=5m"]);
        command.args(["--namespace", namespace, "--create-namespace"]);
        command.args(["--set", &format!("image.tag={TAG},gatewayImage.tag={TAG}")]);
        command.args(["--set-string", &format!("podAnnotations.image={digest}")]);
        for value in values {
            command.args(["--set", value]);
        }
        run(command.arg(workspace::root().join("charts/flotilla")))
    }

    /// What Helm makes of the chart with these values, as YAML; nothing is installed.
    pub fn template(&self, values: &[&str]) -> Result<String> {
        let mut command = self.command("helm");
        command
            .args(["template", RELEASE, "--namespace", NAMESPACE])
            .arg(workspace::root().join("charts/flotilla"));
        for value in values {
            command.args(["--set", value]);
        }
        result(&mut command)
    }

    /// Uninstalls the operator with all that [`Self::install`] has made, and waits until its pods are gone. The
    /// definitions of its kinds stay.
    pub fn uninstall(&self) -> Result<()> {
        let (_, fleet) = FLEET;
        self.kubectl(&["delete", "nginxfleet", fleet, "--namespace", NAMESPACE])?;
        self.uninstall_from(NAMESPACE)
    }

    /// Uninstalls the operator of a namespace, and waits until its pods are gone.
    pub fn uninstall_from(&self, namespace: &str) -> Result<()> {
        let mut command = self.command("helm");
        output(command.args(["uninstall", RELEASE, "--wait", "--namespace", namespace]))?;
        // Helm waits for the Deployment, which is gone before its pods are.
        let pods = format!("--selector=app.kubernetes.io/name={RELEASE}");
        self.kubectl(&[
            "wait",
            "--for=delete",
            "pods",
            &pods,
            "--timeout=5m",
            "--namespace",
            namespace,
        ])?;
        Ok(())
    }
}

fn digest(file: &Path) -> Result<String> {
    let contents = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(hexadecimal(&Sha256::digest(contents)))
}
