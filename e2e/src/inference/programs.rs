//! Upstream's programs, each compiled once from its Go module: `target/inference/NAME-DIGEST`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use crate::{
    command::run,
    go::Go,
    image::{Image, hexadecimal},
    workspace,
};

/// Holds the Go modules. Each is of its own because they need different versions of Kubernetes' libraries.
const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/inference");

/// How much of a digest is in a file's name.
const DIGITS: usize = 16;

/// What an `EndpointPicker` runs unless it names another image: the full picker, by the name that it is published by.
pub const PICKER_IMAGE: &str = "registry.k8s.io/gateway-api-inference-extension/epp:v1.5.0";

/// A program of upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The inference extension's picker with everything in it, from the last release that had it: v1.5.0.
    FullPicker,
    /// The inference extension's picker for conformance, which takes endpoints in turn.
    LightPicker,
    /// The backend of the inference extension's conformance suite.
    Echo,
    /// llm-d's simulator of a model server.
    Simulator,
}

impl Program {
    /// What its file and its image are called.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullPicker => "epp",
            Self::LightPicker => "lwepp",
            Self::Echo => "inference-echo",
            Self::Simulator => "simulator",
        }
    }

    /// The executable; minutes of compiling when nothing of it is cached.
    pub fn get(self) -> Result<PathBuf> {
        let folder = workspace::target().join("inference");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        // Tests that want the same program at the same time wait for the first of them.
        let lock = folder.join("lock");
        let lock = File::create(&lock).with_context(|| format!("cannot create {}", lock.display()))?;
        lock.lock().context("cannot wait for the lock file")?;

        let program = folder.join(format!("{}-{}", self.name(), &self.digest()?[..DIGITS]));
        if !program.exists() {
            eprintln!(
                "compiling {}; minutes when nothing of it is cached",
                self.package()
            );
            let draft = program.with_extension("draft");
            run(Go::find()?
                .command(&self.module())
                .args(["build", "-ldflags=-s -w", "-o"])
                .arg(&draft)
                .arg(self.package()))?;
            fs::rename(&draft, &program)
                .with_context(|| format!("cannot rename {} to {}", draft.display(), program.display()))?;
        }
        Ok(program)
    }

    /// An image of nothing but the executable, such as `flotilla.test/epp:dev`.
    pub fn image(self) -> Result<Image> {
        let path = format!("/usr/bin/{}", self.name());
        Image::new(&format!("{}:dev", self.name()), &path).file(&path, &self.get()?)
    }

    fn package(self) -> &'static str {
        match self {
            Self::FullPicker => "sigs.k8s.io/gateway-api-inference-extension/cmd/epp",
            Self::LightPicker => "sigs.k8s.io/gateway-api-inference-extension/cmd/lwepp",
            Self::Echo => "sigs.k8s.io/gateway-api/conformance/echo-basic",
            Self::Simulator => "github.com/llm-d/llm-d-inference-sim/cmd/llm-d-inference-sim",
        }
    }

    fn module(self) -> PathBuf {
        Path::new(MODULES).join(match self {
            Self::FullPicker => "picker",
            Self::LightPicker | Self::Echo => "conformance",
            Self::Simulator => "simulator",
        })
    }

    /// Of what decides how the executable comes out: the versions of everything in it.
    fn digest(self) -> Result<String> {
        let mut digest = Sha256::new();
        for file in ["go.mod", "go.sum"] {
            let path = self.module().join(file);
            digest.update(fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
        }
        Ok(hexadecimal(&digest.finalize()))
    }
}
