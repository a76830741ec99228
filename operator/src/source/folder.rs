//! A folder of YAML files, and what is wrong with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    content::Content,
    files::{Listing, list},
    kinds::ObjectId,
    manifest::Manifest,
    problem::{Position, Problem, Severity},
};

/// What a folder holds, as far as it could be read.
pub struct Folder {
    root: PathBuf,
    files: BTreeMap<PathBuf, File>,
    /// Problems of folders.
    unreadable: Vec<Problem>,
}

/// Why a folder cannot be one of manifests.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, or may not be looked into.
    #[error("cannot read {}; name a folder of Kubernetes objects in YAML", path.display())]
    Read {
        /// As it was given.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// One file as it was read last.
#[derive(Default)]
struct File {
    /// `None` if it could not be read.
    content: Option<Vec<u8>>,
    /// With the lines they start at.
    manifests: Vec<(Manifest, Position)>,
    problems: Vec<Problem>,
}

/// The objects of a folder: one of each name, each Namespace that one is in, and what is wrong.
pub(crate) struct Objects {
    pub manifests: Vec<Manifest>,
    pub problems: Vec<Problem>,
}

impl Folder {
    /// Reads a folder, or a single file.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let readable = if root.is_file() {
            Ok(())
        } else {
            fs::read_dir(root).map(drop)
        };
        readable.map_err(|source| Error::Read {
            path: root.to_owned(),
            source,
        })?;
        let mut folder = Self {
            root: root.to_owned(),
            files: BTreeMap::new(),
            unreadable: Vec::new(),
        };
        folder.read();
        Ok(folder)
    }

    /// Where it is, as it was given.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads what has changed. What cannot be read stays as it was read last, and is a problem.
    pub fn read(&mut self) {
        let Listing { files, unreadable } = list(&self.root);
        self.files
            .retain(|path, _| files.contains(path) || unreadable.keys().any(|above| path.starts_with(above)));
        for path in files {
            match fs::read(&path) {
                Ok(content) => {
                    let file = self.files.entry(path.clone()).or_default();
                    if file.content.as_ref() != Some(&content) {
                        file.take(path, content);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => drop(self.files.remove(&path)),
                Err(error) => {
                    let file = self.files.entry(path.clone()).or_default();
                    file.content = None;
                    file.problems = vec![unreadable_at(path, &error)];
                }
            }
        }
        self.unreadable = unreadable
            .into_iter()
            .map(|(path, error)| unreadable_at(path, &error))
            .collect();
    }

    /// Every object once, and all problems in order of their place.
    ///
    /// Of objects with one name the first in order of path counts. A Namespace that nobody wrote down exists as soon as
    /// something is in it, for otherwise selectors of namespaces would find nothing.
    #[must_use]
    pub(crate) fn objects(&self) -> Objects {
        let mut first = BTreeMap::<&ObjectId, (&Manifest, &Position)>::new();
        let mut problems = self.unreadable.clone();
        for file in self.files.values() {
            problems.extend(file.problems.iter().cloned());
            for (manifest, position) in &file.manifests {
                if let Some((_, earlier)) = first.get(&manifest.id) {
                    problems.push(Problem {
                        position: position.clone(),
                        severity: Severity::Error,
                        message: format!("{} is already in {earlier}; this one is left out", manifest.id),
                    });
                } else {
                    first.insert(&manifest.id, (manifest, position));
                }
            }
        }
        problems.sort();
        let namespaces = first.keys().map(|id| &id.key.namespace).collect::<BTreeSet<_>>();
        let implied = namespaces
            .into_iter()
            .filter(|name| !name.is_empty())
            .map(|name| Manifest::implied_namespace(name))
            .filter(|namespace| !first.contains_key(&namespace.id))
            .collect::<Vec<_>>();
        let manifests = first
            .values()
            .map(|(manifest, _)| (*manifest).clone())
            .chain(implied)
            .collect();
        Objects { manifests, problems }
    }

    /// Where each object stands; those that nobody wrote down stand nowhere.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<ObjectId, Position> {
        let mut positions = BTreeMap::new();
        for (manifest, position) in self.files.values().flat_map(|file| &file.manifests) {
            positions
                .entry(manifest.id.clone())
                .or_insert_with(|| position.clone());
        }
        positions
    }
}

impl File {
    /// Takes a new content in.
    ///
    /// If some of it is no object, one that was here before and is missed now may well be meant by it, and stays.
    fn take(&mut self, path: PathBuf, content: Vec<u8>) {
        let Content {
            mut manifests,
            problems,
            keeps_earlier,
            ..
        } = Content::read(path, &content);
        if keeps_earlier {
            let read: BTreeSet<_> = manifests
                .iter()
                .map(|(manifest, _)| manifest.id.clone())
                .collect();
            let earlier = self.manifests.drain(..);
            manifests.extend(earlier.filter(|(manifest, _)| !read.contains(&manifest.id)));
        }
        *self = Self {
            content: Some(content),
            manifests,
            problems,
        };
    }
}

fn unreadable_at(path: PathBuf, error: &io::Error) -> Problem {
    Problem {
        position: Position {
            file: Arc::new(path),
            line: 0,
        },
        severity: Severity::Error,
        message: format!("cannot be read, what it held before stays: {error}"),
    }
}
