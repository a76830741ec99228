//! Manifests that nobody here wrote: all of upstream's examples and conformance tests.
//!
//! They are not in this repository. To run this, name the folders of the Go modules that have them:
//!
//! ```text
//! go mod download -json sigs.k8s.io/gateway-api@v1.7.0                # examples/
//! go mod download -json sigs.k8s.io/gateway-api/conformance@v1.7.0    # base/, tests/
//! GATEWAY_API_MODULE=FOLDER:FOLDER cargo test -p e2e --test foreign -- --nocapture
//! ```
//!
//! That prints every problem that `flotilla check` sees in them.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    nginx,
    workspace::{Binaries, Profile},
};

/// The environment variable that names the folders, as `PATH` does.
const FOLDERS: &str = "GATEWAY_API_MODULE";

/// The class that every Gateway is made one of.
const CLASS: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: flotilla }
spec: { controllerName: flotilla.dev/gateway-controller }
";

/// What the files of a folder are checked with.
struct Checker {
    flotilla: PathBuf,
    nginx: PathBuf,
}

#[test]
fn manifests_of_others_are_rendered_and_checked() -> Result<()> {
    let folders: Vec<PathBuf> = env::var_os(FOLDERS).iter().flat_map(env::split_paths).collect();
    if folders.is_empty() {
        // Not with a macro, whose output a passing test keeps to itself.
        writeln!(std::io::stderr(), "SKIPPED, as {FOLDERS} names no folder")?;
        return Ok(());
    }
    let checker = Checker {
        flotilla: Binaries::build(Profile::Dev)?.flotilla,
        nginx: nginx::find(None)?.path,
    };
    let (mut files, mut gateways) = (0, 0);
    for folder in &folders {
        // What all tests of the conformance suite start from is written once, beside them.
        let base = fs::read_to_string(folder.join("base/manifests.yaml")).unwrap_or_default();
        for file in yaml_files(folder)? {
            let base = if file.starts_with(folder.join("tests")) {
                &base
            } else {
                ""
            };
            gateways += checker
                .check(&file, base)
                .with_context(|| file.display().to_string())?;
            files += 1;
        }
    }
    println!("{files} files, {gateways} gateways");
    ensure!(gateways > 0, "{FOLDERS} has no Gateway");
    Ok(())
}

impl Checker {
    /// Renders and checks a file together with the base; how many gateways NGINX has accepted.
    fn check(&self, file: &Path, base: &str) -> Result<usize> {
        let folder = tempfile::tempdir()?;
        let manifests = folder.path().join("manifests");
        fs::create_dir(&manifests)?;
        fs::write(manifests.join("class.yaml"), CLASS)?;
        fs::write(manifests.join("base.yaml"), of_our_class(base))?;
        fs::write(
            manifests.join("file.yaml"),
            of_our_class(&fs::read_to_string(file)?),
        )?;

        let output = self.run(folder.path(), &["check", "manifests"])?;
        let problems = String::from_utf8(output.stdout)?;
        let expected = i32::from(!problems.is_empty());
        ensure!(
            output.status.code() == Some(expected),
            "check ends with {}",
            output.status
        );
        println!("\n{}", file.display());
        for problem in problems.lines() {
            ensure!(
                problem.starts_with("manifests/"),
                "a problem without its place: {problem}"
            );
            println!("    {problem}");
        }

        let output = self.run(folder.path(), &["render", "manifests", "--out", "out"])?;
        ensure!(output.status.success(), "render ends with {}", output.status);
        let gateways = gateways(&folder.path().join("out"))?;
        for gateway in &gateways {
            let mut command = Command::new(&self.nginx);
            // NGINX takes the variable for a list of sockets that it inherits.
            command
                .env_remove("NGINX")
                .args(["-t", "-c", "nginx.conf", "-p"])
                .arg(gateway);
            let output = command.output().context("cannot start NGINX")?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(
                output.status.success(),
                "NGINX refuses {}: {said}",
                gateway.display()
            );
        }
        Ok(gateways.len())
    }

    /// Runs `flotilla`, which must not panic.
    fn run(&self, folder: &Path, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.flotilla);
        let output = command
            .args(arguments)
            .current_dir(folder)
            .output()
            .context("cannot start flotilla")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!said.contains("panicked"), "{said}");
        Ok(output)
    }
}

/// Manifests with every Gateway made one of our class.
fn of_our_class(manifests: &str) -> String {
    let line = |line: &str| match line.split_once("gatewayClassName:") {
        Some((before, _)) => format!("{before}gatewayClassName: flotilla\n"),
        None => format!("{line}\n"),
    };
    manifests.lines().map(line).collect()
}

/// All YAML files below a folder, in order.
fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("cannot read {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The folders that were rendered: `NAMESPACE/NAME` below `out`.
fn gateways(out: &Path) -> Result<Vec<PathBuf>> {
    let mut gateways = Vec::new();
    if out.exists() {
        for namespace in fs::read_dir(out)? {
            for gateway in fs::read_dir(namespace?.path())? {
                gateways.push(gateway?.path());
            }
        }
    }
    Ok(gateways)
}
