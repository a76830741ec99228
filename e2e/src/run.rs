//! `cargo xtask run`: a folder of manifests, served on this machine until Ctrl-C.

mod backends;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use self::backends::Backends;
use crate::{
    client::{Request, Target},
    loopback::Loopback,
    nginx,
    process::{Process, adopt_orphans, end, gateway_processes},
    standalone::product,
    suggestions::suggestions,
};

/// How long the operator may take to end its gateways.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the objects are looked at for endpoints and gateways that are new.
const PERIOD: Duration = Duration::from_millis(500);

/// After how long without a programmed gateway it is said that this is taking long.
const SLOW: Duration = Duration::from_secs(10);

/// Serves the manifests of a folder with the product as it is in this checkout, which runs and logs in the folder
/// `state`.
pub async fn run(folder: &Path, state: &Path) -> Result<()> {
    if !folder.is_dir() {
        bail!("{} is no folder; name one with manifests", folder.display());
    }
    eprintln!("building flotilla and flotilla-agent");
    let binaries = product()?;
    let nginx = nginx::find(None)?;
    eprintln!("using NGINX {} ({})", nginx.version, nginx.path.display());

    let loopback = Loopback::lease()?;
    let admin = loopback.socket(250, 9090);
    fs::create_dir_all(state).with_context(|| format!("cannot create {}", state.display()))?;
    let mut command = Command::new(&binaries.flotilla);
    command
        .arg("run")
        .arg("--manifests")
        .arg(folder)
        .arg("--state")
        .arg(state);
    command
        .arg("--nginx")
        .arg(&nginx.path)
        .args(["--addresses", &loopback.to_string()]);
    command.args(["--admin", &admin.to_string()]).stdin(Stdio::null());
    adopt_orphans();
    let mut operator = command.spawn().context("cannot start flotilla")?;

    let outcome = serve(&mut operator, admin).await;
    stop(&mut operator).await?;
    end(&gateway_processes(state));
    outcome
}

/// Keeps backends at the endpoints and says what to try, until it is told to stop or the operator ends.
async fn serve(operator: &mut Child, admin: SocketAddr) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let follow = follow(admin);
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        status = operator.wait() => bail!("flotilla ended by itself: {}", status?),
        never = follow => never,
    }
}

async fn follow(admin: SocketAddr) -> Result<()> {
    let mut backends = Backends::default();
    let mut said = String::new();
    let started = Instant::now();
    let mut patient = true;
    loop {
        // An operator that does not answer yet, or that is being debugged, is asked again.
        if let Ok(objects) = objects(admin).await {
            backends.follow(&objects).await;
            let lines = suggestions(&objects);
            if !lines.is_empty() && lines != said {
                eprintln!(
                    "\nTry (objects and statuses: curl http://{admin}/objects; Ctrl-C ends everything)\n{lines}"
                );
                said = lines;
            }
        }
        if patient && said.is_empty() && started.elapsed() > SLOW {
            eprintln!("no gateway serves yet; curl http://{admin}/objects shows why");
            patient = false;
        }
        sleep(PERIOD).await;
    }
}

/// The objects that the operator knows, with their statuses.
async fn objects(admin: SocketAddr) -> Result<Vec<Value>> {
    let answer = Target::http(admin).send(Request::get("/objects")).await?;
    let mut list: Value = serde_json::from_slice(&answer.body)?;
    Ok(serde_json::from_value(list["items"].take())?)
}

async fn stop(operator: &mut Child) -> Result<()> {
    if let Some(process) = operator.id().and_then(Process::with_id) {
        process.signal(Signal::TERM);
    }
    if tokio::time::timeout(PATIENCE, operator.wait()).await.is_err() {
        eprintln!("flotilla does not end by itself; killing it");
        operator.kill().await.context("cannot kill flotilla")?;
    }
    Ok(())
}
