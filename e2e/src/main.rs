//! `cargo xtask`: the tasks of this repository.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use e2e::nginx::{self, Origin};

/// Tasks of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Print the path of an NGINX that Flotilla can use; gets one when this machine has none
    Nginx {
        /// Take it from here, whatever else is installed
        #[arg(long)]
        source: Option<Origin>,
    },
    /// Compile the NGINX of the crate nginx-src in a folder
    #[command(hide = true)]
    CompileNginx { folder: PathBuf },
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Nginx { source } => println!("{}", nginx::find(source)?.path.display()),
        Task::CompileNginx { folder } => nginx::compile(&folder)?,
    }
    Ok(())
}
