//! Model servers behind a picker that the operator runs.

mod disruption;
mod obstacles;
mod picker;
mod replicas;
mod throughput;
mod verification;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    client::Request,
    inference::programs::{PICKER_IMAGE, Program},
    standalone::eventually,
    workspace,
};
use http_body_util::BodyExt as _;
use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::harness::{Gateway, Kind, Setting, alone, condition};

const POOL: Kind = Kind::new("inference.networking.k8s.io/v1", "InferencePool");
const PICKER: Kind = Kind::new("flotilla.dev/v1alpha1", "EndpointPicker");

/// Whether nodes have the images of picker and model server.
static LOADED: OnceCell<()> = OnceCell::const_new();

/// Model servers of which each asks for a GPU.
const SERVERS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: tide}
spec:
  replicas: 2
  selector: {matchLabels: {app: tide}}
  template:
    metadata: {labels: {app: tide}}
    spec:
      enableServiceLinks: false
      containers:
      - name: server
        image: flotilla.test/simulator:dev
        args: [--model=tide-1b, --port=8000, --force-dummy-tokenizer, --inter-token-latency=20ms]
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
        - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        readinessProbe: {httpGet: {path: /health, port: 8000}, periodSeconds: 1, timeoutSeconds: 5}
        resources: {limits: {nvidia.com/gpu: 1}}
";

/// What serves them.
const MANIFESTS: &str = "
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: tide}
spec:
  selector: {matchLabels: {app: tide}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: tide-picker, port: {number: 9002}}
---
apiVersion: flotilla.dev/v1alpha1
kind: EndpointPicker
metadata: {name: tide-picker}
# So little that pickers of several tests have room on two processors.
spec: {resources: {requests: {cpu: 50m, memory: 64Mi}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: tide}
spec:
  parentRefs: [{name: edge}]
  rules:
  - backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: tide}]
";

#[tokio::test]
async fn a_pool_with_a_picker_of_ours_streams_within_a_minute() -> Result<()> {
    alone("inference", async |setting: &Setting| {
        load_images(setting).await?;
        let started = Instant::now();
        setting.apply(SERVERS).await?;
        setting.apply(MANIFESTS).await?;
        let edge = setting.gateway("edge").await?;
        let pickers = setting.namespace(PICKER);
        let available = |picker: &Value| condition(&picker["status"], "Available")["status"] == "True";
        let picker = pickers.until("tide-picker", "it picks", available).await?;
        let events = eventually(async || stream(&edge).await).await?;
        let took = started.elapsed();
        println!(
            "{} events streamed {took:.1?} after the start of the apply",
            events.len()
        );
        assert!(took < Duration::from_mins(1), "{took:?}");
        assert!(events.len() > 2, "{events:?}");

        assert_eq!(picker["status"]["pools"], json!(["tide"]));
        let is_told = |pool: &Value| {
            let parent = &pool["status"]["parents"][0];
            ["Accepted", "ResolvedRefs"]
                .iter()
                .all(|told| condition(parent, told)["status"] == "True")
        };
        setting
            .namespace(POOL)
            .until("tide", "its gateway serves it", is_told)
            .await?;
        for (object, story) in [
            ("endpointpicker/tide-picker", "1 of 1 pods pick."),
            (
                "inferencepool/tide",
                "asked over TLS with a certificate that is verified.",
            ),
            ("httproute/tide", "All references lead to a backend."),
        ] {
            is_described(setting, object, story).await?;
        }
        Ok(())
    })
    .await
}

/// Waits until what is said of an object has these words.
async fn is_described(setting: &Setting, object: &str, words: &str) -> Result<()> {
    let own = format!("--namespace={}", setting.namespace);
    eventually(async || {
        let said = setting.cluster.kubectl(&[&own, "describe", object])?;
        ensure!(said.contains(words), "no {words:?} in {said}");
        Ok(())
    })
    .await
}

/// Gives nodes what picker and model servers run.
async fn load_images(setting: &Setting) -> Result<()> {
    let load = setting.in_background(|cluster| {
        let picker = Program::FullPicker.image()?.named(PICKER_IMAGE.to_owned());
        for image in [picker, Program::Simulator.image()?] {
            let archive = workspace::target().join("images/inference.tar");
            image.write(&archive)?;
            cluster.load(&archive)?;
        }
        Ok(())
    });
    LOADED.get_or_try_init(|| load).await?;
    Ok(())
}

/// Two model servers and a picker, which serve by way of the Gateway `edge`.
async fn served(setting: &Setting) -> Result<Gateway<'_>> {
    load_images(setting).await?;
    setting.apply(SERVERS).await?;
    setting.apply(MANIFESTS).await?;
    let edge = setting.gateway("edge").await?;
    setting.settled("tide").await?;
    eventually(async || {
        let answer = edge.http().send(completion(false, 1)).await?;
        ensure!(answer.status == 200, "{answer}");
        Ok(())
    })
    .await?;
    Ok(edge)
}

/// The question for a completion of so many words.
fn completion(stream: bool, words: usize) -> Request {
    let question = json!({
        "model": "tide-1b",
        "stream": stream,
        "max_tokens": words,
        "messages": [{"role": "user", "content": "When does the fleet leave the harbour?"}],
    });
    Request::new(Method::POST, "/v1/chat/completions")
        .host("tide.example")
        .header("content-type", "application/json")
        .body(question.to_string())
}

/// The events of a streamed completion, which end as they should.
async fn stream(edge: &Gateway<'_>) -> Result<Vec<String>> {
    let mut connection = edge.http().connect().await?;
    let response = connection.open(completion(true, 16)).await?;
    ensure!(response.status() == 200, "{response:?}");
    ensure!(response.headers().contains_key("x-inference-pod"), "{response:?}");
    let said = response
        .into_body()
        .collect()
        .await
        .context("the stream broke off")?;
    let said = String::from_utf8(said.to_bytes().into())?;
    let events: Vec<String> = said.split("\n\n").map(str::trim).map(str::to_owned).collect();
    ensure!(said.trim_end().ends_with("data: [DONE]"), "{said}");
    Ok(events)
}
