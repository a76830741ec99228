//! Other programs, run to their end.

use std::{
    io,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

/// Runs a command to its end; what it writes goes to standard error.
pub fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let status = command.stdin(Stdio::null()).stdout(io::stderr()).status();
    let status = status.with_context(|| format!("cannot start {program}"))?;
    ensure!(status.success(), "{program} failed: {status}");
    Ok(())
}

/// What a command wrote, on either stream; fails with it when the command fails.
pub fn output(command: &mut Command) -> Result<String> {
    let [result, remarks] = streams(command)?;
    Ok(result + &remarks)
}

/// What a command wrote to standard output; fails with all that it wrote when the command fails.
pub fn result(command: &mut Command) -> Result<String> {
    let [result, _remarks] = streams(command)?;
    Ok(result)
}

/// What a command wrote to standard output and to standard error.
fn streams(command: &mut Command) -> Result<[String; 2]> {
    let program = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    let streams = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    if !output.status.success() {
        bail!("{program} failed: {}", streams.concat().trim());
    }
    Ok(streams)
}
