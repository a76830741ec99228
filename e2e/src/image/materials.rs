//! What is in an image: its bill of materials, as `CycloneDX`.
//!
//! See <https://cyclonedx.org/docs/1.6/json/>. Like the image it says no date, so that the same content gives the same
//! bytes.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::workspace;

/// One thing that is in an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Material {
    name: String,
    version: String,
    /// An SPDX expression; none where nobody said.
    license: Option<String>,
    /// Kind of the package, as in package URLs.
    kind: &'static str,
}

impl Material {
    /// A program that is in an image as it came.
    pub(super) fn program(name: &str, version: &str, license: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            license: Some(license.to_owned()),
            kind: "generic",
        }
    }

    /// `tokio v1.48.0|MIT`, with a remark behind the version for a crate of this workspace.
    fn from_line(line: &str) -> Option<Self> {
        // Where a crate stands again, its own tree is left out and that is said.
        let line = line.strip_suffix(" (*)").unwrap_or(line);
        let (package, license) = line.split_once('|')?;
        let mut words = package.split(' ');
        Some(Self {
            name: words.next()?.to_owned(),
            version: words.next()?.strip_prefix('v')?.to_owned(),
            license: Some(license.replace('/', " OR ")).filter(|license| !license.is_empty()),
            kind: "cargo",
        })
    }

    fn component(&self) -> Value {
        let Self {
            name,
            version,
            license,
            kind,
        } = self;
        let mut component = json!({
            "type": if *kind == "cargo" { "library" } else { "application" },
            "name": name,
            "version": version,
            "purl": format!("pkg:{kind}/{name}@{version}"),
        });
        if let Some(license) = license {
            component["licenses"] = json!([{ "expression": license }]);
        }
        component
    }
}

/// The crates that are compiled into the binary of a package of this workspace, itself among them.
pub(super) fn crates_of(package: &str) -> Result<BTreeSet<Material>> {
    let mut tree = workspace::cargo();
    tree.args(["tree", "--locked", "--package", package, "--edges", "normal"]);
    tree.args(["--prefix", "none", "--format", "{p}|{l}"]);
    let output = tree.output().context("cannot run cargo tree")?;
    ensure!(
        output.status.success(),
        "cargo tree failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).context("cargo tree prints text")?;
    Ok(text.lines().filter_map(Material::from_line).collect())
}

/// Writes the bill of an image.
pub(super) fn write(reference: &str, materials: &BTreeSet<Material>, path: &Path) -> Result<()> {
    let bill = bill(reference, materials);
    fs::write(path, format!("{bill:#}\n")).with_context(|| format!("cannot write {}", path.display()))
}

fn bill(reference: &str, materials: &BTreeSet<Material>) -> Value {
    let components: Vec<Value> = materials.iter().map(Material::component).collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": { "type": "container", "name": reference } },
        "components": components,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_named_with_version_and_licence() {
        let material = Material::from_line("tokio v1.48.0|MIT/Apache-2.0").unwrap();
        assert_eq!(
            Material::from_line("tokio v1.48.0|MIT/Apache-2.0 (*)"),
            Some(material.clone())
        );
        assert_eq!(
            material.component(),
            json!({
                "type": "library",
                "name": "tokio",
                "version": "1.48.0",
                "purl": "pkg:cargo/tokio@1.48.0",
                "licenses": [{ "expression": "MIT OR Apache-2.0" }],
            })
        );
        let ours = Material::from_line("proto v0.1.0 (/somewhere/proto)|").unwrap();
        assert_eq!((ours.version.as_str(), ours.license), ("0.1.0", None));
    }

    #[test]
    fn the_agent_is_made_of_its_crates() {
        let crates = crates_of("agent").unwrap();
        let names: BTreeSet<&str> = crates.iter().map(|material| material.name.as_str()).collect();
        assert!(names.contains("agent") && names.contains("hyper"), "{names:?}");
        assert!(!names.contains("tempfile"), "what tests need is not in the image");
    }
}
