//! The keys, certificates and kubeconfigs of the node.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use rcgen::KeyPair;

use crate::{
    certificates::{Authority, Certificate},
    workspace::fresh,
};

/// What the API server and the kubelet are called beside what their node is: loopback, and the Service `kubernetes`.
const NAMES: [&str; 5] = [
    "127.0.0.1",
    "198.19.0.1",
    "localhost",
    "kubernetes.default",
    "kubernetes.default.svc",
];

/// Who gets a kubeconfig: the name of the file, the user and a group.
///
/// The users with the name `system:` have their rights from the API server's own bindings.
const USERS: [(&str, &str, &str); 5] = [
    ("admin", "admin", "system:masters"),
    ("kubelet", "system:node:node", "system:nodes"),
    ("kube-proxy", "system:kube-proxy", "flotilla"),
    ("kube-scheduler", "system:kube-scheduler", "flotilla"),
    (
        "kube-controller-manager",
        "system:kube-controller-manager",
        "flotilla",
    ),
];

/// Writes all of it anew, for a node with this name and address.
pub(super) fn write(folder: &Path, node: [&str; 2]) -> Result<()> {
    fresh(folder)?;
    let names: Vec<&str> = node.into_iter().chain(NAMES).collect();
    let authority = Authority::new("cluster");
    write_file(folder, "ca.crt", &authority.certificate)?;
    write_pair(folder, "apiserver", &authority.issue(&names))?;
    write_pair(folder, "kubelet-server", &authority.issue(&names))?;
    let api_server_as_client = authority.issue_to_user("kube-apiserver", "system:masters");
    write_pair(folder, "apiserver-kubelet", &api_server_as_client)?;

    // What the API server shows to API servers that extend it; they trust this authority alone.
    let front = Authority::new("front-proxy");
    write_file(folder, "front-ca.crt", &front.certificate)?;
    let front_client = front.issue_to_user("front-proxy-client", "flotilla");
    write_pair(folder, "front-client", &front_client)?;

    let service_accounts = KeyPair::generate().context("cannot make a key")?;
    write_file(folder, "sa.key", &service_accounts.serialize_pem())?;
    write_file(folder, "sa.pub", &service_accounts.public_key_pem())?;

    for (file, user, group) in USERS {
        let client = authority.issue_to_user(user, group);
        write_pair(folder, file, &client)?;
        write_file(folder, &format!("{file}.kubeconfig"), &kubeconfig(folder, file))?;
    }
    Ok(())
}

/// A kubeconfig that names the files beside it; their paths hold inside and outside of the node's mounts.
fn kubeconfig(folder: &Path, user: &str) -> String {
    let folder = folder.display();
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         current-context: flotilla\n\
         contexts: [{{ name: flotilla, context: {{ cluster: flotilla, user: {user} }} }}]\n\
         clusters:\n\
         - name: flotilla\n  cluster: {{ server: 'https://127.0.0.1:6443', certificate-authority: {folder}/ca.crt }}\n\
         users:\n\
         - name: {user}\n  user: {{ client-certificate: {folder}/{user}.crt, client-key: {folder}/{user}.key }}\n"
    )
}

fn write_pair(folder: &Path, name: &str, pair: &Certificate) -> Result<()> {
    write_file(folder, &format!("{name}.crt"), &pair.certificate)?;
    write_file(folder, &format!("{name}.key"), &pair.key)
}

fn write_file(folder: &Path, name: &str, contents: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, contents).with_context(|| format!("cannot write {}", path.display()))
}
