//! The binary: parses the command line and becomes the process it names.

use std::{
    io::{IsTerminal as _, stderr},
    process::ExitCode,
};

use agent::{
    args::{Args, Role},
    init, proxy, supervisor,
};
use clap::Parser as _;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = Args::parse();
    log();
    let result = match args.role {
        Role::Init(options) => init::run(&options),
        Role::Supervise(options) => supervisor::run(&options).map(|()| ExitCode::SUCCESS),
        Role::Proxy(options) => proxy::run(&options).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::FAILURE
    })
}

/// Logs to standard error what `RUST_LOG` asks for, as the operator does; `info` if it is silent.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .with_target(false)
        .init();
}
