//! The NGINX executable: which version it is, and what is asked of it by command line.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    process::Command,
    select,
    time::{sleep, timeout},
};

use super::{Master, Refusal, process::FOREGROUND};
use crate::prefix::Prefix;

/// The oldest version that has all that is needed: `resolve`, `ssl_certificate_cache`, `keepalive_min_timeout`.
const OLDEST: [u32; 3] = [1, 27, 4];

/// The test of the largest configurations takes seconds.
const TEST_TIMEOUT: Duration = Duration::from_mins(1);

/// NGINX tries a busy port for two and a half seconds, and reads the largest configurations for seconds.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How often it is looked whether NGINX has started.
const START_INTERVAL: Duration = Duration::from_millis(2);

/// What keeps us from running NGINX at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot run {path}; name NGINX with --nginx")]
    Run { path: PathBuf, source: io::Error },
    #[error("{path} is no NGINX: it says {output:?} to -V")]
    NotNginx { path: PathBuf, output: String },
    #[error("{path} is NGINX {version}; 1.27.4 or newer is needed")]
    TooOld { path: PathBuf, version: String },
    #[error("{path} did not come to an end in {} seconds", .after.as_secs())]
    Timeout { path: PathBuf, after: Duration },
    #[error("cannot watch NGINX's process")]
    Watch(#[source] io::Error),
    #[error("cannot signal NGINX")]
    Signal(#[source] io::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// An executable that has said that it is a sufficient NGINX.
#[derive(Clone, Debug)]
pub struct Binary {
    path: PathBuf,
    prefix: Prefix,
    version: String,
    counts_connections: bool,
}

impl Binary {
    /// Asks the executable for its version.
    pub async fn find(path: &Path, prefix: &Prefix) -> Result<Self, Error> {
        let mut binary = Self {
            path: path.to_owned(),
            prefix: prefix.clone(),
            version: String::new(),
            counts_connections: false,
        };
        let output = binary.output(Command::new(path).arg("-V"), START_TIMEOUT).await?;
        let text = String::from_utf8_lossy(&output.stderr);
        let Some(version) = version(&text) else {
            return Err(Error::NotNginx {
                path: path.to_owned(),
                output: text.into_owned(),
            });
        };
        version.clone_into(&mut binary.version);
        if numbers(version) < OLDEST.to_vec() {
            return Err(Error::TooOld {
                path: path.to_owned(),
                version: binary.version,
            });
        }
        binary.counts_connections = text.contains("--with-http_stub_status_module");
        Ok(binary)
    }

    /// Such as `1.30.4`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether configurations may use `$connections_active` and its kin.
    #[must_use]
    pub fn counts_connections(&self) -> bool {
        self.counts_connections
    }

    /// Has NGINX test a configuration, given by its file relative to the prefix.
    pub async fn test(&self, configuration: &str) -> Result<(), Error> {
        let mut command = self.command(configuration, "");
        let output = self.output(command.arg("-t"), TEST_TIMEOUT).await?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(Refusal::first(&text, &self.prefix)
            .unwrap_or_else(|| Refusal::new(format!("nginx -t ended with {}", output.status)))
            .into())
    }

    /// Starts NGINX from the current configuration and returns its master.
    ///
    /// No daemon: that would lose its standard output, and with it an access log there, at the first reload. It is
    /// init's child as soon as the supervisor is gone, and in a process group of its own, so that a terminal's
    /// interrupt does not end it.
    ///
    /// Ports that are busy are tried for two and a half seconds.
    pub async fn start(&self) -> Result<Master, Error> {
        self.forget_refusals();
        let mut command = self.command("current/nginx.conf", FOREGROUND);
        let started = command.stdin(Stdio::null()).process_group(0).spawn();
        let mut process = started.map_err(|source| Error::Run {
            path: self.path.clone(),
            source,
        })?;
        let begun = Instant::now();
        while begun.elapsed() < START_TIMEOUT {
            select! {
                status = process.wait() => {
                    let status = status.map_err(Error::Watch)?;
                    let refusal = Refusal::first(&self.errors(), &self.prefix);
                    return Err(refusal.unwrap_or_else(|| Refusal::new(format!("nginx ended with {status}"))).into());
                }
                () = sleep(START_INTERVAL) => {}
            }
            if let Some(master) = Master::find(&self.prefix).map_err(Error::Watch)? {
                return Ok(master);
            }
        }
        // Nobody would know of it.
        process.kill().await.map_err(Error::Signal)?;
        Err(Refusal::new("nginx wrote no nginx.pid; the configuration needs `pid nginx.pid`").into())
    }

    /// Why the last start or reload came to nothing; none as long as it may still succeed.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        Refusal::final_one(&self.errors(), &self.prefix)
    }

    /// Empties the log that [`Self::refusal`] reads; to be done before each reload.
    pub fn forget_refusals(&self) {
        // A log that cannot be emptied still has the truth in it, only not the newest.
        let _ = fs::write(self.prefix.nginx_errors(), "");
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.prefix.nginx_errors()).unwrap_or_default()
    }

    fn command(&self, configuration: &str, directives: &str) -> Command {
        // The operator's configuration logs to standard error, which others share; a second log, ours alone, makes
        // refusals readable. Workers are to read certificates, which only the owner can.
        let user = if rustix::process::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let directives = format!("error_log nginx.errors emerg;{user}{directives}");
        let mut command = Command::new(&self.path);
        command.args(["-e", "stderr", "-c", configuration, "-g", &directives, "-p"]);
        command.arg(self.prefix.path()).current_dir(self.prefix.path());
        // NGINX takes this variable for a list of sockets to inherit, while people put its path there.
        command.env_remove("NGINX");
        command
    }

    async fn output(&self, command: &mut Command, limit: Duration) -> Result<Output, Error> {
        timeout(limit, command.stdin(Stdio::null()).kill_on_drop(true).output())
            .await
            .map_err(|_| Error::Timeout {
                path: self.path.clone(),
                after: limit,
            })?
            .map_err(|source| Error::Run {
                path: self.path.clone(),
                source,
            })
    }
}

/// The version in `nginx version: nginx/1.30.4 (…)`.
fn version(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("nginx version: ")?;
    let (_, version) = rest.split_whitespace().next()?.split_once('/')?;
    Some(version)
}

fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map_while(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_what_follows_the_name() {
        assert_eq!(
            version("nginx version: nginx/1.30.4\nbuilt by gcc"),
            Some("1.30.4")
        );
        assert_eq!(version("nginx version: openresty/1.27.1.2 (x)"), Some("1.27.1.2"));
        assert_eq!(version("bash: nginx: command not found"), None);
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert!(numbers("1.28.0") > OLDEST.to_vec());
        assert!(numbers("1.27.10") > OLDEST.to_vec());
        assert!(numbers("1.9.15") < OLDEST.to_vec());
        assert!(numbers("1.27.4") >= OLDEST.to_vec());
    }
}
