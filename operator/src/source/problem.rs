//! What is wrong with a file.

use std::{fmt, path::PathBuf, sync::Arc};

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Path of the file, beginning as the folder was given.
    pub file: Arc<PathBuf>,
    /// Line, from 1; 0 for the whole file.
    pub line: usize,
}

/// What somebody should know of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub position: Position,
    /// How bad.
    pub severity: Severity,
    /// What, and what to do.
    pub message: String,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something that was meant for us was left out.
    Error,
    /// Something that is for others was left out.
    Note,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line } = self;
        match line {
            0 => write!(formatter, "{}", file.display()),
            _ => write!(formatter, "{}:{line}", file.display()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.position, self.message)
    }
}
