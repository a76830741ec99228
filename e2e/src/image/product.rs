//! `cargo xtask image`: the product's images, from this checkout, and the backend of the tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{
    Image,
    materials::{self, Material, crates_of},
};
use crate::{
    cluster::Cluster,
    conformance,
    go::Go,
    nginx,
    workspace::{self, Binaries, Profile},
};

/// How images are made.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Options {
    /// Build the binaries as users get them, which takes minutes; measure with these alone
    #[arg(long)]
    release: bool,
}

/// Writes the archives to `target/images`, with the product's bills of materials beside them, loads them into the cluster
/// if one is up, and prints what they are called.
pub fn make(options: Options) -> Result<()> {
    let profile = if options.release {
        Profile::Release
    } else {
        Profile::Dev
    };
    let binaries = Binaries::build(profile)?;
    let nginx = nginx::find(None)?;
    let folder = workspace::target().join("images");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let images = [
        operator(&binaries)?,
        gateway(&binaries)?.program("/usr/bin/nginx", &nginx.path)?,
        conformance::echo(&Go::find()?)?,
    ];
    let mut gateway = crates_of("agent")?;
    gateway.insert(Material::program(
        "nginx",
        &nginx.version.to_string(),
        "BSD-2-Clause",
    ));
    for (image, materials) in images.iter().zip([crates_of("operator")?, gateway]) {
        let bill = archive(&folder, image).with_extension("cdx.json");
        materials::write(image.reference(), &materials, &bill)?;
    }
    let cluster = Cluster::running()?;
    for image in images {
        let archive = archive(&folder, &image);
        image.write(&archive)?;
        if let Some(cluster) = &cluster {
            cluster.load(&archive)?;
        }
        println!("{}  {}", image.reference(), archive.display());
    }
    Ok(())
}

/// The image of the operator.
pub(super) fn operator(binaries: &Binaries) -> Result<Image> {
    let path = "/usr/bin/flotilla";
    Image::new("operator:dev", path).program(path, &binaries.flotilla)
}

/// The image of gateways, to which NGINX is yet to come.
pub(super) fn gateway(binaries: &Binaries) -> Result<Image> {
    let path = "/usr/bin/flotilla-agent";
    Image::new("gateway:dev", path).program(path, &binaries.agent)
}

/// `operator.tar` for `…/operator:dev`.
fn archive(folder: &Path, image: &Image) -> PathBuf {
    let (_, name) = image.reference().rsplit_once('/').unwrap_or_default();
    let name = name.split(':').next().unwrap_or_default();
    folder.join(name).with_extension("tar")
}
