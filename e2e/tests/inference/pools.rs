//! Several pools, pools with Services, pools without a picker, and what else pools can speak.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Instant};

use anyhow::{Context, Result, ensure};
use e2e::{
    client::{Protocol, Request, Target},
    echo::Echo,
    inference::{
        holdings::proxy_metrics,
        manifests::{self, backend, picked_by},
        model_server::{MODEL, ModelServer, Pace},
        picker::{Exchange, Picker},
        served_pool::{HOST, Options, ServedPool},
    },
    loopback::Loopback,
    manifests::{EDGE, route, service},
    standalone::{Standalone, eventually},
};
use futures::{
    SinkExt, StreamExt,
    future::{join_all, try_join_all},
};
use hyper::Method;
use proto::envoy::service::ext_proc::v3::{
    HttpHeaders, ProcessingRequest, external_processor_client::ExternalProcessorClient,
    processing_request::Request as Part,
};
use tokio::net::TcpStream;
use tokio_tungstenite::{client_async, tungstenite::Message};
use tonic::{Code, Status};

/// A pool whose endpoints are pods at one address with several ports.
const PORTS: [u16; 3] = [8000, 8002, 8004];

#[tokio::test]
async fn each_pool_of_a_rule_is_asked_at_its_own_picker() -> Result<()> {
    let loopback = Loopback::lease()?;
    let (mut pods, mut pickers) = (Vec::new(), Vec::new());
    let mut yaml = vec![EDGE.to_owned()];
    for (name, host) in [("one", 100), ("two", 110)] {
        let pod = loopback.socket(host, 8000);
        pods.push(Echo::start(name, pod).await?);
        let picker = Picker::choosing(loopback.socket(host + 100, 9002), &pod.to_string()).await?;
        let picker_name = format!("picker-{name}");
        yaml.extend([
            manifests::picked_pool(name, 8000, &picker_name, "FailClose"),
            manifests::pods(name, &[loopback.address(host)]),
            manifests::picker(&picker_name, picker.address()),
        ]);
        pickers.push(picker);
    }
    let weighted = |name: &str, weight: u8| backend(name).replace(" }", &format!(", weight: {weight} }}"));
    let (one, two) = (weighted("one", 7), weighted("two", 3));
    let shop = loopback.socket(120, 3000);
    let _shop = Echo::start("shop", shop).await?;
    let rules = format!(
        "rules: [{{ matches: [{{ path: {{ value: /mixed }} }}], backendRefs: [{one}, {{ name: shop, port: 80, weight: 3 }}] }}, \
         {{ backendRefs: [{one}, {two}] }}]"
    );
    yaml.extend([route("models", &rules), service("shop", &[shop])]);
    let standalone = Standalone::start_with(loopback, &[("all.yaml", &yaml.join("---\n"))]).await?;
    let edge = standalone.edge().await?;
    eventually(async || edge.get(HOST, "/").await?.seen()).await?;

    for (path, other) in [("/", "two"), ("/mixed", "shop")] {
        let before = pickers.iter().map(Picker::begun).collect::<Vec<_>>();
        let answers = join_all((0..10).map(async |_| {
            let mut served = Vec::new();
            for _ in 0..30 {
                let request = Request::new(Method::POST, path).host(HOST).body("{}");
                served.push(edge.send(request).await?.seen()?.backend);
            }
            anyhow::Ok(served)
        }));
        let mut counts = BTreeMap::<String, usize>::new();
        for answer in answers.await {
            for backend in answer? {
                *counts.entry(backend).or_default() += 1;
            }
        }
        let of = |name: &str| counts.get(name).copied().unwrap_or_default();
        assert_eq!(of("one") + of(other), 300, "{counts:?}");
        // Counts beyond these bounds, 4.4 standard deviations away, happen once in 90,000 runs.
        assert!((175..=245).contains(&of("one")), "not 70 to 30: {counts:?}");
        assert_eq!(pickers[0].begun() - before[0], of("one"));
        assert_eq!(pickers[1].begun() - before[1], of("two"));
    }
    Ok(())
}

/// A gateway to a pool of pods with these last octets.
async fn without_picker(loopback: Loopback, pods: &[u8]) -> Result<(Standalone, Target)> {
    let addresses: Vec<Ipv4Addr> = pods.iter().map(|host| loopback.address(*host)).collect();
    let yaml = [
        EDGE.to_owned(),
        manifests::route_to(HOST, "models"),
        manifests::pool("models", "targetPorts: [{ number: 8000 }]"),
        manifests::pods("models", &addresses),
    ];
    let standalone = Standalone::start_with(loopback, &[("all.yaml", &yaml.join("---\n"))]).await?;
    let edge = standalone.edge().await?;
    Ok((standalone, edge))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_a_pool_without_picker_are_counted() -> Result<()> {
    let loopback = Loopback::lease()?;
    let _server = ModelServer::start("server", loopback.socket(100, 8000), Pace::INSTANT).await?;
    let (standalone, edge) = without_picker(loopback, &[100]).await?;
    let body = format!(r#"{{"model":"{MODEL}","prompt":"hello","max_tokens":5}}"#);
    eventually(async || {
        let completion = Request::new(Method::POST, "/v1/completions").host(HOST);
        let answer = edge.send(completion.body(body.clone())).await?;
        ensure!(answer.status == 200, "{answer}");
        Ok(())
    })
    .await?;
    let figure = format!(
        "gen_ai_client_token_usage_sum{{gen_ai_response_model=\"{MODEL}\",gen_ai_token_type=\"output\"}} 5.0\n"
    );
    eventually(async || {
        let counted = proxy_metrics(&standalone).await?;
        ensure!(counted.contains(&figure), "no {figure} in {counted}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_without_picker_is_balanced_by_requests_in_flight() -> Result<()> {
    let loopback = Loopback::lease()?;
    let pods = try_join_all(
        [100, 101].map(async |host| Echo::start(&format!("pod-{host}"), loopback.socket(host, 8000)).await),
    )
    .await?;
    let (_standalone, edge) = without_picker(loopback, &[100, 101]).await?;
    eventually(async || edge.get(HOST, "/").await?.seen()).await?;
    // Of eight that have no end, four are at each.
    let mut endless = Vec::new();
    for _ in 0..8 {
        let mut connection = edge.connect().await?;
        let request = Request::get("/endless?stream=1000000").host(HOST);
        endless.push((connection.open(request).await?, connection));
    }
    let counts: Vec<usize> = pods.iter().map(|pod| pod.count("/endless")).collect();
    assert_eq!(counts, [4, 4]);
    Ok(())
}

#[tokio::test]
async fn every_port_of_a_pod_is_an_endpoint() -> Result<()> {
    let pool = ServedPool::start().await?;
    let ip = pool.pod(0).ip();
    let more = try_join_all(
        PORTS[1..]
            .iter()
            .map(|port| Echo::start("more", (ip, *port).into())),
    )
    .await?;
    let ports: Vec<String> = PORTS.iter().map(|port| format!("{{ number: {port} }}")).collect();
    let spec = format!(
        "targetPorts: [{}], {}",
        ports.join(", "),
        picked_by("picker", "FailClose")
    );
    pool.standalone
        .apply("pool.yaml", &manifests::pool("models", &spec))?;
    for port in PORTS {
        pool.picker.choose(&format!("{ip}:{port}"));
        eventually(async || {
            let answer = pool.get("/").await?;
            answer.seen().with_context(|| format!("port {port}"))
        })
        .await?;
    }
    assert!(more.iter().all(|pod| pod.count("/") > 0));
    Ok(())
}

#[tokio::test]
async fn pods_come_and_go_without_a_reload() -> Result<()> {
    let pool = ServedPool::start().await?;
    let workers = pool.standalone.workers();
    let third = pool.pod(2);
    let _third = Echo::start("pod-2", third).await?;
    let ips = |numbers: &[u8]| {
        let hosts = numbers
            .iter()
            .map(|number| pool.standalone.loopback().address(100 + number));
        manifests::pods("models", &hosts.collect::<Vec<_>>())
    };
    pool.picker.choose(&third.to_string());
    assert_eq!(pool.get("/").await?.status, 503, "it is no pod of the pool yet");
    pool.standalone.apply("pods.yaml", &ips(&[0, 1, 2]))?;
    let changed = Instant::now();
    eventually(async || pool.get("/").await?.seen()).await?;
    println!("a new pod served after {:.0?}", changed.elapsed());
    pool.standalone.apply("pods.yaml", &ips(&[0, 1]))?;
    eventually(async || {
        ensure!(pool.get("/").await?.status == 503, "the pod serves still");
        Ok(())
    })
    .await?;
    assert_eq!(pool.standalone.workers(), workers, "NGINX was reloaded");
    Ok(())
}

#[tokio::test]
async fn pods_of_http2_get_requests_in_it() -> Result<()> {
    let pool = ServedPool::with(Options {
        app_protocol: "kubernetes.io/h2c",
        ..Options::default()
    })
    .await?;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let request = Request::new(Method::POST, "/").host(HOST).body("body");
        let seen = pool.edge.clone().protocol(protocol).send(request).await?.seen()?;
        assert_eq!((seen.proto.as_str(), seen.body), ("HTTP/2.0", 4), "{protocol:?}");
    }
    Ok(())
}

#[tokio::test]
async fn grpc_reaches_pods_with_its_messages_and_trailers() -> Result<()> {
    // The gRPC service that a test has at hand is a picker; here it stands for a pod.
    let mut pool = ServedPool::with(Options {
        app_protocol: "kubernetes.io/h2c",
        ..Options::default()
    })
    .await?;
    let address = pool.pod(0);
    drop(pool.pods.remove(0));
    let echo = async |mut exchange: Exchange| {
        let mut messages = 0;
        while exchange.next().await?.is_some() {
            messages += 1;
            exchange.pass_headers().await?;
        }
        Err(Status::failed_precondition(format!("{messages} messages")))
    };
    let _pod = eventually(async || Picker::start(address, echo).await).await?;
    pool.picker.choose(&address.to_string());
    let gateway = pool.standalone.gateway("default", "edge", 8080).await?;
    let origin = format!("http://{HOST}").parse()?;
    let channel = tonic::transport::Endpoint::try_from(format!("http://{gateway}"))?
        .origin(origin)
        .connect()
        .await?;
    let mut client = ExternalProcessorClient::new(channel);
    let message = |_| ProcessingRequest {
        request: Some(Part::RequestHeaders(HttpHeaders::default())),
        ..ProcessingRequest::default()
    };
    let messages = futures::stream::iter(0..3).map(message);
    let mut answers = client.process(messages).await?.into_inner();
    let mut count = 0;
    let status = loop {
        match answers.message().await {
            Ok(Some(_)) => count += 1,
            Ok(None) => panic!("the status is lost"),
            Err(status) => break status,
        }
    };
    assert_eq!(
        (count, status.code(), status.message()),
        (3, Code::FailedPrecondition, "3 messages")
    );
    Ok(())
}

#[tokio::test]
async fn web_sockets_reach_the_pod_that_the_picker_chose() -> Result<()> {
    let pool = ServedPool::start().await?;
    pool.picker.choose(&pool.pod(1).to_string());
    let gateway = pool.standalone.gateway("default", "edge", 8080).await?;
    let stream = TcpStream::connect(gateway).await?;
    let (mut socket, _) = client_async(format!("ws://{HOST}/chat"), stream).await?;
    for text in ["hello", "again"] {
        socket.send(Message::text(text)).await?;
        let echoed = socket.next().await.context("the socket is open")??;
        assert_eq!(echoed, Message::text(text));
    }
    assert_eq!(pool.pods[1].count("/chat"), 1);
    Ok(())
}

#[tokio::test]
async fn missing_picker_service_is_said_on_the_pool_and_not_on_the_route() -> Result<()> {
    let pool = ServedPool::start().await?;
    pool.standalone.delete("picker.yaml")?;
    let condition = pool
        .standalone
        .condition(("InferencePool", "default", "models"), "ResolvedRefs", "False")
        .await?;
    assert_eq!(condition.reason, "InvalidExtensionRef", "{condition:?}");
    let route = ("HTTPRoute", "default", "models");
    pool.standalone.condition(route, "ResolvedRefs", "True").await?;
    eventually(async || {
        let status = pool.get("/").await?.status;
        ensure!(status.is_server_error(), "{status}");
        Ok(())
    })
    .await
}
