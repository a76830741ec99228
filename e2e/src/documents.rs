//! Documents lead to where they say: to files and headings that exist.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context, Result};
use regex::Regex;

use crate::{command::result, workspace};

/// A document without its code, which may look like links and headings.
struct Document(String);

impl Document {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut is_code = false;
        let prose = text.lines().filter(|line| {
            let is_fence = line.trim_start().starts_with("```");
            is_code ^= is_fence;
            !is_code && !is_fence
        });
        Ok(Self(prose.collect::<Vec<_>>().join("\n")))
    }

    /// Where its links lead, but for those that leave this repository.
    fn links(&self) -> impl Iterator<Item = &str> {
        let link = Regex::new(r"\]\(([^()\s]+)\)").expect("the expression is right");
        let targets: Vec<&str> = link
            .captures_iter(&self.0)
            .filter_map(|found| Some(found.get(1)?.as_str()))
            .collect();
        targets.into_iter().filter(|target| !target.contains("://"))
    }

    /// Its headings as GitHub calls them in links.
    fn anchors(&self) -> Vec<String> {
        let headings = self.0.lines().filter(|line| line.starts_with('#'));
        let anchor = |heading: &str| {
            let text = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = text
                .chars()
                .filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'));
            kept.collect::<String>().replace(' ', "-")
        };
        headings.map(anchor).collect()
    }
}

#[test]
fn every_link_of_every_document_leads_somewhere() -> Result<()> {
    let root = workspace::root();
    let listed = result(Command::new("git").current_dir(root).args(["ls-files", "*.md"]))?;
    let documents = listed
        .lines()
        .map(|path| Ok((root.join(path).canonicalize()?, Document::read(&root.join(path))?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    let mut dead = Vec::new();
    for (path, document) in &documents {
        let folder = path.parent().context("a file is in a folder")?;
        for link in document.links() {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                Ok(path.clone())
            } else {
                folder.join(file).canonicalize()
            };
            let leads_somewhere = target.is_ok_and(|target| {
                let is_heading = |document: &Document| document.anchors().iter().any(|known| known == anchor);
                anchor.is_empty() || documents.get(&target).is_none_or(is_heading)
            });
            if !leads_somewhere {
                dead.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(documents.len() > 5, "{:?}", documents.keys());
    assert_eq!(dead, Vec::<String>::new());
    Ok(())
}
