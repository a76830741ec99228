//! Where things are in this repository, and how its binaries are built.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// How the product's binaries are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build: what tests use.
    Dev,
    /// What users run: what measurements use.
    Release,
}

/// The two executables of the product, of one profile.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `flotilla`, which finds the agent beside itself.
    pub flotilla: PathBuf,
    /// `flotilla-agent`.
    pub agent: PathBuf,
}

/// The root of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate is a folder of the workspace")
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |target| root().join(target))
}

/// The folder, with nothing in it.
pub fn fresh(folder: &Path) -> Result<PathBuf> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => fs::create_dir_all(folder),
    }
    .with_context(|| format!("cannot empty {}", folder.display()))?;
    Ok(folder.to_owned())
}

/// A cargo command in the checkout, with what it writes sent to standard error.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).stdin(Stdio::null());
    command
}

impl Binaries {
    /// The binaries in a folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            flotilla: folder.join("flotilla"),
            agent: folder.join("flotilla-agent"),
        }
    }

    /// Builds both binaries; cargo says on standard error what it does.
    pub fn build(profile: Profile) -> Result<Self> {
        let mut command = cargo();
        command.args([
            "build",
            "--quiet",
            "--package",
            "operator",
            "--package",
            "agent",
            "--bins",
        ]);
        if profile == Profile::Release {
            command.arg("--release");
        }
        let status = command
            .stdout(Stdio::null())
            .status()
            .context("cannot start cargo")?;
        ensure!(status.success(), "flotilla and flotilla-agent do not build");
        Ok(Self::in_folder(&target().join(match profile {
            Profile::Dev => "debug",
            Profile::Release => "release",
        })))
    }
}
