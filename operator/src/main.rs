//! See `flotilla --help`.

use std::process::ExitCode;

use clap::Parser as _;
use operator::{args::Args, commands::execute};

fn main() -> ExitCode {
    match execute(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("flotilla: {error:#}");
            ExitCode::from(2)
        }
    }
}
