//! Files that the operator names, written so that no reader ever sees half of one.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Component, Path, PathBuf},
};

/// The content of every file the agent writes may be secret.
const MODE: u32 = 0o600;

/// Why a file is not there as it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is not a relative path of plain names")]
    Path(String),
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot remove {path}")]
    Remove { path: PathBuf, source: io::Error },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
}

/// A path that stays below the folder it is joined to: one or more plain names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelativePath<'text>(&'text Path);

impl<'text> RelativePath<'text> {
    /// The path in a text; an error where it is empty, absolute, or has `.`, `..` or NUL in it.
    pub fn new(text: &'text str) -> Result<Self, Error> {
        let path = Path::new(text);
        let plain = path
            .components()
            .all(|component| matches!(component, Component::Normal(_)));
        if text.is_empty() || text.contains('\0') || !plain {
            return Err(Error::Path(text.to_owned()));
        }
        Ok(Self(path))
    }

    /// The path below a folder.
    #[must_use]
    pub fn below(self, folder: &Path) -> PathBuf {
        folder.join(self.0)
    }

    /// Its first name.
    #[must_use]
    pub fn first(self) -> &'text Path {
        self.0.iter().next().map_or(self.0, Path::new)
    }
}

/// Puts a file in place with its folders, at once and readable by its owner alone; untouched when it is equal already.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    if fs::read(path).is_ok_and(|existing| existing == content) {
        return Ok(());
    }
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut name = OsString::from(path);
        name.push(".new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(MODE)
            .open(&name)?;
        file.write_all(content)?;
        fs::rename(&name, path)
    };
    write().map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })
}

/// Removes a file or a folder with all below; fine when there is none.
pub fn remove(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Remove {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// All plain files below a folder, in order of path; symbolic links are not followed.
pub fn below(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = |source| Error::Read {
        path: folder.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let kind = entry.file_type().map_err(read)?;
        if kind.is_dir() {
            files.extend(below(&entry.path())?);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn paths_cannot_leave_their_folder() {
        for text in ["", "/etc/passwd", "../a", "a/../../b", "a/..", "./a", "a\0b"] {
            assert!(RelativePath::new(text).is_err(), "{text:?}");
        }
        let path = RelativePath::new("conf.d/http.conf").unwrap();
        assert_eq!(path.below(Path::new("/g")), Path::new("/g/conf.d/http.conf"));
        assert_eq!(path.first(), Path::new("conf.d"));
    }

    #[test]
    fn a_replaced_file_is_readable_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("certificates/a.pem");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(below(folder.path()).unwrap(), [path]);
    }

    #[test]
    fn an_equal_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        replace(&path, b"one").unwrap();
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        replace(&path, b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
    }

    #[test]
    fn removing_what_is_not_there_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        remove(&folder.path().join("a")).unwrap();
    }
}
