//! `cargo xtask test`: everything that says whether this checkout is good, from the quickest to the slowest.
//!
//! All of it is built once, for the whole workspace, so that dependencies are compiled with one set of features.

use std::{
    cell::LazyCell,
    fmt,
    io::{BufRead, BufReader},
    iter::Sum,
    ops::Add,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::{
    cluster::Cluster,
    conformance::{self, Picker, Suite},
    image,
    nginx::{self, Origin},
    workspace,
};

/// Clippy with every warning an error, for all that there is.
const LINTS: [&str; 7] = [
    "clippy",
    "--workspace",
    "--all-targets",
    "--quiet",
    "--",
    "-D",
    "warnings",
];

/// The documentation of all that there is, so that no link in it leads nowhere.
const DOCUMENTATION: [&str; 5] = [
    "doc",
    "--workspace",
    "--no-deps",
    "--document-private-items",
    "--quiet",
];

/// What a tier does when its turn comes.
type Work<'a> = Box<dyn FnOnce() -> Result<Counts> + 'a>;

/// Runs all tiers, one after the other, or those alone whose names begin as one of the wanted does. Failure when one of them
/// fails; with `require_all`, also when one cannot run. The last line says how many tests went how.
pub fn test(require_all: bool, wanted: &[String]) -> Result<ExitCode> {
    let targets = Targets::read()?;
    let nginx = |origin| nginx::find(Some(origin)).map(|nginx| nginx.path);
    let newest = LazyCell::new(|| nginx(Origin::Wheel));
    let oldest = LazyCell::new(|| nginx(Origin::Source));
    let on = |nginx: &Result<PathBuf>, selection: &[&str]| match nginx {
        Ok(nginx) => cargo_test(selection, Some(nginx)),
        Err(error) => Ok(Counts::skipped_because(format!("{error:#}"))),
    };
    let traffic = targets.of_harness("test");
    // The product's own tests meet NGINX too, if only to have it test configurations.
    let all = [&traffic[..], &targets.of_product("test")].concat();

    let mut works: Vec<(&str, Work<'_>)> = vec![
        (
            "format",
            Box::new(|| check(&["fmt", "--all", "--check"], "rustfmt")),
        ),
        (
            "lints",
            Box::new(|| Ok(check(&LINTS, "clippy")? + passes(&DOCUMENTATION)?)),
        ),
        (
            "unit and golden",
            Box::new(|| {
                let selection = [&["--lib", "--bins"][..], &targets.of_product("test")].concat();
                let tests = cargo_test(&selection, newest.as_deref().ok())?;
                Ok(tests + cargo_test(&["--doc"], None)?)
            }),
        ),
        ("traffic, newest NGINX", Box::new(|| on(&newest, &traffic))),
        ("all, oldest NGINX", Box::new(|| on(&oldest, &all))),
        (
            "benches run",
            Box::new(|| match targets.of_product("bench") {
                benches if benches.is_empty() => Ok(Counts::default()),
                benches => cargo_test(&benches, None),
            }),
        ),
    ];
    works.extend(in_cluster());
    works.retain(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| name.starts_with(word.as_str())));
    ensure!(!works.is_empty(), "no tier is called {}", wanted.join(" or "));
    let tiers: Vec<Tier> = works.into_iter().map(|(name, work)| tier(name, work)).collect();

    println!();
    for tier in &tiers {
        println!("{tier}");
    }
    let total: Counts = tiers.iter().map(|tier| tier.counts.clone()).sum();
    let incomplete = require_all && tiers.iter().any(|tier| tier.counts.reason.is_some());
    if incomplete {
        println!("A tier was skipped, and all are required.");
    }
    println!(
        "\n{} passed, {} failed, {} skipped",
        total.passed, total.failed, total.skipped
    );
    Ok(if total.failed > 0 || incomplete {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Everything that takes a cluster. One that was up before is left up.
fn in_cluster() -> Vec<(&'static str, Work<'static>)> {
    if let Err(error) = Cluster::is_possible() {
        let skipped = Counts::skipped_because(format!("{error:#}"));
        return vec![("cluster", Box::new(|| Ok(skipped)))];
    }
    let was_up = matches!(Cluster::running(), Ok(Some(_)));
    let mut works: Vec<(&str, Work<'_>)> = vec![
        (
            "cluster up",
            Box::new(|| Cluster::up().map(|_| Counts::one_passed())),
        ),
        (
            "cluster images",
            Box::new(|| image::make(image::Options::default()).map(|()| Counts::one_passed())),
        ),
        (
            "cluster tests",
            Box::new(|| cargo_test(&["--test", "cluster"], None)),
        ),
        (
            "cluster conformance",
            Box::new(|| conforms(Suite::Gateway, Picker::Light)),
        ),
        (
            "cluster inference",
            Box::new(|| conforms(Suite::Inference, Picker::Operator)),
        ),
    ];
    if !was_up {
        works.push((
            "cluster down",
            Box::new(|| Cluster::down().map(|()| Counts::one_passed())),
        ));
    }
    works
}

/// A suite of upstream's that every change has to pass.
fn conforms(suite: Suite, picker: Picker) -> Result<Counts> {
    let passes = conformance::passes(&conformance::Options::all(suite, picker))?;
    ensure!(passes, "upstream's suite failed");
    Ok(Counts::one_passed())
}

/// What a tier did.
struct Tier {
    name: &'static str,
    counts: Counts,
    took: Duration,
}

/// How many tests went how, with the reason if a whole tier was skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
    reason: Option<String>,
}

fn tier(name: &'static str, work: impl FnOnce() -> Result<Counts>) -> Tier {
    eprintln!("\n=== {name}");
    let started = Instant::now();
    let counts = work().unwrap_or_else(|error| {
        eprintln!("{error:#}");
        Counts {
            failed: 1,
            ..Counts::default()
        }
    });
    let tier = Tier {
        name,
        counts,
        took: started.elapsed(),
    };
    eprintln!("=== {tier}");
    tier
}

impl fmt::Display for Tier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            counts:
                Counts {
                    passed,
                    failed,
                    skipped,
                    reason,
                },
            took,
        } = self;
        let verdict = match (failed, reason) {
            (_, Some(reason)) => format!("SKIPPED: {reason}"),
            (0, None) => format!("{passed} passed, {skipped} skipped"),
            (_, None) => format!("FAILED: {passed} passed, {failed} failed, {skipped} skipped"),
        };
        write!(formatter, "{name:<22} {:>6.1} s  {verdict}", took.as_secs_f64())
    }
}

impl Counts {
    fn one_passed() -> Self {
        Self {
            passed: 1,
            ..Self::default()
        }
    }

    fn skipped_because(reason: String) -> Self {
        Self {
            skipped: 1,
            reason: Some(reason),
            ..Self::default()
        }
    }

    /// Reads `test result: ok. 8 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.62s`.
    fn from_line(line: &str) -> Option<Self> {
        let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let number = |of: &str| {
            let mut parts = numbers.split(';').map(str::trim);
            parts.find_map(|part| part.strip_suffix(of)?.trim().parse().ok())
        };
        Some(Self {
            passed: number("passed")?,
            failed: number("failed")?,
            skipped: number("ignored")?,
            reason: None,
        })
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
            reason: self.reason.or(other.reason),
        }
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}

/// A check that passes or fails as a whole; skipped where cargo lacks the component for it.
fn check(arguments: &[&str], component: &str) -> Result<Counts> {
    let installed = workspace::cargo()
        .args([arguments[0], "--version"])
        .output()
        .context("cannot start cargo")?;
    if !installed.status.success() {
        return Ok(Counts::skipped_because(format!(
            "rustup component add {component}"
        )));
    }
    passes(arguments)
}

/// Something that cargo does without a warning, or fails.
fn passes(arguments: &[&str]) -> Result<Counts> {
    let mut command = workspace::cargo();
    command.args(arguments).env("RUSTDOCFLAGS", "-D warnings");
    let status = command.status().context("cannot start cargo")?;
    ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    Ok(Counts::one_passed())
}

/// Runs tests of the workspace, passing on what they write, and counts them.
fn cargo_test<Argument: AsRef<str>>(selection: &[Argument], nginx: Option<&Path>) -> Result<Counts> {
    let mut command = workspace::cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    command
        .args(selection.iter().map(AsRef::as_ref))
        .stdout(Stdio::piped());
    if let Some(nginx) = nginx {
        command.env("NGINX", nginx);
    }
    let (counts, succeeded) = counted(command)?;
    // Tests that do not build leave no line to count.
    if !succeeded && counts.failed == 0 {
        bail!("cargo test failed outside of any test");
    }
    Ok(counts)
}

fn counted(mut command: Command) -> Result<(Counts, bool)> {
    let mut child = command.spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().expect("standard output is piped");
    let mut counts = Counts::default();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what cargo says")?;
        println!("{line}");
        counts = counts + Counts::from_line(&line).unwrap_or_default();
    }
    Ok((counts, child.wait().context("cannot wait for cargo")?.success()))
}

/// The test targets of the workspace: who has which.
struct Targets(Vec<Package>);

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    /// Whether `cargo test` runs it without being asked for it by name; so it is with what needs no cluster.
    test: bool,
}

impl Targets {
    fn read() -> Result<Self> {
        let mut command = workspace::cargo();
        command.args(["metadata", "--no-deps", "--format-version", "1"]);
        let output = command
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start cargo")?;
        ensure!(output.status.success(), "cargo metadata failed");
        let Metadata { packages } =
            serde_json::from_slice(&output.stdout).context("cannot read cargo's metadata")?;
        Ok(Self(packages))
    }

    /// Arguments that select the product's targets of a kind.
    fn of_product(&self, kind: &str) -> Vec<&str> {
        self.select(kind, |package| package != env!("CARGO_PKG_NAME"))
    }

    /// Arguments that select the harness's targets of a kind: those with traffic.
    fn of_harness(&self, kind: &str) -> Vec<&str> {
        self.select(kind, |package| package == env!("CARGO_PKG_NAME"))
    }

    fn select(&self, kind: &str, wanted: impl Fn(&str) -> bool) -> Vec<&str> {
        let option = if kind == "bench" { "--bench" } else { "--test" };
        let packages = self.0.iter().filter(|package| wanted(&package.name));
        let targets = packages.flat_map(|package| &package.targets);
        let targets = targets
            .filter(|target| (target.test || kind != "test") && target.kind.iter().any(|its| its == kind));
        targets
            .flat_map(|target| [option, target.name.as_str()])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_as_cargo_writes_them() {
        let line = "test result: FAILED. 8 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.62s";
        let expected = Counts {
            passed: 8,
            failed: 2,
            skipped: 1,
            reason: None,
        };
        assert_eq!(Counts::from_line(line), Some(expected));
        assert_eq!(Counts::from_line("test results: none"), None);
    }
}
