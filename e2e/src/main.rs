//! `cargo xtask`: the tasks of this repository.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use e2e::{
    cluster, conformance, image,
    nginx::{self, Origin},
    run, tiers, workspace,
};

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
    /// Serve a folder of manifests on this machine until Ctrl-C, with backends, and print what to try
    Run {
        /// Any folder of Kubernetes manifests; without one, examples/shop
        folder: Option<PathBuf>,
        /// Where NGINX runs and logs; without one, target/run
        #[arg(long)]
        state: Option<PathBuf>,
    },
    /// Run a Kubernetes cluster on this machine for tests
    #[command(subcommand)]
    Cluster(cluster::Task),
    /// Make the product's container images, and load them into the cluster if it is up
    Image(image::Options),
    /// Run upstream's conformance suites, of the Gateway API and of inference, against the cluster
    Conformance(conformance::Options),
    /// Run every check and test of this checkout
    Test {
        /// Fail when a tier cannot run here, rather than skip it
        #[arg(long)]
        require_all: bool,
        /// Run those alone whose names begin with one of these, such as `cluster`
        tiers: Vec<String>,
    },
    /// Compile the NGINX of the crate nginx-src in a folder
    #[command(hide = true)]
    CompileNginx { folder: PathBuf },
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    match Arguments::parse().task {
        Task::Nginx { source } => println!("{}", nginx::find(source)?.path.display()),
        Task::Run { folder, state } => {
            let folder = folder.unwrap_or_else(|| workspace::root().join("examples/shop"));
            let state = state.unwrap_or_else(|| workspace::target().join("run"));
            run::run(&folder, &state).await?;
        }
        Task::Cluster(task) => return cluster::perform(&task),
        Task::Conformance(options) => return conformance::perform(&options),
        Task::Image(options) => image::make(options)?,
        Task::Test { require_all, tiers } => return tiers::test(require_all, &tiers),
        Task::CompileNginx { folder } => nginx::compile(&folder)?,
    }
    Ok(ExitCode::SUCCESS)
}
