//! `cargo xtask conformance`: the upstream conformance suite of the Gateway API, as it is, against the cluster.
//!
//! The suite's manifests name images of upstream's registry. The cluster is given a build of our own by those names,
//! out of the same Go modules, so nothing is pulled and no manifest changes.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

use anyhow::{Context, Result};

use crate::{
    cluster::Cluster,
    command::{output, run},
    go::Go,
    image::Image,
    workspace,
};

/// The Go module that pins the suite.
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance");

/// The backend of upstream's tests: it answers with what it was asked.
const ECHO: &str = "sigs.k8s.io/gateway-api-conformance-images/echo-basic";

/// An address that the cluster's load balancers have, and one that they have not (it is for documentation).
const ADDRESSES: [&str; 2] = [
    "--usable-address=198.19.16.200",
    "--unusable-address=198.51.100.0",
];

/// What a report says about who was tested; the suite wants all of it.
const IMPLEMENTATION: [&str; 5] = [
    "--organization=flotilla",
    "--project=flotilla",
    "--url=https://flotilla.dev",
    "--contact=https://flotilla.dev",
    concat!("--version=v", env!("CARGO_PKG_VERSION")),
];

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Profile to run; may be given many times
    #[arg(long = "profile", value_name = "NAME", default_value = "GATEWAY-HTTP")]
    profiles: Vec<String>,
    /// One test to run rather than all, such as `HTTPRouteMatching`; no report is written
    #[arg(long, value_name = "NAME")]
    run_test: Option<String>,
    /// The class to run it with, which says itself which features it supports
    #[arg(long, value_name = "NAME", default_value = "flotilla")]
    gateway_class: String,
    /// Flags for the suite itself, after `--`
    #[arg(last = true, value_name = "FLAG")]
    flags: Vec<String>,
}

/// Runs the suite, and writes its report to `e2e/conformance/reports` if all of it passed. The exit status is the
/// suite's own: a report can leave failures out.
pub fn perform(options: &Options) -> Result<ExitCode> {
    let cluster = Cluster::up()?;
    let go = Go::find()?;
    let folder = workspace::target().join("conformance");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;

    eprintln!("compiling the suite; two minutes when nothing of it is cached");
    let suite = folder.join("suite");
    let mut compile = go.command(Path::new(MODULE));
    run(compile
        .args(["test", "-c", "-ldflags=-s -w", "-o"])
        .arg(&suite)
        .arg("."))?;
    let backend = echo(&go)?;
    let archive = folder.join("echo.tar");
    for name in echo_images(&go)? {
        backend.clone().named(name).write(&archive)?;
        cluster.load(&archive)?;
    }

    // A run that was interrupted leaves its namespaces, and Gateways in them.
    cluster.kubectl(&["delete", "namespace", "--selector=gateway-conformance"])?;
    let report = folder.join("report.yaml");
    let mut command = cluster.command(&suite);
    command
        .args(["-test.run=^TestConformance$", "-test.timeout=1h"])
        // The one way in which Go prints a test when it ends, rather than when all of them have.
        .arg("-test.v=test2json")
        .arg(format!("--gateway-class={}", options.gateway_class))
        .arg(format!("--conformance-profiles={}", options.profiles.join(",")))
        .args(ADDRESSES);
    match &options.run_test {
        Some(test) => command.arg(format!("--run-test={test}")),
        None => command
            .arg(format!("--report-output={}", report.display()))
            .args(IMPLEMENTATION),
    };
    command.args(&options.flags);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the suite")?;
    let said = child.stdout.take().expect("it has been asked for");
    for line in BufReader::new(said).lines() {
        let line = line.context("cannot read what the suite says")?;
        println!("{}", line.trim_start_matches('\u{16}'));
    }
    let status = child.wait().context("cannot wait for the suite")?;
    if !status.success() {
        return Ok(ExitCode::FAILURE);
    }
    if options.run_test.is_none() {
        let reports = Path::new(MODULE).join("reports");
        fs::create_dir_all(&reports).context("cannot create the folder of reports")?;
        let name = options.profiles.join("-").to_lowercase();
        let kept = reports.join(name).with_extension("yaml");
        fs::copy(&report, &kept).with_context(|| format!("cannot write {}", kept.display()))?;
        println!("{}", kept.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The image of upstream's backend, compiled here; `flotilla.test/echo:dev` unless named otherwise.
pub fn echo(go: &Go) -> Result<Image> {
    let binary = workspace::target().join("conformance/echo-basic");
    let mut compile = go.command(Path::new(MODULE));
    run(compile
        .args(["build", "-ldflags=-s -w", "-o"])
        .arg(&binary)
        .arg(ECHO))?;
    Image::new("echo:dev", "/usr/bin/echo-basic").file("/usr/bin/echo-basic", &binary)
}

/// Every name that the suite's manifests have for the backend.
fn echo_images(go: &Go) -> Result<BTreeSet<String>> {
    let mut command = go.command(Path::new(MODULE));
    let suite = command.args([
        "list",
        "-m",
        "-f",
        "{{.Dir}}",
        "sigs.k8s.io/gateway-api/conformance",
    ]);
    let suite = PathBuf::from(output(suite)?.trim());
    let mut names = BTreeSet::new();
    for manifest in manifests(&suite)? {
        let text =
            fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        names.extend(text.lines().filter_map(echo_image).map(str::to_owned));
    }
    Ok(names)
}

/// All YAML files below a folder.
fn manifests(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut manifests = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                manifests.push(path);
            }
        }
    }
    Ok(manifests)
}

/// The image in a line of a manifest, if it is one of the backend.
fn echo_image(line: &str) -> Option<&str> {
    let name = line.trim_start_matches([' ', '-']).strip_prefix("image:")?.trim();
    name.contains("/echo-basic:").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_the_backend_are_found() {
        let name = "example.com/conformance/echo-basic:v1";
        assert_eq!(echo_image(&format!("        image: {name}")), Some(name));
        assert_eq!(echo_image(&format!("      - image: {name}")), Some(name));
        assert_eq!(echo_image("        image: example.com/echo-advanced:v1"), None);
        assert_eq!(echo_image("        name: echo-basic"), None);
    }
}
