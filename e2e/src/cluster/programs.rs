//! The programs that a node is made of, compiled once: `target/cluster/programs`.
//!
//! ```text
//! bin/kube      etcd, the Kubernetes programs, kubectl and helm, with symbolic links by those names
//! images/*.tar  what pods of the cluster itself run
//! digest        of the sources that all of it was made from
//! ```

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::{
    command::{output, run},
    go::Go,
    image::{Image, hexadecimal},
    workspace::{self, fresh},
};

/// The Go module with the wrappers, and the node's configuration files.
pub(super) const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster");

/// Kubernetes' own version is that of a module, which the programs need to be told.
const KUBERNETES: &str = "k8s.io/kubernetes";

/// What the binary `kube` is, by the name that it is called by.
const KUBE: [&str; 9] = [
    "etcd",
    "helm",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "load-balancer",
];

/// What was compiled.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    /// Holds all of it.
    folder: PathBuf,
}

impl Programs {
    /// Those of an earlier run if nothing has changed since, else made anew.
    pub(super) fn get() -> Result<Self> {
        let programs = Self {
            folder: Self::folder(),
        };
        let digest = digest_of_sources()?;
        let stamp = programs.folder.join("digest");
        if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == digest) {
            return Ok(programs);
        }
        fresh(&programs.folder)?;
        programs.make()?;
        fs::write(&stamp, digest).context("cannot write the digest of the sources")?;
        Ok(programs)
    }

    /// Where they are once they are there.
    pub(super) fn folder() -> PathBuf {
        workspace::target().join("cluster/programs")
    }

    /// Executables, by name.
    pub(super) fn bin(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// Image archives.
    pub(super) fn images(&self) -> [PathBuf; 2] {
        ["pause", "coredns"].map(|name| self.folder.join("images").join(name).with_extension("tar"))
    }

    fn make(&self) -> Result<()> {
        let go = Go::find()?;
        let bin = fresh(&self.bin())?;
        eprintln!("compiling Kubernetes; six minutes on two cores when nothing of it is cached");
        compile(&go, &bin)?;
        for name in KUBE {
            symlink("kube", bin.join(name)).with_context(|| format!("cannot link {name}"))?;
        }
        fresh(&self.folder.join("images"))?;
        for (archive, name) in self.images().iter().zip(["pause", "coredns"]) {
            let path = format!("/{name}");
            Image::new(&format!("{name}:1"), &path)
                .file(&path, &bin.join(name))?
                .write(archive)?;
        }
        Ok(())
    }
}

/// Compiles every program of the module into a folder.
fn compile(go: &Go, bin: &Path) -> Result<()> {
    let module = Path::new(SOURCES);
    let version = output(
        go.command(module)
            .args(["list", "-m", "-f", "{{.Version}}", KUBERNETES]),
    )?;
    let version = version.trim();
    let mut numbers = version.trim_start_matches('v').split('.');
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        bail!("{KUBERNETES} has version {version:?}");
    };
    // Charts ask for the version of the API server, which without these calls itself v0.0.0.
    let flags = format!(
        "-s -w -X k8s.io/component-base/version.gitVersion={version} \
         -X k8s.io/component-base/version.gitMajor={major} \
         -X k8s.io/component-base/version.gitMinor={minor} \
         -X k8s.io/component-base/version.gitTreeState=clean \
         -X k8s.io/client-go/pkg/version.gitVersion={version}"
    );
    run(go
        .command(module)
        .args(["build", "-ldflags", &flags, "-o"])
        .arg(bin)
        .arg("./..."))
}

/// Says when programs have to be made anew: a digest of every file of the Go module.
fn digest_of_sources() -> Result<String> {
    let mut digest = Sha256::new();
    let module = Path::new(SOURCES);
    for file in ["go.mod", "go.sum"] {
        add_file(&mut digest, &module.join(file))?;
    }
    for folder in ["coredns", "kube", "pause"] {
        let folder = module.join(folder);
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        ensure!(!files.is_empty(), "{} holds no program", folder.display());
        files.sort();
        for file in files {
            add_file(&mut digest, &file)?;
        }
    }
    Ok(hexadecimal(&digest.finalize()))
}

fn add_file(digest: &mut Sha256, path: &Path) -> Result<()> {
    digest.update(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
    Ok(())
}
