//! What the agent logs is up to the environment.

use std::process::Command;

/// What an agent says on standard error that cannot have its folder.
fn said(rust_log: Option<&str>) -> String {
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_flotilla-agent"));
    agent
        .args([
            "init",
            "--operator",
            "unix:/nowhere",
            "--instance",
            "edge-0",
            "--prefix",
        ])
        .arg(file.path().join("below-a-file"))
        .env_remove("RUST_LOG");
    if let Some(rust_log) = rust_log {
        agent.env("RUST_LOG", rust_log);
    }
    let output = agent.output().expect("the agent can be started");
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_log_is_as_loud_as_rust_log_says() {
    for loud in [None, Some("error"), Some("off,flotilla_agent=error")] {
        assert!(said(loud).contains("below-a-file"), "{loud:?} says nothing");
    }
    for silent in ["off", "error,flotilla_agent=off"] {
        assert_eq!(said(Some(silent)), "", "{silent} says something");
    }
}
