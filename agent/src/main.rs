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

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .with_target(false)
        .init();
    let result = match Args::parse().role {
        Role::Init(options) => init::run(&options),
        Role::Supervise(options) => supervisor::run(&options).map(|()| ExitCode::SUCCESS),
        Role::Proxy(options) => proxy::run(&options).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::FAILURE
    })
}
