//! The inference extension's own picker, with model servers that it scrapes.

use std::{
    cell::Cell,
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use e2e::{
    client::{Answer, Request, Target},
    inference::{
        api_server::ApiServer,
        full_picker::{self, BY_HEADER, BY_LOAD, BY_PREFIX, FullPicker},
        holdings::proxy_metrics,
        manifests,
        model_server::{MODEL, ModelServer, Pace, SERVED_BY},
        served_pool::HOST,
    },
    loopback::Loopback,
    manifests::EDGE,
    network,
    standalone::{Standalone, eventually},
};
use futures::future::try_join_all;
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::json;

/// Where the picker listens, in the test's own network.
const PICKER_PORT: u16 = 9002;

/// Slow enough that requests are there when the picker looks.
const SLOW: Pace = Pace {
    first: Duration::from_millis(20),
    next: Duration::from_millis(20),
    slots: 4,
};

/// Two model servers, called a and b, behind a gateway that asks the real picker.
struct Models {
    edge: Target,
    servers: Vec<ModelServer>,
    picker: FullPicker,
    api_server: ApiServer,
    standalone: Standalone,
}

impl Models {
    async fn start(configuration: &str, tls: bool) -> Result<Self> {
        let loopback = Loopback::lease()?;
        let api_server = ApiServer::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        api_server.apply(full_picker::pool("models", &[8000]));
        let addresses = [100, 101].map(|host| loopback.address(host));
        let mut servers = Vec::new();
        for (name, address) in ["a", "b"].into_iter().zip(addresses) {
            servers.push(ModelServer::start(name, (address, 8000).into(), SLOW).await?);
            api_server.apply(full_picker::pod(name, "models", address));
        }
        let picker = if tls {
            FullPicker::start_tls(&api_server, "models", PICKER_PORT, configuration).await?
        } else {
            FullPicker::start(&api_server, "models", PICKER_PORT, configuration).await?
        };
        let at = picker.at(loopback.address(200));
        let yaml = [
            EDGE.to_owned(),
            manifests::route_to(HOST, "models"),
            manifests::picked_pool("models", 8000, "picker", "FailClose"),
            manifests::pods("models", &addresses),
            if tls {
                manifests::picker_with_tls("picker", at)
            } else {
                manifests::picker("picker", at)
            },
        ];
        let standalone = Standalone::start_with(loopback, &[("all.yaml", &yaml.join("---\n"))]).await?;
        let edge = standalone.edge().await?;
        let models = Self {
            edge,
            servers,
            picker,
            api_server,
            standalone,
        };
        eventually(async || {
            let answer = models.edge.get(HOST, "/v1/models").await?;
            ensure!(answer.status == 200, "{answer}; {}", models.picker.log());
            Ok(())
        })
        .await?;
        Ok(models)
    }

    async fn chat(&self, request: Request) -> Result<Answer> {
        self.edge.send(request).await
    }

    /// Who serves each of so many requests, one after the other.
    async fn served(&self, count: usize, request: impl Fn() -> Request) -> Result<BTreeMap<String, usize>> {
        let mut served = BTreeMap::new();
        for _ in 0..count {
            let answer = self.chat(request()).await?;
            ensure!(answer.status == 200, "{answer}");
            *served.entry(answer.header(SERVED_BY).to_owned()).or_default() += 1;
        }
        Ok(served)
    }
}

fn chat(prompt: &str, stream: bool, tokens: usize) -> Request {
    let body = json!({
        "model": MODEL, "stream": stream, "max_tokens": tokens,
        "messages": [{ "role": "user", "content": prompt }],
    });
    Request::new(Method::POST, "/v1/chat/completions")
        .host(HOST)
        .header("content-type", "application/json")
        .body(body.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_are_served_streamed_and_whole() -> Result<()> {
    if !network::is_own("real_picker::conversations_are_served_streamed_and_whole")? {
        return Ok(());
    }
    // Its certificate has no name and no issuer, and nobody says that it is to be verified.
    for tls in [true, false] {
        let models = Models::start(BY_LOAD, tls).await?;
        let answer = models.chat(chat("hello", false, 5)).await?;
        let said: serde_json::Value =
            serde_json::from_slice(&answer.body).with_context(|| answer.to_string())?;
        assert_eq!(said["usage"]["completion_tokens"], 5, "{said}");
        assert_eq!(answer.header("x-went-into-resp-headers"), "true", "{answer}");

        let mut connection = models.edge.connect().await?;
        let response = connection.open(chat("hello", true, 8)).await?;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut body = response.into_body();
        let (mut frames, mut text) = (0, String::new());
        while let Some(frame) = body.frame().await {
            frames += 1;
            text.push_str(&String::from_utf8_lossy(&frame?.into_data().unwrap_or_default()));
        }
        // Words that a busy machine reads late come together.
        assert!(frames > 1, "8 words came at once");
        assert_eq!(text.matches("\"content\"").count(), 8, "{text}");
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");

        // One token of a prompt each, and the words of both answers.
        let model = format!("gen_ai_response_model=\"{MODEL}\"");
        for figure in [
            format!("gen_ai_client_token_usage_sum{{{model},gen_ai_token_type=\"input\"}} 2.0\n"),
            format!("gen_ai_client_token_usage_sum{{{model},gen_ai_token_type=\"output\"}} 13.0\n"),
            format!("gen_ai_server_time_to_first_token_seconds_count{{{model}}} 1\n"),
            format!("gen_ai_server_time_per_output_token_seconds_count{{{model}}} 1\n"),
        ] {
            eventually(async || {
                let counted = proxy_metrics(&models.standalone).await?;
                ensure!(counted.contains(&figure), "no {figure} in {counted}");
                Ok(())
            })
            .await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_follows_the_picker() -> Result<()> {
    if !network::is_own("real_picker::load_follows_the_picker")? {
        return Ok(());
    }
    let models = Models::start(BY_LOAD, true).await?;
    let idle = models.served(20, || chat("hello", false, 1)).await?;
    println!("both idle: {idle:?}");
    assert_eq!(idle.len(), 2, "one of two idle servers got nothing: {idle:?}");
    for (loaded, free) in [(0, "b"), (1, "a")] {
        // Behind the gateway's back, so that there is a queue at one of them.
        let direct = Target::http(models.servers[loaded].address());
        let queue = try_join_all((0..12).map(async |_| {
            let mut connection = direct.connect().await?;
            anyhow::Ok(tokio::spawn(async move {
                connection
                    .open(chat("long", true, 100_000))
                    .await
                    .map(|open| (open, connection))
            }))
        }))
        .await?;
        eventually(async || {
            let server = &models.servers[loaded];
            ensure!((server.running(), server.waiting()) == (4, 8), "no queue yet");
            Ok(())
        })
        .await?;
        // The picker looks every 50 ms.
        eventually(async || {
            let served = models.served(3, || chat("hello", true, 1)).await?;
            ensure!(served.get(free) == Some(&3), "{served:?}");
            Ok(())
        })
        .await?;
        for stream in [true, false] {
            let served = models.served(15, || chat("hello", stream, 1)).await?;
            assert_eq!(
                served,
                BTreeMap::from([(free.to_owned(), 15)]),
                "stream: {stream}"
            );
        }
        for client in queue {
            client.abort();
            drop(client.await);
        }
        eventually(async || {
            let server = &models.servers[loaded];
            ensure!(
                (server.running(), server.waiting()) == (0, 0),
                "there is a queue still"
            );
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_prefixes_go_to_one_pod() -> Result<()> {
    if !network::is_own("real_picker::equal_prefixes_go_to_one_pod")? {
        return Ok(());
    }
    let models = Models::start(BY_PREFIX, false).await?;
    let mut torn = Vec::new();
    for conversation in 0..6 {
        let prefix = format!("conversation {conversation} ").repeat(200);
        let served = models
            .served(8, || chat(&format!("{prefix} and on"), false, 1))
            .await?;
        torn.extend((served.len() > 1).then_some((conversation, served)));
    }
    // The picker notes who knows a prefix in its own time, which may be after the second request of a conversation.
    assert!(torn.len() <= 1, "{torn:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_a_request_names_are_obeyed_and_none_is_a_refusal() -> Result<()> {
    if !network::is_own("real_picker::endpoints_that_a_request_names_are_obeyed_and_none_is_a_refusal")? {
        return Ok(());
    }
    let models = Models::start(BY_HEADER, true).await?;
    for (server, name) in models.servers.iter().zip(["a", "b"]) {
        let ip = server.address().ip().to_string();
        for selection in [ip, server.address().to_string()] {
            let served = models
                .served(5, || {
                    chat("hello", false, 1).header("test-epp-endpoint-selection", &selection)
                })
                .await?;
            assert_eq!(served, BTreeMap::from([(name.to_owned(), 5)]), "{selection}");
        }
    }
    let selection = models.servers[0].address().ip().to_string();
    let answer = models
        .chat(chat("hello", false, 1).header("test-epp-endpoint-selection", &selection))
        .await?;
    assert_eq!(
        answer.header("x-conformance-test-served-endpoint"),
        models.servers[0].address().to_string(),
        "{answer}"
    );
    let refused = models.chat(chat("hello", false, 1)).await?;
    assert_eq!(refused.status, 429, "{refused}");
    assert!(!refused.body.is_empty(), "the picker's words are lost");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_that_the_picker_cannot_read_is_refused_in_its_words() -> Result<()> {
    if !network::is_own("real_picker::request_that_the_picker_cannot_read_is_refused_in_its_words")? {
        return Ok(());
    }
    let models = Models::start(BY_LOAD, false).await?;
    let request = Request::new(Method::POST, "/v1/chat/completions").host(HOST);
    let refused = models.chat(request.body("{ no JSON")).await?;
    assert_eq!(refused.status, 400, "{refused}");
    assert!(!refused.body.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_pod_that_the_picker_still_chooses_costs_no_request() -> Result<()> {
    if !network::is_own("real_picker::dead_pod_that_the_picker_still_chooses_costs_no_request")? {
        return Ok(());
    }
    let mut models = Models::start(BY_LOAD, false).await?;
    drop(models.servers.remove(0));
    let served = models.served(30, || chat("hello", false, 1)).await?;
    assert_eq!(served, BTreeMap::from([("b".to_owned(), 30)]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn picker_that_knows_more_pods_than_the_gateway_chooses_from_those_of_the_gateway() -> Result<()> {
    if !network::is_own(
        "real_picker::picker_that_knows_more_pods_than_the_gateway_chooses_from_those_of_the_gateway",
    )? {
        return Ok(());
    }
    // It names one endpoint and no second one.
    let models = Models::start(BY_PREFIX, false).await?;
    let address = models.standalone.loopback().address(102);
    let stranger = ModelServer::start("stranger", (address, 8000).into(), SLOW).await?;
    models
        .api_server
        .apply(full_picker::pod("stranger", "models", address));
    let metrics = Target::http(models.picker.metrics(Ipv4Addr::LOCALHOST));
    eventually(async || {
        let text = metrics.get("picker", "/metrics").await?;
        let known = "inference_pool_ready_pods{name=\"models\"} 3";
        ensure!(String::from_utf8_lossy(&text.body).contains(known), "{text}");
        Ok(())
    })
    .await?;
    // Each with a prefix of its own: a third of them is for the stranger.
    let prompts = Cell::new(0);
    let served = models
        .served(40, || {
            prompts.set(prompts.get() + 1);
            chat(&format!("{} conversation ", prompts.get()).repeat(100), false, 1)
        })
        .await?;
    assert!(
        served.keys().all(|name| ["a", "b"].contains(&name.as_str())),
        "{served:?}"
    );
    drop(stranger);
    Ok(())
}
