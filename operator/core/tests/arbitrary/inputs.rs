//! Documents to start from.

use std::{fs, path::Path};

use serde_json::Value;

/// The documents of every golden case, and small and large objects of every kind as a case of their own.
///
/// `package` is the folder of operator-core.
pub(crate) fn inputs(package: &Path) -> Vec<Vec<Value>> {
    let mut files = vec![package.join("src/api/tests/examples.yaml")];
    let mut folders = vec![package.join("tests/golden")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the goldens are a folder") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("in.yaml") {
                files.push(path);
            }
        }
    }
    files.sort();
    files.iter().map(|file| documents(file)).collect()
}

fn documents(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).expect("the file can be read");
    serde_saphyr::from_multiple(&text).expect("the file is YAML")
}
