//! What the content of a file says.

use std::{path::PathBuf, sync::Arc};

use super::{
    documents::{Document, Malformed, documents},
    manifest::{Manifest, Refusal},
    problem::{Position, Problem, Severity},
};

/// The objects of a file, and what is wrong with it.
pub(crate) struct Content {
    file: Arc<PathBuf>,
    /// With the lines they start at.
    pub manifests: Vec<(Manifest, Position)>,
    pub problems: Vec<Problem>,
    /// Whether some of it is no object, so that an earlier one that is missed now may well be meant by it.
    pub keeps_earlier: bool,
}

impl Content {
    /// Reads the content of the file at a path.
    pub(crate) fn read(path: PathBuf, content: &[u8]) -> Self {
        let mut read = Self {
            file: Arc::new(path),
            manifests: Vec::new(),
            problems: Vec::new(),
            keeps_earlier: false,
        };
        match str::from_utf8(content) {
            Ok(text) => documents(text)
                .into_iter()
                .for_each(|document| read.take(document)),
            Err(error) => {
                let lines = content[..error.valid_up_to()].split(|byte| *byte == b'\n');
                read.no_yaml(lines.count(), "the file is not UTF-8 text");
            }
        }
        read
    }

    fn take(&mut self, Document { line, content }: Document) {
        let content = match content {
            Ok(content) => content,
            Err(Malformed { line, message }) => return self.no_yaml(line, &message),
        };
        match Manifest::read(content) {
            Ok(Some(manifest)) => {
                for field in &manifest.unknown {
                    let id = &manifest.id;
                    let message = format!("{id}: {field} is not a field of its kind; it has no effect");
                    self.note(line, Severity::Error, message);
                }
                self.manifests.push((manifest, self.position(line)));
            }
            Ok(None) => {}
            Err(Refusal {
                severity,
                keeps_earlier,
                message,
            }) => {
                self.keeps_earlier |= keeps_earlier;
                self.note(line, severity, message);
            }
        }
    }

    fn no_yaml(&mut self, line: usize, message: &str) {
        self.keeps_earlier = true;
        self.note(line, Severity::Error, format!("no YAML: {message}"));
    }

    fn note(&mut self, line: usize, severity: Severity, message: String) {
        self.problems.push(Problem {
            position: self.position(line),
            severity,
            message,
        });
    }

    fn position(&self, line: usize) -> Position {
        Position {
            file: self.file.clone(),
            line,
        }
    }
}
