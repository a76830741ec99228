use std::{fs, path::Path};

use operator_core::{object::ObjectKey, snapshot::Snapshot};
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A folder with these files, read.
fn folder(files: &[(&str, &str)]) -> (TempDir, Folder) {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    let folder = Folder::open(directory.path()).unwrap();
    (directory, folder)
}

pub(super) fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: {value:?}}}\n")
}

fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: {port}}}]}}\n"
    )
}

/// What the folder's stores hold in the end.
fn snapshot(folder: &Folder) -> Snapshot {
    let mut api_server = ApiServer::default();
    api_server.replace(&folder.objects().manifests);
    api_server.stores().snapshot()
}

pub(super) fn names<K>(objects: &operator_core::snapshot::Objects<K>) -> Vec<String> {
    objects.keys().map(ToString::to_string).collect()
}

/// Problems as lines, with paths relative to the folder.
fn problems(directory: &Path, folder: &Folder) -> Vec<String> {
    let prefix = format!("{}/", directory.display());
    folder
        .objects()
        .problems
        .iter()
        .map(|problem| problem.to_string().replace(&prefix, ""))
        .collect()
}

/// The problems of one file with that content.
#[track_caller]
fn check(content: &str, expected: &[&str]) {
    let (directory, folder) = folder(&[("a.yaml", content)]);
    assert_eq!(problems(directory.path(), &folder), expected);
}

#[test]
fn objects_come_from_any_file_at_any_depth() {
    let (directory, mut folder) = folder(&[(
        "a.yaml",
        &format!("{}---\n{}", config_map("a", "1"), service("b", 80)),
    )]);
    fs::create_dir_all(directory.path().join("deep/er")).unwrap();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "shop"}},
    ]});
    fs::write(directory.path().join("deep/er/c.json"), list.to_string()).unwrap();
    folder.read();
    let snapshot = snapshot(&folder);
    assert_eq!(names(&snapshot.config_maps), ["default/a", "shop/c"]);
    assert_eq!(names(&snapshot.services), ["default/b"]);
    assert_eq!(names(&snapshot.namespaces), ["default", "shop"]);
}

#[test]
fn namespaces_have_their_name_as_label() {
    let (_directory, folder) = folder(&[(
        "a.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
    )]);
    let snapshot = snapshot(&folder);
    let labels = snapshot.namespaces[&ObjectKey::new("", "shop")]
        .metadata
        .labels
        .clone()
        .unwrap();
    assert_eq!(labels["kubernetes.io/metadata.name"], "shop");
}

#[test]
fn plain_text_of_secrets_is_encoded() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {x: eA==}\nstringData: {y: why}\n";
    let (_directory, folder) = folder(&[("a.yaml", secret)]);
    let snapshot = snapshot(&folder);
    let data = snapshot.secrets[&ObjectKey::new("default", "a")]
        .data
        .clone()
        .unwrap();
    assert_eq!((&data["x"].0[..], &data["y"].0[..]), (&b"x"[..], &b"why"[..]));
}

#[test]
fn older_versions_of_the_same_shape_are_read() {
    let route = |version: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/{version}\nkind: HTTPRoute\nmetadata: {{name: r}}\nspec: {{}}\n"
        )
    };
    check(&route("v1beta1"), &[]);
    check(
        &route("v2"),
        &[
            "a.yaml:1: HTTPRoute: version gateway.networking.k8s.io/v2 is not supported; use gateway.networking.k8s.io/v1",
        ],
    );
}

#[test]
fn kinds_of_a_cluster_that_are_not_read_need_no_words() {
    check(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n",
        &[],
    );
    check("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n", &[]);
}

#[test]
fn kinds_that_may_be_a_slip_are_reported() {
    check(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HttpRoute\nmetadata: {name: a}\n",
        &[
            "a.yaml:1: unknown kind gateway.networking.k8s.io/v1 HttpRoute; did you mean gateway.networking.k8s.io/v1 HTTPRoute?",
        ],
    );
    check(
        "\napiVersion: v1\nkind: Sevrice\n",
        &["a.yaml:2: unknown kind v1 Sevrice; it is left out"],
    );
    check(
        "apiVersion: example.com/v1\nkind: Shop\n",
        &["a.yaml:1: example.com/v1 Shop is not read"],
    );
    check(
        "just text\n",
        &["a.yaml:1: no Kubernetes object: apiVersion and kind are missing"],
    );
}

#[test]
fn names_that_an_api_server_refuses_are_left_out() {
    let content = format!("{}---\n{}", config_map("Bad_name", "1"), config_map("good", "1"));
    let (directory, folder) = folder(&[("a.yaml", &content)]);
    assert_eq!(names(&snapshot(&folder).config_maps), ["default/good"]);
    let problems = problems(directory.path(), &folder);
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].starts_with("a.yaml:1: ConfigMap: metadata.name \"Bad_name\" may only hold"),
        "{problems:?}"
    );
}

#[test]
fn names_that_yaml_takes_for_something_else_are_to_be_quoted() {
    let content = "{apiVersion: v1, kind: ConfigMap, metadata: {name: 7}}\n---\n\
                   {apiVersion: v1, kind: ConfigMap, metadata: {namespace: true, name: a}}\n---\n\
                   {apiVersion: v1, kind: ConfigMap, metadata: {}}\n";
    let expected = [
        "a.yaml:1: ConfigMap: metadata.name 7 is no text; put it in quotes",
        "a.yaml:3: ConfigMap a: metadata.namespace true is no text; put it in quotes",
        "a.yaml:5: ConfigMap: metadata.name is missing",
    ];
    check(content, &expected);
}

#[test]
fn the_first_of_two_objects_with_one_name_counts() {
    let (directory, folder) = folder(&[
        ("b.yaml", &config_map("a", "second")),
        ("a.yaml", &config_map("a", "first")),
    ]);
    let snapshot = snapshot(&folder);
    let data = snapshot.config_maps[&ObjectKey::new("default", "a")]
        .data
        .clone()
        .unwrap();
    assert_eq!(data["value"], "first");
    let message = format!(
        "b.yaml:1: ConfigMap default/a is already in {}:1; this one is left out",
        directory.path().join("a.yaml").display()
    );
    assert_eq!(
        folder.objects().problems[0].to_string(),
        format!("{}/{message}", directory.path().display())
    );
}

#[test]
fn a_file_that_does_not_parse_keeps_what_it_held() {
    let (directory, mut folder) = folder(&[(
        "a.yaml",
        &format!("{}---\n{}", config_map("a", "1"), config_map("b", "1")),
    )]);
    fs::write(
        directory.path().join("a.yaml"),
        format!("{}---\nb: [\n", config_map("a", "2")),
    )
    .unwrap();
    folder.read();
    let snapshot = snapshot(&folder);
    assert_eq!(names(&snapshot.config_maps), ["default/a", "default/b"]);
    let data = snapshot.config_maps[&ObjectKey::new("default", "a")]
        .data
        .clone()
        .unwrap();
    assert_eq!(data["value"], "2", "good documents of the file are taken");
    assert_eq!(
        problems(directory.path(), &folder),
        ["a.yaml:6: no YAML: unclosed bracket '['"]
    );
}

#[test]
fn an_object_whose_field_is_of_the_wrong_type_stays_as_it_was() {
    let (directory, mut folder) = folder(&[("a.yaml", &service("a", 80))]);
    fs::write(
        directory.path().join("a.yaml"),
        service("a", 80).replace("80", "eighty"),
    )
    .unwrap();
    folder.read();
    assert_eq!(names(&snapshot(&folder).services), ["default/a"]);
    let problems = problems(directory.path(), &folder);
    assert!(
        problems[0].starts_with("a.yaml:1: Service default/a: spec.ports[0].port: invalid type"),
        "{problems:?}"
    );
}

#[test]
fn bytes_that_are_no_text_are_a_problem() {
    let (directory, mut folder) = folder(&[("a.yaml", &config_map("a", "1"))]);
    fs::write(directory.path().join("a.yaml"), b"a: 1\nb: \xff\n").unwrap();
    folder.read();
    assert_eq!(
        problems(directory.path(), &folder),
        ["a.yaml:2: no YAML: the file is not UTF-8 text"]
    );
    assert_eq!(names(&snapshot(&folder).config_maps), ["default/a"]);
}

#[test]
fn a_folder_that_is_gone_keeps_what_it_held() {
    let (directory, mut folder) = folder(&[("a.yaml", &config_map("a", "1"))]);
    fs::rename(directory.path(), directory.path().with_extension("away")).unwrap();
    folder.read();
    assert_eq!(names(&snapshot(&folder).config_maps), ["default/a"]);
    assert_eq!(folder.objects().problems.len(), 1);
    fs::rename(directory.path().with_extension("away"), directory.path()).unwrap();
}

#[test]
fn generations_count_changes_of_the_spec_even_across_restarts() {
    let state = tempfile::tempdir().unwrap();
    let ledger = state.path().join("objects.json");
    let seen = |content: &str| {
        let (_directory, folder) = folder(&[("a.yaml", content)]);
        let mut api_server = ApiServer::new(Ledger::open(&ledger).unwrap());
        api_server.replace(&folder.objects().manifests);
        let metadata = api_server.stores().snapshot().services[&ObjectKey::new("default", "a")]
            .metadata
            .clone();
        (metadata.generation.unwrap(), metadata.creation_timestamp.unwrap())
    };
    let (first, created) = seen(&service("a", 80));
    assert_eq!(first, 1);
    let labelled = service("a", 80).replace("name: a", "name: a, labels: {x: z}");
    assert_eq!(seen(&labelled), (1, created.clone()));
    assert_eq!(seen(&service("a", 81)), (2, created));
}

#[test]
fn statuses_are_written_and_survive_an_edit() {
    let gateway = |port: u16| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: edge}}\nspec:\n  gatewayClassName: \
             flotilla\n  listeners: [{{name: http, port: {port}, protocol: HTTP}}]\nstatus: {{addresses: [{{value: \
             from-file}}]}}\n"
        )
    };
    let (directory, mut folder) = folder(&[("a.yaml", &gateway(80))]);
    let mut api_server = ApiServer::default();
    api_server.replace(&folder.objects().manifests);
    let id = ObjectId {
        kind: "Gateway",
        key: ObjectKey::new("default", "edge"),
    };
    let stored = |api_server: &ApiServer| api_server.stores().snapshot().gateways[&id.key].clone();
    let version = |api_server: &ApiServer| stored(api_server).metadata.resource_version.clone();
    assert_eq!(stored(&api_server).status, None, "a file's status is nobody's");

    let before = version(&api_server);
    let status = json!({"addresses": [{"value": "127.0.0.1"}]});
    api_server
        .write_status(&id, before.as_deref(), status.clone())
        .unwrap();
    assert_ne!(version(&api_server), before);
    assert_eq!(stored(&api_server).metadata.generation, Some(1));
    let conflict = api_server
        .write_status(&id, before.as_deref(), status)
        .unwrap_err();
    assert!(matches!(conflict, StatusError::Conflict(_)), "{conflict}");

    fs::write(directory.path().join("a.yaml"), gateway(81)).unwrap();
    folder.read();
    assert!(api_server.replace(&folder.objects().manifests));
    assert!(!api_server.replace(&folder.objects().manifests), "nothing is new");
    let gateway = stored(&api_server);
    assert_eq!(gateway.metadata.generation, Some(2));
    assert_eq!(gateway.status.as_ref().unwrap().addresses.len(), 1);
}

#[test]
fn a_pod_is_ready_unless_its_file_says_otherwise_and_has_the_address_that_its_file_has_now() {
    let pod = |name: &str, status: &str| {
        format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nstatus: {status}\n")
    };
    let (directory, mut folder) = folder(&[]);
    let mut api_server = ApiServer::default();
    let stores = api_server.stores();
    let mut statuses_of = |content: String| {
        fs::write(directory.path().join("a.yaml"), content).unwrap();
        folder.read();
        api_server.read(&folder);
        let pods = stores.snapshot().pods;
        pods.into_values()
            .map(|pod| json!(pod.status))
            .collect::<Vec<_>>()
    };
    let ready = |status: &str| json!([{"type": "Ready", "status": status}]);
    let unready = "{podIP: 127.0.0.2, conditions: [{type: Ready, status: 'False'}]}";
    assert_eq!(
        statuses_of([pod("a", "{podIP: 127.0.0.1}"), pod("b", unready)].concat()),
        [
            json!({"podIP": "127.0.0.1", "conditions": ready("True")}),
            json!({"podIP": "127.0.0.2", "conditions": ready("False")}),
        ]
    );
    assert_eq!(
        statuses_of(pod("a", "{podIP: 127.0.0.3}")),
        [json!({"podIP": "127.0.0.3", "conditions": ready("True")})]
    );
}
