//! The files of a folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

/// What was found in a folder.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Files that may hold objects, at any depth, beginning as the folder was given.
    pub files: BTreeSet<PathBuf>,
    /// Folders that could not be looked into, so that nothing is known of what is below.
    pub unreadable: BTreeMap<PathBuf, io::Error>,
}

/// Every YAML and JSON file of a folder, at any depth; a file is taken for a folder that holds it alone.
///
/// Symbolic links are followed. Names with a leading dot are left out, which covers editors' temporary files and the
/// folders that Kubernetes swaps in a mounted config map: the names beside them lead into the current one.
pub(crate) fn list(root: &Path) -> Listing {
    let mut listing = Listing::default();
    if root.is_file() {
        listing.files.insert(root.to_owned());
    } else {
        visit(root, &mut BTreeSet::new(), &mut listing);
    }
    listing
}

/// `above` are the real paths of the folders that lead here: a link to one of them would never end.
fn visit(folder: &Path, above: &mut BTreeSet<PathBuf>, listing: &mut Listing) {
    let look = || -> io::Result<_> {
        let names = fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        Ok((folder.canonicalize()?, names))
    };
    let (real, names) = match look() {
        Ok(seen) => seen,
        Err(error) => {
            listing.unreadable.insert(folder.to_owned(), error);
            return;
        }
    };
    if !above.insert(real.clone()) {
        return;
    }
    for name in names {
        let path = folder.join(&name);
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            visit(&path, above, listing);
        } else if holds_objects(&path) {
            listing.files.insert(path);
        }
    }
    above.remove(&real);
}

/// By extension, so that `notes.txt`, `shop.yaml~`, `.shop.yaml.swp` and Vim's `4913` are left alone.
fn holds_objects(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["yaml", "yml", "json"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(root: &Path) -> Vec<String> {
        let relative = |path: PathBuf| path.strip_prefix(root).unwrap().display().to_string();
        list(root).files.into_iter().map(relative).collect()
    }

    #[test]
    fn only_files_that_hold_objects_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("deep/er")).unwrap();
        fs::create_dir_all(folder.path().join(".git")).unwrap();
        let wanted = ["a.yaml", "b.yml", "deep/er/c.JSON"];
        for name in wanted.iter().chain(&[
            ".a.yaml.swp",
            ".#a.yaml",
            "a.yaml~",
            "4913",
            "notes.txt",
            ".git/x.yaml",
        ]) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(names(folder.path()), wanted);
    }

    #[test]
    fn mounted_config_maps_are_read_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("..2026_11_22")).unwrap();
        fs::write(folder.path().join("..2026_11_22/a.yaml"), "").unwrap();
        symlink("..2026_11_22", folder.path().join("..data")).unwrap();
        symlink("..data/a.yaml", folder.path().join("a.yaml")).unwrap();
        assert_eq!(names(folder.path()), ["a.yaml"]);
    }

    #[test]
    fn links_in_circles_end() {
        let folder = tempfile::tempdir().unwrap();
        symlink(folder.path(), folder.path().join("again")).unwrap();
        fs::write(folder.path().join("a.yaml"), "").unwrap();
        assert_eq!(names(folder.path()), ["a.yaml"]);
    }
}
