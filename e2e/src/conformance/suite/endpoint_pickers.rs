//! The inference extension's base manifests with pickers that the operator runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::inference::full_picker::BY_HEADER;

/// How names of pickers' Services end in the suite; those of their Deployments do so without the last word.
const SERVICE: &str = "-endpoint-picker-svc";
const DEPLOYMENT: &str = "-endpoint-picker";

/// Writes the base manifests to a folder, with an `EndpointPicker` in place of each picker's Deployment and Service.
pub(super) fn base(suite: &Path, folder: &Path) -> Result<PathBuf> {
    let path = suite.join("resources/base.yaml");
    let manifests = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (replaced, count) = replaced(&manifests);
    ensure!(count > 0, "{} has no picker", path.display());
    let base = folder.join("base.yaml");
    fs::write(&base, replaced).with_context(|| format!("cannot write {}", base.display()))?;
    Ok(base)
}

/// The manifests, and how many `EndpointPicker`s they have.
fn replaced(manifests: &str) -> (String, usize) {
    let mut count = 0;
    let documents = manifests.split("\n---\n").filter_map(|document| {
        let field = |name: &str| {
            document
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_default()
                .trim()
        };
        let (kind, name, namespace) = (field("kind:"), field("  name:"), field("  namespace:"));
        match kind {
            "Deployment" if name.ends_with(DEPLOYMENT) => None,
            "Service" if name.ends_with(SERVICE) => {
                count += 1;
                Some(endpoint_picker(namespace, name))
            }
            _ => Some(document.to_owned()),
        }
    });
    let documents: Vec<String> = documents.collect();
    (documents.join("\n---\n"), count)
}

/// One that obeys the header of the suite's requests, and leaves a small node room for the others.
fn endpoint_picker(namespace: &str, name: &str) -> String {
    let configuration = BY_HEADER.replace('\n', "\n    ");
    format!(
        "apiVersion: flotilla.dev/v1alpha1\nkind: EndpointPicker\nmetadata:\n  name: {name}\n  namespace: \
         {namespace}\nspec:\n  resources: {{ requests: {{ cpu: 10m, memory: 32Mi }} }}\n  configuration:\n    \
         {configuration}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picker_is_one_object() {
        let manifests = "kind: Service\nmetadata:\n  name: primary-endpoint-picker-svc\n  namespace: ai\n---\n\
                         kind: Deployment\nmetadata:\n  name: primary-endpoint-picker\n---\n\
                         kind: Deployment\nmetadata:\n  name: server\n";
        let (replaced, count) = replaced(manifests);
        assert_eq!(count, 1);
        let documents: Vec<&str> = replaced.split("\n---\n").collect();
        assert!(documents[0].contains(
            "kind: EndpointPicker\nmetadata:\n  name: primary-endpoint-picker-svc\n  namespace: ai"
        ));
        assert!(documents[0].contains("\n    - type: header-based-testing-filter\n"));
        assert!(documents[1].ends_with("name: server\n"));
        assert_eq!(documents.len(), 2);
    }
}
