//! The configurations on disk: each in a folder of its own, one of them current, one of them good.
//!
//! They differ only while NGINX is taking up a newer one: whatever ends meanwhile, what starts next starts from the good
//! one.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use proto::fleet::Config;

use crate::{
    dns::Upstream,
    files::{self, RelativePath},
    prefix::Prefix,
};

/// The file of ours in each generation, which the operator's `nginx.conf` includes in its `http` block.
const AGENT_CONF: &str = "agent.conf";

/// The file of ours in each generation with the `server` lines of upstreams that lead to the proxy.
const PROXY_CONF: &str = "proxy.conf";

/// The link in each generation to what does not need a reload.
const CERTIFICATES: &str = "certificates";

/// A version is a digest; this leaves room for long ones.
const VERSION_LENGTH: usize = 128;

/// Why a configuration is not on disk as it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is no version: expected a digest in hexadecimal")]
    Version(String),
    #[error("the configuration has a file {0:?}, where the agent puts its own")]
    Reserved(String),
    #[error("the configuration has no nginx.conf")]
    Incomplete,
    #[error(transparent)]
    File(#[from] files::Error),
    #[error("cannot link {path}")]
    Link { path: PathBuf, source: io::Error },
    #[error("cannot move a configuration to {path}")]
    Move { path: PathBuf, source: io::Error },
}

/// What the agent adds to the operator's files.
#[derive(Clone, Debug)]
pub struct Addition<'agent> {
    pub version: &'agent str,
    /// Reloads of NGINX when it serves this.
    pub reloads: u64,
    /// Where NGINX is to ask for endpoints.
    pub resolvers: &'agent [SocketAddr],
    /// Whether this NGINX has variables that count connections.
    pub counts_connections: bool,
    /// Threads of the proxy, each with a socket.
    pub proxy_threads: usize,
}

/// The folders below `generations/`, `current` and `good`.
#[derive(Clone, Debug)]
pub struct Generations {
    prefix: Prefix,
}

impl Generations {
    #[must_use]
    pub fn new(prefix: &Prefix) -> Self {
        Self {
            prefix: prefix.clone(),
        }
    }

    /// Puts a configuration's files into the folder of its version; those of the good one are there already.
    pub fn stage(&self, config: &Config) -> Result<(), Error> {
        let Config { version, files } = config;
        if version.is_empty()
            || version.len() > VERSION_LENGTH
            || !version.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return Err(Error::Version(version.clone()));
        }
        if self.good().as_deref() == Some(version) {
            return Ok(());
        }
        // A version has no dot, so that this cannot be one's folder.
        let staging = self.prefix.generations().join(".staging");
        files::remove(&staging)?;
        let mut is_complete = false;
        for file in files {
            let path = RelativePath::new(&file.path)?;
            if path.first() == Path::new(CERTIFICATES) {
                return Err(Error::Reserved(file.path.clone()));
            }
            is_complete |= file.path == "nginx.conf";
            files::replace(&path.below(&staging), &file.content)?;
        }
        if !is_complete {
            return Err(Error::Incomplete);
        }
        let link = staging.join(CERTIFICATES);
        symlink("../../certificates", &link).map_err(|source| Error::Link { path: link, source })?;
        let folder = self.folder(version);
        files::remove(&folder)?;
        fs::rename(&staging, &folder).map_err(|source| Error::Move { path: folder, source })
    }

    /// Writes our files of a staged generation.
    pub fn add(&self, addition: &Addition<'_>) -> Result<(), Error> {
        let folder = self.folder(addition.version);
        let proxy = proxy_conf(&self.prefix, addition.proxy_threads);
        files::replace(&folder.join(PROXY_CONF), proxy.as_bytes())?;
        let agent = agent_conf(&self.prefix, addition);
        Ok(files::replace(&folder.join(AGENT_CONF), agent.as_bytes())?)
    }

    /// The `nginx.conf` of a staged generation, relative to the prefix.
    #[must_use]
    pub fn configuration(version: &str) -> String {
        format!("generations/{version}/nginx.conf")
    }

    /// The last version that NGINX was seen to serve; none before the first.
    #[must_use]
    pub fn good(&self) -> Option<String> {
        let target = fs::read_link(self.prefix.good()).ok()?;
        let version = target.file_name()?.to_str()?.to_owned();
        self.folder(&version).is_dir().then_some(version)
    }

    /// Has NGINX read a version at its next start or reload.
    pub fn switch(&self, version: &str) -> Result<(), Error> {
        link(&self.prefix.current(), version)
    }

    /// Takes a version that NGINX serves for good.
    pub fn approve(&self, version: &str) -> Result<(), Error> {
        link(&self.prefix.good(), version)
    }

    /// Has NGINX read what was good before, or nothing, after all.
    pub fn go_back(&self) -> Result<(), Error> {
        match self.good() {
            Some(good) => self.switch(&good),
            None => Ok(files::remove(&self.prefix.current())?),
        }
    }

    /// Removes all generations but those to keep.
    pub fn prune(&self, keep: &[&str]) -> Result<(), Error> {
        let folder = self.prefix.generations();
        let read = |source| files::Error::Read {
            path: folder.clone(),
            source,
        };
        for entry in fs::read_dir(&folder).map_err(read)? {
            let entry = entry.map_err(read)?;
            if !keep
                .iter()
                .any(|version| entry.file_name() == OsStr::new(version))
            {
                files::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// The upstreams that a staged generation has NGINX ask the agent for.
    pub fn upstreams(&self, version: &str) -> Result<BTreeSet<Upstream>, Error> {
        let mut upstreams = BTreeSet::new();
        for path in files::below(&self.folder(version))? {
            let content = fs::read(&path).map_err(|source| files::Error::Read { path, source })?;
            upstreams.extend(upstreams_in(&String::from_utf8_lossy(&content)));
        }
        Ok(upstreams)
    }

    fn folder(&self, version: &str) -> PathBuf {
        self.prefix.generations().join(version)
    }
}

/// A link cannot be changed, but a new one can take its place at once.
fn link(path: &Path, version: &str) -> Result<(), Error> {
    let next = path.with_extension("new");
    files::remove(&next)?;
    symlink(Path::new("generations").join(version), &next)
        .and_then(|()| fs::rename(&next, path))
        .map_err(|source| Error::Link {
            path: path.to_owned(),
            source,
        })
}

/// The names in `server NAME service=SERVICE … resolve;`.
///
/// No parser of NGINX's language: it serves to know how long to wait before a configuration is called served.
fn upstreams_in(text: &str) -> BTreeSet<Upstream> {
    if !text.contains("resolve") {
        return BTreeSet::new();
    }
    let uncommented: Vec<&str> = text.lines().filter_map(|line| line.split('#').next()).collect();
    uncommented
        .join(" ")
        .split([';', '{', '}'])
        .filter_map(resolved)
        .collect()
}

fn resolved(directive: &str) -> Option<Upstream> {
    let mut words = directive.split_whitespace();
    let (Some("server"), Some(name)) = (words.next(), words.next()) else {
        return None;
    };
    let parameters: Vec<&str> = words.collect();
    let service = parameters
        .iter()
        .find_map(|parameter| parameter.strip_prefix("service="))?;
    let upstream = Upstream {
        name: name.to_owned(),
        service: service.to_owned(),
    };
    parameters.contains(&"resolve").then_some(upstream)
}

/// The resolver that knows the endpoints, and the server that says which version is served.
///
/// See <https://nginx.org/en/docs/http/ngx_http_core_module.html#resolver>.
fn agent_conf(prefix: &Prefix, addition: &Addition<'_>) -> String {
    let Addition {
        version,
        reloads,
        resolvers,
        counts_connections,
        proxy_threads: _,
    } = addition;
    let resolvers = resolvers
        .iter()
        .map(SocketAddr::to_string)
        .collect::<Vec<_>>()
        .join(" ");
    let socket = quoted(&prefix.nginx_socket());
    let connections = if *counts_connections {
        "    location = /connections {\n        \
         return 200 \"$connections_active $connections_reading $connections_writing $connections_waiting\\n\";\n    \
         }\n"
    } else {
        ""
    };
    format!(
        "# Written by flotilla-agent.\n\
         resolver {resolvers};\n\
         resolver_timeout 2s;\n\
         server {{\n    \
             listen {socket};\n    \
             access_log off;\n    \
             location = /version {{\n        \
                 return 200 \"$pid {version} {reloads}\\n\";\n    \
             }}\n\
         {connections}\
         }}\n"
    )
}

/// The proxy's sockets, for any upstream to include.
///
/// None is ever given up (`max_fails=0`): a proxy that has died is back before it could be tried again.
fn proxy_conf(prefix: &Prefix, threads: usize) -> String {
    let servers = (0..threads)
        .map(|thread| format!("server {} max_fails=0;", quoted(&prefix.proxy_socket(thread))))
        .collect::<Vec<_>>()
        .join("\n");
    format!("# Written by flotilla-agent.\n{servers}\n")
}

/// A socket as NGINX's configuration names it.
fn quoted(socket: &Path) -> String {
    // A prefix has no control characters; these are what else means something between quotes.
    let path = socket.display().to_string();
    format!("\"unix:{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use proto::fleet::File;

    use super::*;

    fn config(version: &str, files: &[(&str, &str)]) -> Config {
        let file = |(path, content): &(&str, &str)| File {
            path: (*path).to_owned(),
            content: content.as_bytes().to_vec(),
        };
        Config {
            version: version.to_owned(),
            files: files.iter().map(file).collect(),
        }
    }

    fn generations() -> (tempfile::TempDir, Prefix, Generations) {
        let folder = tempfile::tempdir().unwrap();
        let prefix = Prefix::create(folder.path()).unwrap();
        let generations = Generations::new(&prefix);
        (folder, prefix, generations)
    }

    #[test]
    fn a_staged_generation_has_its_files_and_the_certificates() {
        let (_folder, prefix, generations) = generations();
        generations
            .stage(&config("1f2e", &[("nginx.conf", "a"), ("conf.d/http.conf", "b")]))
            .unwrap();
        fs::write(prefix.certificates().join("shop.pem"), "c").unwrap();
        let read = |path| fs::read_to_string(prefix.generations().join("1f2e").join(path)).unwrap();
        assert_eq!(read("nginx.conf"), "a");
        assert_eq!(read("conf.d/http.conf"), "b");
        assert_eq!(read("certificates/shop.pem"), "c");
        assert!(!prefix.current().exists(), "staging switches nothing");
    }

    #[test]
    fn a_version_staged_again_has_no_file_of_before() {
        let (_folder, prefix, generations) = generations();
        generations
            .stage(&config("1", &[("nginx.conf", "a"), ("old.conf", "a")]))
            .unwrap();
        generations.stage(&config("1", &[("nginx.conf", "b")])).unwrap();
        assert!(!prefix.generations().join("1/old.conf").exists());
    }

    #[test]
    fn nothing_is_written_outside_of_the_generation() {
        let (_folder, _prefix, generations) = generations();
        for version in ["", "..", "a/b", ".staging", "a b"] {
            let error = generations
                .stage(&config(version, &[("nginx.conf", "")]))
                .unwrap_err();
            assert!(matches!(error, Error::Version(_)), "{version:?}: {error}");
        }
        let outside = generations
            .stage(&config("1", &[("nginx.conf", ""), ("../a", "")]))
            .unwrap_err();
        assert!(matches!(outside, Error::File(files::Error::Path(_))), "{outside}");
        let reserved = generations
            .stage(&config("1", &[("nginx.conf", ""), ("certificates/a", "")]))
            .unwrap_err();
        assert!(matches!(reserved, Error::Reserved(_)), "{reserved}");
    }

    #[test]
    fn the_good_version_is_the_last_approved() {
        let (_folder, _prefix, generations) = generations();
        assert_eq!(generations.good(), None);
        for version in ["1", "2", "3"] {
            generations
                .stage(&config(version, &[("nginx.conf", "")]))
                .unwrap();
            generations.switch(version).unwrap();
            assert_ne!(generations.good().as_deref(), Some(version));
            generations.approve(version).unwrap();
            assert_eq!(generations.good().as_deref(), Some(version));
        }
        generations.prune(&["3", "2"]).unwrap();
        generations.approve("1").unwrap();
        assert_eq!(generations.good(), None, "a link to what was removed is none");
    }

    #[test]
    fn nginx_reads_what_was_good_when_another_was_not() {
        let (_folder, prefix, generations) = generations();
        for version in ["1", "2"] {
            generations
                .stage(&config(version, &[("nginx.conf", version)]))
                .unwrap();
        }
        let read = || fs::read_to_string(prefix.current().join("nginx.conf")).ok();
        generations.switch("1").unwrap();
        generations.go_back().unwrap();
        assert_eq!(read(), None, "nothing was good");
        generations.approve("1").unwrap();
        generations.switch("2").unwrap();
        assert_eq!(read().as_deref(), Some("2"));
        generations.go_back().unwrap();
        assert_eq!(read().as_deref(), Some("1"));
    }

    #[test]
    fn upstreams_are_those_that_are_resolved() {
        let text = "upstream a {\n    zone endpoints 4m;\n    server shop.default service=e resolve;\n}\n\
                    upstream b { # one server\n  server blog.default service=e max_fails=3 resolve; }\n\
                    upstream c { server 10.0.0.1:80; server plain.example; }\n\
                    server { listen 80; }\n";
        let names: Vec<String> = upstreams_in(text)
            .iter()
            .map(std::string::ToString::to_string)
            .collect();
        assert_eq!(names, ["_e._tcp.blog.default", "_e._tcp.shop.default"]);
    }

    #[test]
    fn the_addition_names_resolvers_and_version() {
        let (_folder, prefix, _) = generations();
        let resolvers = ["127.0.0.1:5301".parse().unwrap(), "[::1]:5302".parse().unwrap()];
        let addition = Addition {
            version: "1f2e",
            reloads: 3,
            resolvers: &resolvers,
            counts_connections: false,
            proxy_threads: 2,
        };
        let text = agent_conf(&prefix, &addition);
        assert!(text.contains("resolver 127.0.0.1:5301 [::1]:5302;"), "{text}");
        assert!(text.contains("return 200 \"$pid 1f2e 3\\n\";"), "{text}");
        assert!(!text.contains("$connections"), "{text}");
    }
    #[test]
    fn every_thread_of_the_proxy_is_a_server() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = Prefix::create(&folder.path().join("a \"b\"")).unwrap();
        let path = folder.path().canonicalize().unwrap();
        let line = |thread| {
            let path = path.display();
            format!(r#"server "unix:{path}/a \"b\"/proxy-{thread}.sock" max_fails=0;"#)
        };
        let text = proxy_conf(&prefix, 2);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines, [line(0), line(1)]);
        assert!(upstreams_in(&text).is_empty());
    }
}
