//! The commands that need nothing running, as a shell sees them.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: flotilla}
spec: {controllerName: flotilla.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: flotilla
  listeners: [{name: http, port: 8080, protocol: HTTP}]
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {ports: [{port: 80}]}
";

fn route(service: &str, path: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shop}}
spec:
  parentRefs: [{{name: edge}}]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: {path}}}}}]
    backendRefs: [{{name: {service}, port: 80}}]
"
    )
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("tests have a folder for temporary files");
    for (name, content) in files {
        fs::write(folder.path().join(name), content).expect("a new folder takes files");
    }
    folder
}

fn flotilla(arguments: &[&str], folder: &Path) -> (String, Output) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flotilla"));
    let output = command
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("cargo built it");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output)
}

#[test]
fn check_finds_nothing_wrong_with_what_is_right() {
    let folder = folder(&[("gateway.yaml", GATEWAY), ("route.yaml", &route("shop", "/"))]);
    let (text, output) = flotilla(&["check", "."], folder.path());
    assert_eq!((text.as_str(), output.status.code()), ("", Some(0)));
}

#[test]
fn check_says_each_problem_with_its_place() {
    let bad = format!("# The shop.\n{}---\nkind: [\n", route("gone", "/"));
    let folder = folder(&[
        ("gateway.yaml", GATEWAY),
        ("route.yaml", &bad),
        ("values.yaml", "replicas: 3\n"),
    ]);
    let (text, output) = flotilla(&["check", "."], folder.path());
    assert_eq!(output.status.code(), Some(1));
    let lines = text.lines().collect::<Vec<_>>();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].starts_with(
            "./route.yaml:2: HTTPRoute default/shop: parent edge: ResolvedRefs=False reason BackendNotFound: "
        ),
        "{text}"
    );
    assert_eq!(lines[1], "./route.yaml:11: no YAML: unclosed bracket '['");
    let notes = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        notes,
        "note: ./values.yaml:1: no Kubernetes object: apiVersion and kind are missing\n"
    );
}

#[test]
fn check_of_a_folder_that_is_not_there_says_what_to_do() {
    let folder = folder(&[]);
    let (_, output) = flotilla(&["check", "gone"], folder.path());
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.starts_with("flotilla: cannot read gone; name a folder of Kubernetes objects"),
        "{message}"
    );
}

#[test]
fn render_writes_a_folder_for_each_gateway_and_replaces_only_its_own() {
    let folder = folder(&[("gateway.yaml", GATEWAY), ("route.yaml", &route("shop", "/"))]);
    let out = folder.path().join("out/default/edge");
    let render = || {
        flotilla(&["render", "gateway.yaml", "--out", "out"], folder.path())
            .1
            .status
            .success()
    };
    assert!(render());
    assert!(out.join("nginx.conf").exists());
    assert!(render());
    fs::remove_file(out.join("nginx.conf")).unwrap();
    assert!(!render(), "a folder that does not look like ours is left alone");
}

#[test]
fn diff_shows_what_changes_in_nginx() {
    let old = folder(&[("gateway.yaml", GATEWAY), ("route.yaml", &route("shop", "/old"))]);
    let new = folder(&[("gateway.yaml", GATEWAY), ("route.yaml", &route("shop", "/new"))]);
    let (text, output) = flotilla(&["diff", ".", new.path().to_str().unwrap()], old.path());
    assert!(output.status.success());
    assert!(
        text.contains("--- old/default/edge/servers/8080.conf\n+++ new/default/edge/servers/8080.conf\n"),
        "{text}"
    );
    let changed = |sign: char, path: &str| {
        text.lines()
            .any(|line| line.starts_with(sign) && line.contains(path))
    };
    assert!(changed('-', "/old") && changed('+', "/new"), "{text}");
    let (text, _) = flotilla(&["diff", ".", "."], old.path());
    assert_eq!(text, "");
}

#[test]
fn check_names_misspelt_fields() {
    let misspelt = route("shop", "/").replace("backendRefs", "backendRef");
    let folder = folder(&[("gateway.yaml", GATEWAY), ("route.yaml", &misspelt)]);
    let (text, status) = flotilla(&["check", "."], folder.path());
    assert!(
        text.contains("route.yaml:1: HTTPRoute default/shop: spec.rules.0.backendRef is not a field"),
        "{text}"
    );
    assert_eq!(status.status.code(), Some(1));
}

#[test]
fn check_says_what_it_cannot_check() {
    let folder = folder(&[("route.yaml", &route("shop", "/"))]);
    let (text, output) = flotilla(&["check", "."], folder.path());
    assert_eq!(text, "");
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(
        notes.contains("HTTPRoute default/shop: not checked, as Gateway default/edge is not in the folder"),
        "{notes}"
    );
}

#[test]
fn explain_names_the_routes_of_other_hosts() {
    let elsewhere = route("shop", "/").replace("  rules:", "  hostnames: [b.example.com]\n  rules:");
    let folder = folder(&[("gateway.yaml", GATEWAY), ("route.yaml", &elsewhere)]);
    let request = ["explain", ".", "--request", "GET http://a.example.com:8080/"];
    let (text, _) = flotilla(&request, folder.path());
    assert!(text.contains("no: it serves b.example.com only"), "{text}");
}

#[test]
fn explain_names_the_rule() {
    let folder = folder(&[("gateway.yaml", GATEWAY), ("route.yaml", &route("shop", "/cart"))]);
    let request = [
        "explain",
        ".",
        "--request",
        "GET http://a.example.com:8080/cart",
        "-H",
        "accept: text/html",
    ];
    let (text, _) = flotilla(&request, folder.path());
    assert!(
        text.contains("Gateway default/edge") && text.contains("HTTPRoute default/shop"),
        "{text}"
    );
    let (text, _) = flotilla(
        &["explain", ".", "--request", "GET http://a.example.com/"],
        folder.path(),
    );
    assert!(
        text.starts_with("no gateway listens for http on port 80"),
        "{text}"
    );
}

const POOL: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: chat}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: llama}]}]
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: llama}
spec:
  selector: {matchLabels: {app: llama}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: picker, port: {number: 9002}}
---
apiVersion: v1
kind: Pod
metadata: {name: llama-1, labels: {app: llama}}
spec: {containers: [{name: vllm}]}
status: {podIP: 198.18.0.1}
";

#[test]
fn check_says_what_is_wrong_with_a_pools_picker() {
    let folder = folder(&[("gateway.yaml", GATEWAY), ("pool.yaml", POOL)]);
    let (text, output) = flotilla(&["check", "."], folder.path());
    assert_eq!(
        (text.as_str(), output.status.code()),
        (
            "./pool.yaml:9: InferencePool default/llama: parent default/edge: ResolvedRefs=False reason \
             InvalidExtensionRef: spec.endpointPickerRef.name: Service default/picker does not exist. Requests are \
             answered with 503.\n",
            Some(1)
        )
    );
}

#[test]
fn explain_names_the_pool_and_who_chooses() {
    let folder = folder(&[("gateway.yaml", GATEWAY), ("pool.yaml", POOL)]);
    let request = ["explain", ".", "--request", "GET http://a.example.com:8080/"];
    let (text, _) = flotilla(&request, folder.path());
    let chosen = "1 of 1 to InferencePool default/llama, to the endpoint that Service default/picker port 9002 picks; \
                  503 while that fails";
    assert!(text.trim_end().ends_with(chosen), "{text}");
}

#[test]
fn crds_are_definitions() {
    let (text, _) = flotilla(&["crds"], Path::new("."));
    assert!(
        text.starts_with("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"),
        "{text}"
    );
}
