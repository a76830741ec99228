//! `cargo xtask run examples/inference`, as `examples/README.md` tells people to use it.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    client::{Answer, Request, Target},
    inference::model_server::{MODEL, SERVED_BY},
    loopback::Loopback,
    process::{Process, end},
    standalone::eventually,
    workspace,
};
use futures::future::try_join_all;
use hyper::Method;
use parking_lot::Mutex;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    task::JoinSet,
    time::timeout,
};

/// The addresses that the example has, up to their last octet.
const ADDRESSES: &str = "127.0.20.";

const HOST: &str = "models.example";

/// A person's patience: the protocol is to be seen at work within a minute.
const MINUTE: Duration = Duration::from_mins(1);

/// Longer than a server without a queue takes for a word.
const SOON: Duration = Duration::from_secs(2);

/// The example as it runs, at addresses of the test's own.
struct Example {
    task: Child,
    folder: TempDir,
    /// The line that a person is told to try.
    line: String,
    edge: Target,
    /// `tide-0` and `tide-1`.
    servers: [SocketAddr; 2],
    _loopback: Loopback,
}

impl Example {
    /// Starts it, and waits for the line to try.
    async fn start() -> Result<Self> {
        let loopback = Loopback::lease()?;
        let folder = tempfile::tempdir()?;
        let manifests = folder.path().join("manifests");
        fs::create_dir(&manifests)?;
        let own = loopback.address(0).to_string();
        let own = own.strip_suffix('0').context("the last octet is 0")?;
        for entry in fs::read_dir(workspace::root().join("examples/inference"))? {
            let entry = entry?;
            let yaml = fs::read_to_string(entry.path())?;
            fs::write(manifests.join(entry.file_name()), yaml.replace(ADDRESSES, own))?;
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.arg("run").arg(&manifests);
        command.arg("--state").arg(folder.path().join("state"));
        let mut task = command.stderr(Stdio::piped()).spawn()?;
        let errors = task.stderr.take().context("standard error is piped")?;
        let mut lines = BufReader::new(errors).lines();
        // What comes before is the time of the compiler.
        while let Some(line) = lines.next_line().await?
            && !line.starts_with("using NGINX")
        {}
        let said = Arc::<Mutex<String>>::default();
        let told = Arc::clone(&said);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                told.lock().extend([&line, "\n"]);
            }
        });
        let line = eventually(async || {
            let said = said.lock();
            let line = said.lines().find(|line| line.trim_start().starts_with("curl "));
            line.map(|line| line.trim().to_owned())
                .with_context(|| format!("nothing to try:\n{said}"))
        })
        .await?;
        let (_, rest) = line
            .split_once(&format!("--resolve {HOST}:8080:"))
            .with_context(|| format!("no address in {line}"))?;
        let address = rest.split(' ').next().context("an address")?.parse()?;
        let servers = [1, 2].map(|host| loopback.socket(host, 8000));
        Ok(Self {
            task,
            folder,
            line,
            edge: Target::http(SocketAddr::new(address, 8080)),
            servers,
            _loopback: loopback,
        })
    }

    /// Replaces text in one of the manifests, as a person does with an editor.
    fn edit(&self, file: &str, old: &str, new: &str) -> Result<()> {
        let path = self.folder.path().join("manifests").join(file);
        let yaml = fs::read_to_string(&path)?;
        ensure!(yaml.contains(old), "{file} has no {old:?}");
        Ok(fs::write(&path, yaml.replace(old, new))?)
    }

    /// A completion of some words, and the name of the server that it is from.
    async fn completion(&self, words: usize) -> Result<(Answer, String)> {
        let answer = self.edge.send(completion(words, false).host(HOST)).await?;
        ensure!(answer.status.is_success(), "{answer}");
        let server = answer.header(SERVED_BY).to_owned();
        Ok((answer, server))
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        if let Some(task) = self.task.id().and_then(Process::with_id) {
            end(&task.with_descendants());
        }
    }
}

fn completion(words: usize, stream: bool) -> Request {
    let body = json!({ "model": MODEL, "stream": stream, "max_tokens": words });
    Request::new(Method::POST, "/v1/chat/completions").body(body.to_string())
}

/// What `curl` prints for a line, and what of it was there when the first word was.
async fn curl(line: &str) -> Result<(String, String)> {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).stdin(Stdio::null());
    let mut shell = shell.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut output = shell.stdout.take().context("standard output is piped")?;
    let (mut said, mut first) = (Vec::new(), None);
    while output.read_buf(&mut said).await? > 0 {
        let text = String::from_utf8_lossy(&said);
        if first.is_none() && text.contains("\"content\"") {
            first = Some(text.into_owned());
        }
    }
    ensure!(shell.wait().await?.success(), "{line} failed");
    Ok((String::from_utf8(said)?, first.unwrap_or_default()))
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).is_file())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn printed_line_shows_a_completion_word_by_word() -> Result<()> {
    let started = Instant::now();
    let example = Example::start().await?;
    if !is_there("curl") {
        println!("skipped: this machine has no curl");
        return Ok(());
    }
    let (said, at_first) = timeout(MINUTE, curl(&example.line)).await??;
    println!(
        "the whole answer was there {:.1?} after the command",
        started.elapsed()
    );
    let (head, events) = said.split_once("\r\n\r\n").context("a head")?;
    assert!(head.starts_with("HTTP/1.1 200"), "{said}");
    assert!(head.contains(&format!("{SERVED_BY}: tide-")), "{said}");
    assert_eq!(events.matches("\"content\"").count(), 16, "{said}");
    assert!(events.trim_end().ends_with("data: [DONE]"), "{said}");
    assert!(
        at_first.matches("\"content\"").count() < 16,
        "all words came at once: {at_first}"
    );
    // The same as a whole.
    let line = example.line.replace("\"stream\":true", "\"stream\":false");
    let (said, _) = timeout(MINUTE, curl(&line)).await??;
    let (_, body) = said.split_once("\r\n\r\n").context("a head")?;
    let body: Value = serde_json::from_str(body)?;
    assert_eq!(body["usage"]["completion_tokens"], 16, "{body}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_to_the_server_with_the_shorter_queue() -> Result<()> {
    let example = Example::start().await?;
    let eight = try_join_all((0..8).map(|_| example.completion(16))).await?;
    let first = eight.iter().filter(|(_, server)| server == "tide-0").count();
    // The picker may look between a choice and its arrival, and do so twice.
    assert!((2..=6).contains(&first), "{first} of 8 at tide-0");

    // Four run and four wait at one of them; nobody asked the picker for that.
    let server = Target::http(example.servers[0]);
    let mut queue = JoinSet::new();
    for _ in 0..8 {
        let mut connection = server.connect().await?;
        queue.spawn(async move {
            let response = connection.open(completion(1_000_000, true)).await;
            std::future::pending::<()>().await;
            drop((response, connection));
        });
    }
    eventually(async || {
        let metrics = server.get("tide-0", "/metrics").await?;
        let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
        let waiting = format!("num_requests_waiting{{model_name=\"{MODEL}\"}} 4");
        ensure!(metrics.contains(&waiting), "{metrics}");
        // The picker may not have looked yet, and then it would be a long wait.
        let (_, server) = timeout(SOON, example.completion(1)).await??;
        ensure!(server == "tide-1", "{server} in spite of its queue");
        Ok(())
    })
    .await?;
    for _ in 0..5 {
        assert_eq!(example.completion(1).await?.1, "tide-1");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_that_the_readme_suggests_do_what_it_says() -> Result<()> {
    let example = Example::start().await?;
    // A model server that is no longer of the pool.
    let pods = fs::read_to_string(example.folder.path().join("manifests/model-servers.yaml"))?;
    let second = &pods[pods.find("name: tide-1").context("tide-1 is there")?..];
    example.edit(
        "model-servers.yaml",
        second,
        &second.replace("app: tide", "app: ebb"),
    )?;
    eventually(async || {
        let served = try_join_all((0..4).map(|_| example.completion(1))).await?;
        ensure!(
            served.iter().all(|(_, server)| server == "tide-0"),
            "tide-1 serves still"
        );
        Ok(())
    })
    .await?;

    // A picker that is away: FailOpen at first, then FailClose.
    let picker = fs::read_to_string(example.folder.path().join("manifests/picker.yaml"))?;
    let endpoints = picker.lines().find(|line| line.contains("- addresses:"));
    let endpoints = format!("{}\n", endpoints.context("the picker has an endpoint")?);
    let away = picker
        .find(&endpoints)
        .map(|at| &picker[at..])
        .context("at the end")?;
    example.edit("picker.yaml", &format!("endpoints:\n{away}"), "endpoints: []\n")?;
    let open = async || {
        let (_, server) = example.completion(1).await?;
        ensure!(server == "tide-0", "{server}");
        Ok(())
    };
    for _ in 0..10 {
        open().await?;
    }
    example.edit("pool.yaml", "failureMode: FailOpen", "failureMode: FailClose")?;
    let answer = eventually(async || {
        let answer = example.edge.send(completion(1, false).host(HOST)).await?;
        ensure!(answer.status == 503, "{answer}");
        Ok(answer)
    })
    .await?;
    assert!(!answer.header("retry-after").is_empty(), "{answer}");
    example.edit("picker.yaml", "endpoints: []\n", &format!("endpoints:\n{away}"))?;
    eventually(open).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupt_ends_everything() -> Result<()> {
    let mut example = Example::start().await?;
    let task = example.task.id().and_then(Process::with_id).context("it runs")?;
    let family = task.clone().with_descendants();
    assert!(family.len() > 4, "operator, agent and NGINX run");
    task.signal(Signal::INT);
    let status = timeout(MINUTE, example.task.wait()).await??;
    assert!(status.success(), "{status}");
    assert!(
        family.iter().all(|process| !process.lives()),
        "something runs still"
    );
    Ok(())
}
