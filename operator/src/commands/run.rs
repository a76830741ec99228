//! Gateways for a folder, on this machine.

use std::{
    env,
    fs::{self, DirBuilder, File, TryLockError},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use futures::FutureExt as _;
use operator_core::options::{ListenOn, Options};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::stop_on_signal;
use crate::{
    admin::Admin,
    args::Run,
    controller::{Controller, Publications},
    digest::digest,
    fleet::{self, Tokens},
    gaps::Gaps,
    infrastructure::{Processes, Settings, decline_pickers, may_bind_privileged_ports},
    metrics::Metrics,
    observations::Observations,
    parts::Parts,
    source::{ApiServer, Folder, Ledger, Problem, follow},
    status,
};

/// What is added to ports below 1024 where they cannot be bound.
const PRIVILEGED_PORT_SHIFT: u16 = 10_000;

/// What is said of `EndpointPicker`s here.
const NO_PICKERS: &str = "Endpoint pickers are run in a cluster only; here, start one yourself, with a Service of the same \
     name and an EndpointSlice that has its address";

/// Runs gateways until SIGINT or SIGTERM.
pub(super) fn run(args: Run) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(serve(args))
}

/// Wires the parts together, in the order of `lib.rs`.
async fn serve(args: Run) -> anyhow::Result<()> {
    let Run {
        manifests,
        state,
        admin,
        nginx,
        addresses,
    } = args;
    let stop = stop_on_signal()?;
    let mut parts = Parts::new(stop.clone());
    let folder = Folder::open(&manifests)?;
    let state = state_folder(state, &manifests)?;
    let _only_one = lock(&state)?;
    let nginx = find_nginx(&nginx)?;
    let metrics = Arc::new(Metrics::default());
    let changed = Arc::new(Notify::new());
    let observations = Observations::new(changed.clone());
    let publications = Publications::default();

    // Source. It is read before anything is published: objects that are not there yet are not objects that are gone.
    let ledger = state.join("objects.json");
    let ledger = Ledger::open(&ledger).with_context(|| format!("cannot read {}", ledger.display()))?;
    let mut api_server = ApiServer::new(ledger);
    let problems = api_server.read(&folder);
    log_problems(&[], &problems, &metrics);
    let stores = api_server.stores();
    let api_server = Arc::new(Mutex::new(api_server));
    let follower = follow(folder, api_server.clone(), {
        let (changed, metrics, known) = (changed.clone(), metrics.clone(), Mutex::new(problems));
        move |problems| {
            let mut known = known.lock();
            log_problems(&known, problems, &metrics);
            problems.clone_into(&mut known);
            changed.notify_one();
        }
    });
    parts.run("follower of the folder", follower.ended());

    // Fleet and infrastructure.
    let socket = state.join("fleet.sock");
    let tokens = Tokens::default();
    let server = fleet::Server::new(
        tokens.clone(),
        publications.generations.clone(),
        observations.clone(),
        metrics.clone(),
        stop.clone(),
    );
    let listener = fleet::listen(&socket)?;
    parts.run_to_end("fleet", async { Ok(fleet::serve(server, listener).await?) });
    let privileged_port_shift = privileged_port_shift();
    let settings = Settings {
        gateways: state.join("gateways"),
        addresses,
        privileged_port_shift,
        agent: agent()?,
        nginx,
        socket,
    };
    let processes = Processes::new(settings, tokens, observations.clone(), metrics.clone())?;
    let processes = processes.run(publications.infrastructure.subscribe(), stop.clone());
    parts.run_to_end("gateways", processes.map(Ok));
    let declining = decline_pickers(publications.pickers.subscribe(), observations.clone(), NO_PICKERS);
    parts.run("pickers", declining);

    // Statuses and what is said of it all.
    let statuses = publications.statuses.subscribe();
    parts.run("statuses", status::write(statuses, api_server, metrics.clone()));
    if let Some(address) = admin {
        let admin = Admin {
            stores: stores.clone(),
            observations: observations.clone(),
            publications: publications.clone(),
            gaps: Gaps::default(),
            controller_name: Options::CONTROLLER_NAME.to_owned(),
            waits_for_gateways: true,
            metrics: metrics.clone(),
        };
        admin.serve(&mut parts, address).await?;
    }

    // The loop.
    changed.notify_one();
    let options = Options {
        listen: ListenOn::Observed,
        privileged_port_shift,
        ..Options::default()
    };
    let controller = Controller {
        stores,
        on_demand: None,
        observations,
        options,
        changed,
        publications,
        metrics,
    };
    tracing::info!(manifests = %manifests.display(), state = %state.display(), admin = ?admin, "running");
    parts.run("loop", controller.run());
    // With an error gateways go on: they are for the next operator to take over.
    parts.last().await?;
    tracing::info!("stopping gateways");
    parts.ended().await
}

/// The folder for state, made if it is missing, as an absolute path.
fn state_folder(chosen: Option<PathBuf>, manifests: &Path) -> anyhow::Result<PathBuf> {
    let state = match chosen {
        Some(state) => state,
        None => default_state(manifests)?,
    };
    let created = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&state)
        .and_then(|()| state.canonicalize());
    created.with_context(|| format!("cannot create {}; choose another --state", state.display()))
}

/// Below `$XDG_STATE_HOME`, one for each folder of manifests.
fn default_state(manifests: &Path) -> anyhow::Result<PathBuf> {
    let variable = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let home = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")));
    let home = home.context("neither $XDG_STATE_HOME nor $HOME says where state goes; use --state")?;
    let manifests = std::path::absolute(manifests).context("cannot tell where the manifests are")?;
    Ok(home
        .join("flotilla")
        .join(digest(manifests.as_os_str().as_encoded_bytes())))
}

/// Keeps other operators out of the state folder as long as the returned file is open.
fn lock(state: &Path) -> anyhow::Result<File> {
    let path = state.join("flotilla.lock");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "another flotilla uses {}; stop it, or choose another --state",
                state.display()
            )
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// NGINX's binary as a path; a bare name is looked up as a shell would.
fn find_nginx(nginx: &Path) -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let candidates = if nginx.components().count() > 1 {
        vec![nginx.to_owned()]
    } else {
        env::split_paths(&path).map(|folder| folder.join(nginx)).collect()
    };
    let found = candidates.into_iter().find(|candidate| candidate.is_file());
    let found = found.with_context(|| {
        format!(
            "there is no {}; name NGINX with --nginx or $NGINX",
            nginx.display()
        )
    })?;
    found
        .canonicalize()
        .with_context(|| format!("cannot read {}", found.display()))
}

/// The agent's binary, beside ours.
fn agent() -> anyhow::Result<PathBuf> {
    let agent = env::current_exe()
        .context("cannot tell where this program is")?
        .with_file_name("flotilla-agent");
    match fs::metadata(&agent) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!(
                "there is no {}; flotilla-agent has to be installed beside flotilla",
                agent.display()
            )
        }
        _ => Ok(agent),
    }
}

fn privileged_port_shift() -> u16 {
    if may_bind_privileged_ports() {
        return 0;
    }
    tracing::info!(
        "this user may not listen on ports below 1024; they are served {PRIVILEGED_PORT_SHIFT} higher"
    );
    PRIVILEGED_PORT_SHIFT
}

/// Logs the problems that are new.
fn log_problems(known: &[Problem], problems: &[Problem], metrics: &Metrics) {
    for problem in problems.iter().filter(|problem| !known.contains(problem)) {
        match problem.severity {
            crate::source::Severity::Error => tracing::warn!(at = %problem.position, "{}", problem.message),
            crate::source::Severity::Note => tracing::debug!(at = %problem.position, "{}", problem.message),
        }
    }
    if problems.is_empty() && !known.is_empty() {
        tracing::info!("all files are well");
    }
    metrics
        .file_errors
        .set(i64::try_from(problems.len()).unwrap_or(i64::MAX));
}
