//! What the command line can be told to do, one module each.

mod check;
mod diff;
mod explain;
mod offline;
mod operator;
mod render;
mod run;
mod status;
mod strangers;

use std::{io::Write as _, process::ExitCode, time::Duration};

use anyhow::Context as _;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    args::{Args, Command},
    calls::impatient,
    telemetry,
};

/// How long a call of an API server may take, which itself gives up after a minute where it is not told otherwise.
///
/// See `--request-timeout` of <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>.
const PATIENCE: Duration = Duration::from_secs(70);

/// Does what the command line says.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    telemetry::start(args.log_format);
    let text = match args.command {
        Command::Run(args) => return run::run(args).map(|()| ExitCode::SUCCESS),
        Command::Operator(args) => return operator::operate(args).map(|()| ExitCode::SUCCESS),
        Command::Render { manifests, out } => {
            return render::render(&manifests, &out).map(|()| ExitCode::SUCCESS);
        }
        Command::Check { manifests } => {
            let problems = check::check(&manifests)?;
            print(&problems)?;
            return Ok(if problems.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Command::Explain {
            manifests,
            request,
            headers,
        } => explain::explain(&manifests, &request, &headers)?,
        Command::Diff { old, new } => diff::diff(&old, &new)?,
        Command::Status(args) => status::status(&args)?,
        Command::Crds => operator_core::api::CRDS.to_owned(),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints to standard output; a reader that has seen enough, such as `head`, is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// A client of the cluster that this is a pod of, or else of the one that `$KUBECONFIG` names.
async fn client_of_cluster() -> anyhow::Result<Client> {
    let client = Client::try_default().await;
    let client = client.context("cannot tell where the cluster is; set KUBECONFIG outside of one")?;
    Ok(impatient(&client, PATIENCE))
}

/// Cancelled by SIGINT and SIGTERM.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut signal = signal(kind).context("cannot listen for signals")?;
        let stop = stop.clone();
        tokio::spawn(async move {
            signal.recv().await;
            stop.cancel();
        });
    }
    Ok(stop)
}
