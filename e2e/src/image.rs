//! Container images as OCI archives, made of files without a container engine.
//!
//! One layer, uncompressed, and no dates: the same files give the same bytes, wherever and whenever.
//! See <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>.

#[cfg(test)]
mod containerfiles;
mod libraries;
mod materials;
mod product;

use std::{
    collections::BTreeMap,
    env::consts::ARCH,
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

pub use self::product::{Options, make};

/// What comes before the name of every image of ours. Nothing answers there: clusters have to have the images.
const REPOSITORY: &str = "flotilla.test";

/// The user that processes run as unless a pod says otherwise; not root.
const USER: u32 = 65_532;

/// Accounts, for programs that look their own up, and where names are looked up.
const ACCOUNTS: [(&str, &str); 3] = [
    (
        "/etc/passwd",
        "root:x:0:0:root:/:/\nnonroot:x:65532:65532:nonroot:/tmp:/\n",
    ),
    ("/etc/group", "root:x:0:\nnonroot:x:65532:\n"),
    ("/etc/nsswitch.conf", "hosts: files dns\n"),
];

/// An image in the making.
#[derive(Clone, Debug)]
pub struct Image {
    reference: String,
    /// The program that runs, and its first arguments.
    entrypoint: Vec<String>,
    variables: Vec<String>,
    /// Contents and mode by absolute path.
    files: BTreeMap<String, (Vec<u8>, u32)>,
}

/// The archive of a layout in the making.
struct Layout<W: Write>(Builder<W>);

impl Image {
    /// An image with a name and tag such as `operator:dev`, which runs the program at this path.
    pub fn new(name: &str, entrypoint: &str) -> Self {
        let accounts = ACCOUNTS.map(|(path, contents)| (path.to_owned(), (contents.into(), 0o644)));
        Self {
            reference: format!("{REPOSITORY}/{name}"),
            entrypoint: vec![entrypoint.to_owned()],
            variables: vec!["PATH=/usr/bin".to_owned()],
            files: accounts.into(),
        }
    }

    /// The same image by another name.
    #[must_use]
    pub fn named(mut self, reference: String) -> Self {
        self.reference = reference;
        self
    }

    /// Gives its program arguments that come before those of a pod.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.entrypoint
            .extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Sets an environment variable, unless a pod does.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push(format!("{name}={value}"));
        self
    }

    /// What pods call it.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// Adds a file of this machine at a path, executable.
    pub fn file(mut self, path: &str, from: &Path) -> Result<Self> {
        let contents = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.files.insert(path.to_owned(), (contents, 0o755));
        Ok(self)
    }

    /// Adds a program of this machine at a path, with the shared libraries that it needs at theirs.
    pub fn program(self, path: &str, from: &Path) -> Result<Self> {
        let image = self.file(path, from)?;
        libraries::of(from)?
            .iter()
            .try_fold(image, |image, library| image.file(library, Path::new(library)))
    }

    /// Writes the archive, as container engines and `ctr images import` read it.
    pub fn write(&self, archive: &Path) -> Result<()> {
        self.write_to(archive)
            .with_context(|| format!("cannot write {}", archive.display()))
    }

    fn write_to(&self, archive: &Path) -> io::Result<()> {
        let mut layout = Layout(Builder::new(File::create(archive)?));
        let layer = layout.blob("application/vnd.oci.image.layer.v1.tar", &self.layer()?)?;
        let configuration = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "User": format!("{USER}:{USER}"),
                "Env": self.variables,
                "Entrypoint": self.entrypoint,
                "WorkingDir": "/",
            },
            "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
        });
        let configuration =
            layout.blob_of_json("application/vnd.oci.image.config.v1+json", &configuration)?;
        let manifest_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": configuration,
            "layers": [layer],
        });
        let mut manifest = layout.blob_of_json(manifest_type, &manifest)?;
        let (_, tag) = self.reference.rsplit_once(':').unwrap_or_default();
        manifest["annotations"] = json!({
            "io.containerd.image.name": self.reference,
            "org.opencontainers.image.ref.name": tag,
        });
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        layout.file("index.json", index.to_string().as_bytes())?;
        layout.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        layout.0.into_inner()?.flush()
    }

    /// The file system: folders before what is in them.
    fn layer(&self) -> io::Result<Vec<u8>> {
        let mut folders = BTreeMap::from([("tmp/".to_owned(), 0o1777)]);
        for path in self.files.keys() {
            let inside = &path[1..];
            let ends = inside.match_indices('/').map(|(end, _)| end + 1);
            folders.extend(ends.map(|end| (inside[..end].to_owned(), 0o755)));
        }
        let mut layer = Builder::new(Vec::new());
        for (path, mode) in folders {
            append(&mut layer, EntryType::Directory, &path, mode, &[])?;
        }
        for (path, (contents, mode)) in &self.files {
            append(&mut layer, EntryType::Regular, &path[1..], *mode, contents)?;
        }
        layer.into_inner()
    }
}

impl<W: Write> Layout<W> {
    /// Adds content under its digest, and answers the descriptor by which other parts refer to it.
    fn blob(&mut self, media_type: &str, contents: &[u8]) -> io::Result<Value> {
        let digest = hexadecimal(&Sha256::digest(contents));
        self.file(&format!("blobs/sha256/{digest}"), contents)?;
        Ok(json!({
            "mediaType": media_type,
            "digest": format!("sha256:{digest}"),
            "size": contents.len(),
        }))
    }

    fn blob_of_json(&mut self, media_type: &str, value: &Value) -> io::Result<Value> {
        self.blob(media_type, value.to_string().as_bytes())
    }

    fn file(&mut self, path: &str, contents: &[u8]) -> io::Result<()> {
        append(&mut self.0, EntryType::Regular, path, 0o644, contents)
    }
}

/// Appends an entry that belongs to root and has no date.
fn append(
    builder: &mut Builder<impl Write>,
    kind: EntryType,
    path: &str,
    mode: u32,
    contents: &[u8],
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(contents.len() as u64);
    builder.append_data(&mut header, path, contents)
}

/// This machine's architecture as images call it.
fn architecture() -> &'static str {
    match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A digest as its two digits per byte.
pub(crate) fn hexadecimal(digest: &[u8]) -> String {
    let text = String::with_capacity(2 * digest.len());
    digest.iter().fold(text, |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_give_the_same_archive() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "contents").unwrap();
        let archives = ["one", "two"].map(|name| {
            let archive = folder.path().join(name);
            let image = Image::new("test:1", "/usr/bin/test")
                .file("/usr/bin/test", &file)
                .unwrap();
            image.write(&archive).unwrap();
            fs::read(archive).unwrap()
        });
        assert_eq!(archives[0], archives[1]);
    }

    #[test]
    fn folders_come_before_what_is_in_them() {
        let image = Image::new("test:1", "/usr/bin/test")
            .file("/usr/bin/test", Path::new("/dev/null"))
            .unwrap();
        let layer = image.layer().unwrap();
        let mut archive = tar::Archive::new(&layer[..]);
        let paths: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(
            paths,
            [
                "etc/",
                "tmp/",
                "usr/",
                "usr/bin/",
                "etc/group",
                "etc/nsswitch.conf",
                "etc/passwd",
                "usr/bin/test"
            ]
        );
    }
}
