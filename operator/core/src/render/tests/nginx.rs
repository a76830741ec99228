//! What a real NGINX says to what is printed, where `$NGINX` names one.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use tempfile::TempDir;

use super::{
    everything::{Words, config},
    render, words,
};
use crate::generation::Files;

pub(super) fn nginx() -> Option<PathBuf> {
    let nginx = env::var_os("NGINX").map(PathBuf::from);
    if nginx.is_none() {
        // Not with a macro, whose output a passing test keeps to itself.
        let skipped = b"SKIPPED, as $NGINX does not name an NGINX: cargo xtask nginx prints one\n";
        std::io::stderr()
            .write_all(skipped)
            .expect("standard error is open");
    }
    nginx
}

fn write(folder: &Path, files: &Files) {
    for (name, content) in &files.files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("files are in the folder")).expect("the folder can be made");
        fs::write(path, content).expect("the file can be written");
    }
}

fn assert_accepted(nginx: &Path, words: &Words) {
    let folder = TempDir::new().expect("a temporary folder");
    write(folder.path(), &render(&config(words, None)));
    let mut command = Command::new(nginx);
    command
        .args(["-t", "-q", "-e", "stderr", "-c", "nginx.conf", "-p"])
        .arg(folder.path());
    let output = command.output().expect("NGINX runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}\n{message}");
}

#[test]
fn nginx_accepts_all_there_is() {
    if let Some(nginx) = nginx() {
        assert_accepted(&nginx, &Words::default());
    }
}

#[test]
fn nginx_accepts_any_words() {
    if let Some(nginx) = nginx() {
        let mut runner = TestRunner::default();
        for _ in 0..50 {
            let words = words()
                .new_tree(&mut runner)
                .expect("words can be made")
                .current();
            assert_accepted(&nginx, &words);
        }
    }
}
