//! The suites: which Go module has them, and what they need of the cluster.

mod endpoint_pickers;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{MODULE, echo};
use crate::{
    cluster::Cluster,
    command::output,
    go::Go,
    image::Image,
    inference::{
        full_picker::BY_HEADER,
        programs::{PICKER_IMAGE, Program},
    },
};

/// The Go module that pins the inference extension's suite.
const INFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/inference/conformance");

/// The full picker's own version of the inference extension.
const FULL_PICKER: &str = "sigs.k8s.io/gateway-api-inference-extension@v1.5.0";

/// What the full picker watches and the suite's Role does not grant: definitions, and leave to read their objects.
const WATCHED: [&str; 2] = ["inferenceobjectives", "inferencemodelrewrites"];

/// Lets every picker of the suite read what the full one reads.
const GRANT: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: flotilla-test-full-picker }
rules:
  - { apiGroups: [inference.networking.x-k8s.io], resources: ['*'], verbs: [get, list, watch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: flotilla-test-full-picker }
subjects:
  - { kind: Group, apiGroup: rbac.authorization.k8s.io, name: 'system:serviceaccounts:inference-conformance-app-backend' }
roleRef: { kind: ClusterRole, apiGroup: rbac.authorization.k8s.io, name: flotilla-test-full-picker }
";

/// Which of upstream's suites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Suite {
    /// The Gateway API's.
    Gateway,
    /// The inference extension's.
    Inference,
}

/// Who chooses endpoints in the inference extension's suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Picker {
    /// The small one that the suite's manifests name.
    Light,
    /// The full one, in the small one's place.
    Full,
    /// The full one, as the operator runs it for an `EndpointPicker`.
    Operator,
}

impl Suite {
    /// The folder of the Go module with its test binary.
    pub(super) fn module(self) -> &'static Path {
        Path::new(match self {
            Self::Gateway => MODULE,
            Self::Inference => INFERENCE,
        })
    }

    /// The profile that is claimed unless another is asked for.
    pub(super) fn profile(self) -> &'static str {
        match self {
            Self::Gateway => "GATEWAY-HTTP",
            Self::Inference => "Gateway",
        }
    }

    /// What selects the namespaces of a run that was interrupted.
    pub(super) fn leftovers(self) -> &'static str {
        match self {
            Self::Gateway => "gateway-conformance",
            Self::Inference => "inference-conformance",
        }
    }

    /// Flags of its own.
    pub(super) fn flags(self) -> &'static [&'static str] {
        match self {
            // Side by side, its tests have more Gateways than a small node has room for.
            Self::Gateway => &["--disable-parallel-tests"],
            // It is of an older Gateway API than the cluster's.
            Self::Inference => &["--allow-crds-mismatch"],
        }
    }

    /// What its report is called.
    pub(super) fn report(self, picker: Picker, profiles: &[String]) -> String {
        match (self, picker) {
            (Self::Gateway, _) => profiles.join("-").to_lowercase(),
            (Self::Inference, Picker::Light) => "inference".into(),
            (Self::Inference, Picker::Full) => "inference-full-picker".into(),
            (Self::Inference, Picker::Operator) => "inference-endpoint-picker".into(),
        }
    }

    /// Gives the cluster what pods of the suite run, by the names that its manifests have. Returns what else the suite is
    /// to be told.
    pub(super) fn prepare(
        self,
        go: &Go,
        picker: Picker,
        cluster: &Cluster,
        folder: &Path,
    ) -> Result<Vec<String>> {
        let (module, echo) = match self {
            Self::Gateway => ("sigs.k8s.io/gateway-api/conformance", echo(go)?),
            Self::Inference => (
                "sigs.k8s.io/gateway-api-inference-extension/conformance",
                Program::Echo.image()?,
            ),
        };
        let mut command = go.command(self.module());
        let module = output(command.args(["list", "-m", "-f", "{{.Dir}}", module]))?;
        let module = Path::new(module.trim());
        let names = images(module)?;
        let mut flags = Vec::new();
        let of = |suffix: &'static str| names.iter().filter(move |name| name.contains(suffix));
        let mut images: Vec<Image> = of("/echo-basic:")
            .map(|name| echo.clone().named(name.clone()))
            .collect();
        if self == Self::Inference {
            // In place of the small one that manifests name; the operator's has a name of its own.
            let picker = match picker {
                Picker::Light => Some(Program::LightPicker.image()?),
                Picker::Full => {
                    watch_all(go, cluster, folder)?;
                    Some(full_picker()?)
                }
                Picker::Operator => {
                    let base = endpoint_pickers::base(module, folder)?;
                    flags.push(format!("--base-manifests={}", base.display()));
                    images.push(Program::FullPicker.image()?.named(PICKER_IMAGE.to_owned()));
                    None
                }
            };
            if let Some(picker) = picker {
                images.extend(of("/lwepp:").map(|name| picker.clone().named(name.clone())));
            }
        }
        let archive = folder.join("image.tar");
        for image in images {
            image.write(&archive)?;
            cluster.load(&archive)?;
        }
        Ok(flags)
    }
}

/// Every image that manifests of a suite name.
fn images(suite: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for manifest in manifests(suite)? {
        let text =
            fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        names.extend(text.lines().filter_map(image).map(str::to_owned));
    }
    Ok(names)
}

/// The full picker such that it takes the small one's arguments, and obeys the header that the suite's requests have.
fn full_picker() -> Result<Image> {
    let arguments = [
        "--config-text",
        BY_HEADER,
        "--metrics-endpoint-auth=false",
        "--tracing=false",
    ];
    Ok(Program::FullPicker
        .image()?
        .arguments(&arguments)
        .variable("POD_NAME", "picker"))
}

/// Defines the kinds that the full picker watches, and lets it.
fn watch_all(go: &Go, cluster: &Cluster, folder: &Path) -> Result<()> {
    let definitions = go.download(FULL_PICKER)?.join("config/crd/bases");
    for plural in WATCHED {
        let file = format!("inference.networking.x-k8s.io_{plural}.yaml");
        cluster.apply(&definitions.join(file))?;
    }
    let grant = folder.join("grant.yaml");
    fs::write(&grant, GRANT).with_context(|| format!("cannot write {}", grant.display()))?;
    cluster.apply(&grant)
}

/// All YAML files below a folder.
fn manifests(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut manifests = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                manifests.push(path);
            }
        }
    }
    Ok(manifests)
}

/// The image in a line of a manifest, if it has one.
fn image(line: &str) -> Option<&str> {
    Some(line.trim_start_matches([' ', '-']).strip_prefix("image:")?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_in_manifests() {
        let name = "example.com/conformance/echo-basic:v1";
        assert_eq!(image(&format!("        image: {name}")), Some(name));
        assert_eq!(image(&format!("      - image: {name}")), Some(name));
        assert_eq!(image("        name: echo-basic"), None);
    }
}
