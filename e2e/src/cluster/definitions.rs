//! The custom resources of others, out of the Go modules that their types are in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    go::Go,
    workspace::{self, fresh},
};

/// A name for a set of definitions, the module that has them, and their folder there.
const SETS: [(&str, &str, &str); 2] = [
    (
        "gateway-api-v1.7.0-experimental",
        "sigs.k8s.io/gateway-api@v1.7.0",
        "config/crd/experimental",
    ),
    (
        "inference-extension-v1.6.0",
        "sigs.k8s.io/gateway-api-inference-extension@v1.6.0",
        "config/crd/bases",
    ),
];

/// Folders with the definitions, in the order in which to apply them; downloads what is not there.
pub(super) fn get() -> Result<Vec<PathBuf>> {
    let definitions = workspace::target().join("cluster/definitions");
    SETS.into_iter()
        .map(|(name, module, folder)| {
            let set = definitions.join(name);
            if !set.exists() {
                let module = Go::find()?.download(module)?;
                let partial = fresh(&definitions.join("partial"))?;
                copy(&module.join(folder), &partial)
                    .and_then(|()| fs::rename(partial, &set).context("cannot rename a folder"))
                    .with_context(|| format!("cannot make {}", set.display()))?;
            }
            Ok(set)
        })
        .collect()
}

/// Copies everything that `kubectl apply` can read: the file for kustomize is no manifest.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for file in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let file = file.context("cannot list definitions")?;
        if file.file_name() != "kustomization.yaml" {
            // Not fs::copy: the files of a module are read-only.
            let contents = fs::read(file.path()).context("cannot read a definition")?;
            fs::write(to.join(file.file_name()), contents).context("cannot write a definition")?;
        }
    }
    Ok(())
}
