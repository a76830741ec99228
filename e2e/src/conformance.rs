//! `cargo xtask conformance`: upstream's conformance suites, as they are, against the cluster.
//!
//! The suites' manifests name images of upstream's registry. The cluster is given a build of our own by those names,
//! out of the same Go modules, so nothing is pulled and no manifest changes.

mod suite;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

use anyhow::{Context, Result};

pub use self::suite::{Picker, Suite};
use crate::{cluster::Cluster, command::run, go::Go, image::Image, workspace};

/// The Go module that pins the suite of the Gateway API.
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
    /// Whose suite to run
    #[arg(long, value_enum, default_value_t = Suite::Gateway)]
    suite: Suite,
    /// Who chooses endpoints in the inference extension's suite
    #[arg(long, value_enum, default_value_t = Picker::Light)]
    picker: Picker,
    /// Profile to run rather than GATEWAY-HTTP; may be given many times
    #[arg(long = "profile", value_name = "NAME")]
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

impl Options {
    /// All tests of a suite, with the class that the chart makes.
    pub fn all(suite: Suite, picker: Picker) -> Self {
        Self {
            suite,
            picker,
            profiles: Vec::new(),
            run_test: None,
            gateway_class: "flotilla".to_owned(),
            flags: Vec::new(),
        }
    }

    /// The profiles that are claimed.
    fn profiles(&self) -> Vec<String> {
        if self.profiles.is_empty() {
            vec![self.suite.profile().to_owned()]
        } else {
            self.profiles.clone()
        }
    }
}

/// Runs the suite, and keeps its report in `e2e/conformance/reports` if all of it passed.
pub fn perform(options: &Options) -> Result<ExitCode> {
    if !passes(options)? {
        return Ok(ExitCode::FAILURE);
    }
    if options.run_test.is_none() {
        let reports = Path::new(MODULE).join("reports");
        fs::create_dir_all(&reports).context("cannot create the folder of reports")?;
        let name = options.suite.report(options.picker, &options.profiles());
        let kept = reports.join(name).with_extension("yaml");
        fs::copy(report(), &kept).with_context(|| format!("cannot write {}", kept.display()))?;
        println!("{}", kept.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the suite; whether all of it passed. That is the suite's exit status: its report can leave failures out.
pub fn passes(options: &Options) -> Result<bool> {
    let cluster = Cluster::up()?;
    let go = Go::find()?;
    let folder = workspace::target().join("conformance");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;

    eprintln!("compiling the suite; two minutes when nothing of it is cached");
    let suite = options.suite;
    let program = folder.join("suite");
    run(go
        .command(suite.module())
        .args(["test", "-c", "-ldflags=-s -w", "-o"])
        .arg(&program)
        .arg("."))?;
    let flags = suite.prepare(&go, options.picker, &cluster, &folder)?;

    // A run that was interrupted leaves its namespaces, and Gateways in them.
    let leftovers = format!("--selector={}", suite.leftovers());
    cluster.kubectl(&["delete", "namespace", &leftovers])?;
    let mut command = cluster.command(&program);
    command
        .args(["-test.run=^TestConformance$", "-test.timeout=1h"])
        // The one way in which Go prints a test when it ends, rather than when all of them have.
        .arg("-test.v=test2json")
        .arg(format!("--gateway-class={}", options.gateway_class))
        .arg(format!("--conformance-profiles={}", options.profiles().join(",")))
        .args(ADDRESSES)
        .args(suite.flags())
        .args(flags);
    match &options.run_test {
        Some(test) => command.arg(format!("--run-test={test}")),
        None => command
            .arg(format!("--report-output={}", report().display()))
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
    Ok(status.success())
}

/// Where the suite writes its report.
fn report() -> PathBuf {
    workspace::target().join("conformance/report.yaml")
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
