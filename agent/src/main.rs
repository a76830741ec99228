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

/// Keeps blocks of a size together. What a stream has for as long as it lasts is mostly buffers of hyper's of which little
/// is ever used; among those that every request has for a moment, they would be memory that was used before.
///
/// Without huge pages, of which each is 2 MiB of memory as soon as a byte of it is used.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
