//! The files that each gateway's NGINX would be given.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use operator_core::{generation::Generation, object::ObjectKey, outcome::Outcome};

use super::offline::Offline;

/// Writes a folder for each gateway.
pub(super) fn render(manifests: &Path, out: &Path) -> anyhow::Result<()> {
    let outcome = Offline::read_loudly(manifests)?.outcome();
    for (gateway, generation) in generations(&outcome) {
        let folder = out.join(&gateway.namespace).join(&gateway.name);
        let files = files(generation);
        replace(&folder, &files).with_context(|| format!("cannot write {}", folder.display()))?;
        eprintln!("{}: {} files", folder.display(), files.len());
    }
    if outcome.gateways.is_empty() {
        eprintln!(
            "no Gateway to render in {}; `flotilla check` may say why",
            manifests.display()
        );
    }
    Ok(())
}

/// The gateways that have something to serve.
pub(super) fn generations(outcome: &Outcome) -> impl Iterator<Item = (&ObjectKey, &Generation)> {
    let gateways = outcome.gateways.iter();
    gateways.filter_map(|(gateway, wanted)| Some((gateway, wanted.generation.as_deref()?)))
}

/// Contents by path, certificates and endpoints included.
fn files(generation: &Generation) -> BTreeMap<PathBuf, String> {
    let config = generation
        .config
        .files
        .iter()
        .map(|(path, content)| (PathBuf::from(path), content.clone()));
    let certificates = generation.data.certificates.iter();
    let certificates = certificates.map(|(path, pem)| (Path::new("certificates").join(path), pem.0.clone()));
    let endpoints = (PathBuf::from("endpoints.json"), endpoints(generation));
    config.chain(certificates).chain([endpoints]).collect()
}

/// The endpoints that the agent answers for, as JSON.
pub(super) fn endpoints(generation: &Generation) -> String {
    let text = serde_json::to_string_pretty(&generation.data.endpoints).expect("endpoints are plain data");
    text + "\n"
}

/// Writes a folder in place of one that we wrote before; a folder of somebody else's is left alone.
fn replace(folder: &Path, files: &BTreeMap<PathBuf, String>) -> anyhow::Result<()> {
    if folder.exists() {
        let ours = folder.join("nginx.conf").exists() && folder.join("endpoints.json").exists();
        let empty = fs::read_dir(folder)?.next().is_none();
        ensure!(
            ours || empty,
            "it holds other things; choose another --out, or remove it"
        );
        fs::remove_dir_all(folder)?;
    }
    for (path, content) in files {
        let path = folder.join(path);
        let parent = path.parent().context("every file is in a folder")?;
        fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        let mode = if path.extension().is_some_and(|extension| extension == "pem") {
            0o600
        } else {
            0o644
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)?;
        file.write_all(content.as_bytes())?;
    }
    Ok(())
}
