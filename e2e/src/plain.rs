//! An NGINX without operator or agent: on a configuration written by hand, or on what `flotilla render` wrote.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{
    client::Target,
    loopback::Loopback,
    process::{Process, adopt_orphans, end},
    standalone::{eventually, nginx_path, product},
};

/// Its log, beside its configuration.
const LOG: &str = "nginx.log";

/// The folder beside it of what its configuration was rendered from.
const MANIFESTS: &str = "manifests";

/// A running NGINX; it ends when this value is dropped.
#[derive(Debug)]
pub struct Plain {
    nginx: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Plain {
    /// A port that no other manifest has: `nginx -t` on what is rendered elsewhere listens on its ports, at all
    /// addresses, for a moment.
    pub const RENDERED_PORT: u16 = 8765;

    /// Starts NGINX on a whole configuration, and waits until it listens at this address.
    pub async fn start(configuration: &str, address: SocketAddr) -> Result<Self> {
        let folder = folder()?;
        fs::write(folder.path().join("nginx.conf"), configuration).context("cannot write a configuration")?;
        let prefix = folder.path().to_owned();
        Self::run(folder, &prefix, address).await
    }

    /// Renders manifests and starts NGINX on what their Gateway `default/edge` gets.
    ///
    /// All listeners of that Gateway are on [`Self::RENDERED_PORT`]; it is served at the first address of `loopback`. Each
    /// Service is where `endpoint` says, by its name.
    pub async fn rendered(
        loopback: &Loopback,
        manifests: &str,
        endpoint: impl Fn(&str) -> Option<SocketAddr>,
    ) -> Result<Self> {
        let folder = folder()?;
        let [input, output] = [MANIFESTS, "out"].map(|name| folder.path().join(name));
        fs::create_dir(&input)
            .and_then(|()| fs::write(input.join("all.yaml"), manifests))
            .context("cannot write manifests")?;
        render(&input, &output)?;
        let (prefix, address) = (
            output.join("default/edge"),
            loopback.socket(1, Self::RENDERED_PORT),
        );
        listen_only_at(address, &prefix)?;
        know_endpoints(endpoint, &prefix)?;
        Self::run(folder, &prefix, address).await
    }

    async fn run(folder: TempDir, prefix: &Path, address: SocketAddr) -> Result<Self> {
        let log = File::create(folder.path().join(LOG)).context("cannot create a log")?;
        let mut command = Command::new(nginx_path()?);
        command
            .args(["-e", "stderr", "-c", "nginx.conf", "-g", "daemon off;", "-p"])
            .arg(prefix);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        adopt_orphans();
        let nginx = command.spawn().context("cannot start NGINX")?;
        let mut plain = Self {
            nginx,
            address,
            folder,
        };
        let serves =
            eventually(
                async || match plain.nginx.try_wait().context("cannot look after NGINX")? {
                    Some(_) => Ok(false),
                    None => plain.target().connect().await.map(|_| true),
                },
            );
        ensure!(serves.await?, "NGINX has ended: {}", plain.log());
        Ok(plain)
    }

    /// What `flotilla explain` says of a request, such as `GET http://shop.example/`, with headers as `name: value`, to what
    /// was rendered.
    pub fn explanation(&self, request: &str, headers: &[String]) -> Result<String> {
        let mut command = Command::new(&product()?.flotilla);
        command.arg("explain").arg(self.folder.path().join(MANIFESTS));
        command.args(["--request", request]);
        command.args(headers.iter().flat_map(|header| ["--header", header]));
        output(command)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default()
    }

    /// Its processes, the master first.
    pub fn processes(&self) -> Vec<Process> {
        Process::of(&self.nginx).with_descendants()
    }

    /// Where it serves.
    pub fn target(&self) -> Target {
        Target::http(self.address)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        end(&Process::of(&self.nginx).with_descendants());
        // Killed, it cannot but end.
        drop(self.nginx.wait());
    }
}

fn folder() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("flotilla-").tempdir();
    folder.context("cannot create a temporary folder")
}

fn render(input: &Path, folder: &Path) -> Result<()> {
    let mut command = Command::new(&product()?.flotilla);
    command.arg("render").arg(input).arg("--out").arg(folder);
    output(command).map(drop)
}

/// What a command of `flotilla` prints.
fn output(mut command: Command) -> Result<String> {
    let output = command.output().context("cannot start flotilla")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {error}");
    String::from_utf8(output.stdout).context("flotilla prints text")
}

/// What is rendered is for a pod and listens on all of its addresses; here many share the machine's.
fn listen_only_at(address: SocketAddr, prefix: &Path) -> Result<()> {
    let port = address.port();
    edit(&prefix.join(format!("servers/{port}.conf")), |rendered| {
        rendered.replace(&format!("listen {port}"), &format!("listen {address}"))
    })
}

/// What is rendered asks an agent for endpoints, and here is none. Above each upstream stands whose it is:
/// `# Service NAMESPACE/NAME port PORT`.
fn know_endpoints(endpoint: impl Fn(&str) -> Option<SocketAddr>, prefix: &Path) -> Result<()> {
    edit(&prefix.join("upstreams.conf"), |rendered| {
        let mut service = "";
        let lines = rendered.lines().map(|line| {
            if let Some((_, named)) = line
                .strip_prefix("# Service ")
                .and_then(|line| line.split_once('/'))
            {
                service = named.split(' ').next().unwrap_or_default();
            }
            match endpoint(service).filter(|_| line.ends_with(" resolve;")) {
                Some(endpoint) => format!("    server {endpoint};\n"),
                None => format!("{line}\n"),
            }
        });
        lines.collect()
    })
}

fn edit(path: &Path, change: impl FnOnce(String) -> String) -> Result<()> {
    let rendered = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    fs::write(path, change(rendered)).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn configuration_serves_until_it_is_dropped() {
        let loopback = Loopback::lease().unwrap();
        let address = loopback.socket(1, 8080);
        let configuration = format!(
            "pid nginx.pid;\nevents {{}}\nhttp {{ server {{ listen {address}; return 200 hello; }} }}\n"
        );
        let plain = Plain::start(&configuration, address).await.unwrap();
        let target = plain.target();
        assert_eq!(&target.get("any.example", "/").await.unwrap().body[..], b"hello");
        drop(plain);
        assert!(target.connect().await.is_err());
    }

    #[tokio::test]
    async fn refused_configuration_fails_with_what_nginx_says() {
        let loopback = Loopback::lease().unwrap();
        let address = loopback.socket(1, 8080);
        let error = Plain::start("nonsense;", address).await.unwrap_err();
        assert!(format!("{error:#}").contains("unknown directive"), "{error:#}");
    }
}
