use std::{fs, os::unix::fs::symlink};

use tempfile::TempDir;

use super::*;
use crate::{
    source::tests::{config_map, names},
    stores::Stores,
};

/// Follows the folder until the stores hold what is expected.
fn follow_until(root: &Path, edit: impl FnOnce(), expected: impl Fn(&Stores) -> bool) {
    let folder = Folder::open(root).unwrap();
    let api_server = Arc::new(Mutex::new(ApiServer::default()));
    let stores = api_server.lock().stores();
    let (sender, changes) = mpsc::channel();
    let _follower = follow(folder, api_server, move |_| sender.send(()).unwrap_or_default());
    changes
        .recv_timeout(Duration::from_secs(20))
        .expect("the folder is read at first");
    edit();
    while !expected(&stores) {
        changes
            .recv_timeout(Duration::from_secs(20))
            .expect("the edit is seen");
    }
}

/// A folder with two of these names, one with the ConfigMap `before` and one with `after`.
fn two_folders(names: [&str; 2]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (folder, name) in names.into_iter().zip(["before", "after"]) {
        let folder = directory.path().join(folder);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.yaml"), config_map(name, "1")).unwrap();
    }
    directory
}

fn has(name: &'static str) -> impl Fn(&Stores) -> bool {
    move |stores| names(&stores.snapshot().config_maps) == [name]
}

#[test]
fn a_file_that_is_renamed_over_another_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("a.yaml"), config_map("before", "1")).unwrap();
    let edit = || {
        fs::write(path(".a.yaml.new"), config_map("after", "1")).unwrap();
        fs::rename(path(".a.yaml.new"), path("a.yaml")).unwrap();
    };
    follow_until(directory.path(), edit, has("default/after"));
}

#[test]
fn a_folder_that_is_a_replaced_link_is_read_anew() {
    let directory = two_folders(["before", "after"]);
    let path = |name: &str| directory.path().join(name);
    symlink("before", path("current")).unwrap();
    let edit = || {
        symlink("after", path("new")).unwrap();
        fs::rename(path("new"), path("current")).unwrap();
    };
    follow_until(&path("current"), edit, has("default/after"));
}

#[test]
fn a_folder_that_another_takes_the_place_of_is_read_anew() {
    let directory = two_folders(["before", "after"]);
    let path = |name: &str| directory.path().join(name);
    let edit = || {
        fs::rename(path("before"), path("old")).unwrap();
        fs::rename(path("after"), path("before")).unwrap();
    };
    follow_until(&path("before"), edit, has("default/after"));
}

#[test]
fn a_mounted_config_map_that_is_swapped_is_read_anew() {
    let directory = two_folders(["..before", "..after"]);
    let path = |name: &str| directory.path().join(name);
    symlink("..before", path("..data")).unwrap();
    symlink("..data/a.yaml", path("a.yaml")).unwrap();
    let edit = || {
        symlink("..after", path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
    };
    follow_until(directory.path(), edit, has("default/after"));
}

#[test]
fn files_in_a_new_folder_and_removed_files_are_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("a.yaml"), config_map("before", "1")).unwrap();
    let edit = || {
        fs::create_dir(path("deep")).unwrap();
        fs::write(path("deep/b.yaml"), config_map("after", "1")).unwrap();
        fs::remove_file(path("a.yaml")).unwrap();
    };
    follow_until(directory.path(), edit, has("default/after"));
}
