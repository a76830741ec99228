//! Behaviour as files: each folder of `tests/golden` that has an `in.yaml` is a case, named by the sentence it proves.
//!
//! Beside the input stand the files that each gateway's NGINX gets (those that are the same for all are left out),
//! its endpoints and legs, and `status.yaml` with every status. `UPDATE_GOLDEN=1 cargo test -p operator-core --test golden`
//! writes them anew. Where `$NGINX` names a program, it has to accept every configuration.

mod nginx;
mod objects;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs, io,
    path::{Path, PathBuf},
};

use operator_core::{
    generation::Generation,
    infra::{
        Cluster, GatewayInfra, Object, PickerInfra, Provisioning, ServingCertificate, objects, picker_objects,
    },
    object::ObjectKey,
    observed::Observed,
    options::Options,
    outcome::Outcome,
    reconcile,
    snapshot::Snapshot,
};
use serde_json::{Value, json};
use similar_asserts::SimpleDiff;

datatest_stable::harness! {
    { test = case, root = "tests/golden", pattern = r"in\.yaml$" },
}

/// The name of gateways whose objects are there in full.
const PLAIN: &str = "plain";

/// Files that do not depend on the objects; one case keeps them all.
const CONSTANT: [&str; 3] = ["nginx.conf", "agent.conf", "proxy.conf"];

fn case(input: &Path) -> datatest_stable::Result<()> {
    let folder = input.parent().expect("a case is in a folder");
    let snapshot = snapshot(&fs::read_to_string(input)?)?;
    let observed = Observed {
        authorities: "the authorities of our pickers".to_owned(),
        ..Observed::default()
    };
    let outcome = reconcile(&snapshot, &observed, &Options::default());
    let mut files = BTreeMap::from([(PathBuf::from("status.yaml"), statuses(&outcome)?)]);
    for (key, gateway) in &outcome.gateways {
        if folder
            .parent()
            .is_some_and(|topic| topic.ends_with("infrastructure"))
        {
            files.insert(
                Path::new(&key.name).join("infra.yaml"),
                infra(key, &gateway.infra)?,
            );
        } else if let Some(generation) = &gateway.generation {
            let keeps_all = folder.join(&key.name).join(CONSTANT[0]).exists();
            files.extend(gateway_files(key, generation, keeps_all)?);
            accepted_by_nginx(generation)?;
        }
    }
    for (key, picker) in &outcome.pickers {
        files.insert(
            Path::new(&key.name).join("infra.yaml"),
            picker_infra(key, picker)?,
        );
    }
    if env::var_os("UPDATE_GOLDEN").is_some() {
        write(folder, &files)
    } else {
        compare(folder, &files)
    }
}

/// The objects of a file.
fn snapshot(yaml: &str) -> datatest_stable::Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    for document in serde_saphyr::from_multiple::<Value>(yaml)? {
        objects::insert(&mut snapshot, document)?;
    }
    Ok(snapshot)
}

/// Every status, without what is the same in all.
fn statuses(outcome: &Outcome) -> datatest_stable::Result<String> {
    let mut documents = BTreeMap::new();
    for change in &outcome.statuses {
        let mut status = serde_json::to_value(&change.status)?;
        prune(&mut status);
        documents.insert(format!("{} {}", change.kind, change.object), status);
    }
    Ok(serde_saphyr::to_string(&documents)?)
}

/// Makes conditions lines of text, without times and generations, and takes out the features of a class.
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) if fields.contains_key("lastTransitionTime") => {
            let text = |name: &str| fields[name].as_str().unwrap_or_default();
            *value = format!(
                "{}={} {}: {}",
                text("type"),
                text("status"),
                text("reason"),
                text("message")
            )
            .into();
        }
        Value::Object(fields) => {
            fields.retain(|name, _| name != "supportedFeatures");
            fields.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

fn gateway_files(
    key: &ObjectKey,
    generation: &Generation,
    keeps_all: bool,
) -> datatest_stable::Result<BTreeMap<PathBuf, String>> {
    let folder = PathBuf::from(&key.name);
    let mut files = BTreeMap::new();
    for (path, content) in &generation.config.files {
        if keeps_all || !CONSTANT.contains(&path.as_str()) {
            files.insert(folder.join(path), content.clone());
        }
    }
    let endpoints: BTreeMap<_, _> = generation
        .data
        .endpoints
        .iter()
        .map(|endpoints| (&endpoints.name, &endpoints.ports))
        .collect();
    if !endpoints.is_empty() {
        files.insert(
            folder.join("endpoints.yaml"),
            serde_saphyr::to_string(&endpoints)?,
        );
    }
    let legs = &generation.data.legs;
    if !legs.is_empty() {
        files.insert(folder.join("legs.yaml"), serde_saphyr::to_string(legs)?);
    }
    Ok(files)
}

/// The objects that run a gateway; those that are left out are as if the Gateway said nothing but its ports, and those
/// that may stay as they are have but their kind.
fn infra(key: &ObjectKey, infra: &GatewayInfra) -> datatest_stable::Result<String> {
    let cluster = cluster();
    let plain = GatewayInfra {
        ports: infra.ports.clone(),
        provisioning: Some(Provisioning::default()),
        ..GatewayInfra::default()
    };
    let plain = match key.name.as_str() {
        PLAIN => Vec::new(),
        _ => objects(key, &plain, &cluster),
    };
    let mut objects = objects(key, infra, &cluster);
    objects.retain(|object| !plain.contains(object));
    manifests(objects)
}

/// The objects that run an endpoint picker.
fn picker_infra(key: &ObjectKey, infra: &PickerInfra) -> datatest_stable::Result<String> {
    let certificate = ServingCertificate::default();
    manifests(picker_objects(key, infra, &certificate, &cluster()))
}

fn cluster() -> Cluster {
    Cluster {
        controller_name: Options::CONTROLLER_NAME.to_owned(),
        image: "flotilla.test/gateway:1".to_owned(),
        operator: "https://flotilla.flotilla-system.svc:9443".to_owned(),
        ..Cluster::default()
    }
}

/// Objects as YAML documents, without the marks of what was wanted.
fn manifests(objects: Vec<Object>) -> datatest_stable::Result<String> {
    let mut manifests = Vec::new();
    for object in objects {
        let mut manifest = object.manifest.unwrap_or(json!({"kind": object.kind.kind}));
        let annotations = manifest.pointer_mut("/metadata/annotations");
        if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
            annotations.remove("flotilla.dev/wanted");
        }
        manifests.push(serde_saphyr::to_string(&manifest)?);
    }
    Ok(manifests.join("---\n"))
}

/// Has the NGINX that `$NGINX` names test a configuration.
fn accepted_by_nginx(generation: &Generation) -> datatest_stable::Result<()> {
    let Some(nginx) = env::var_os("NGINX") else {
        return Ok(());
    };
    match nginx::refusal(Path::new(&nginx), generation)? {
        Some(refusal) => Err(refusal.into()),
        None => Ok(()),
    }
}

fn write(folder: &Path, files: &BTreeMap<PathBuf, String>) -> datatest_stable::Result<()> {
    for path in existing(folder)?.iter().filter(|path| !files.contains_key(*path)) {
        fs::remove_file(folder.join(path))?;
    }
    for (path, content) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("a file is in a folder"))?;
        fs::write(path, content)?;
    }
    Ok(())
}

fn compare(folder: &Path, files: &BTreeMap<PathBuf, String>) -> datatest_stable::Result<()> {
    let existing = existing(folder)?;
    let all: BTreeSet<&PathBuf> = files.keys().chain(&existing).collect();
    let mut differences = Vec::new();
    for path in all {
        let expected = fs::read_to_string(folder.join(path)).unwrap_or_default();
        let actual = files.get(path).cloned().unwrap_or_default();
        if expected != actual {
            let diff = SimpleDiff::from_str(&expected, &actual, "expected", "actual");
            differences.push(format!("{}\n{diff}\n", path.display()));
        }
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(differences.concat().into())
    }
}

/// Paths of the expected files of a case.
fn existing(folder: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != "in.yaml") {
                found.insert(
                    path.strip_prefix(folder)
                        .expect("an entry of the folder")
                        .to_path_buf(),
                );
            }
        }
    }
    Ok(found)
}
