//! What a real NGINX says to a configuration.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use operator_core::generation::Generation;

/// Runs `nginx -t` on a configuration with its certificates; what NGINX says where it refuses.
pub(crate) fn refusal(nginx: &Path, generation: &Generation) -> io::Result<Option<String>> {
    let folder = tempfile::tempdir()?;
    let config = generation.config.files.iter();
    let config = config.map(|(path, content)| (PathBuf::from(path), content));
    let certificates = generation.data.certificates.iter();
    let certificates = certificates.map(|(path, pem)| (Path::new("certificates").join(path), &pem.0));
    for (path, content) in config.chain(certificates) {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a file is in a folder"))?;
        fs::write(path, content)?;
    }
    let output = Command::new(nginx)
        .args(["-t", "-q", "-e", "stderr", "-c", "nginx.conf", "-p"])
        .arg(folder.path())
        // NGINX takes it for a list of sockets that it inherits.
        .env_remove("NGINX")
        .output()?;
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((!output.status.success()).then(said))
}
