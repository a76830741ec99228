//! Edits of manifests while traffic flows.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{
    client::{Connection, Request},
    echo::Echo,
    environment::limit,
    load::Load,
    manifests::{EDGE, route, route_to, service},
    standalone::{Standalone, eventually},
};

/// A route whose only host is redirected to another, so that no backend is needed to see it.
fn redirect(name: &str, to: &str) -> String {
    let filter = format!("filters: [{{ type: RequestRedirect, requestRedirect: {{ hostname: {to} }} }}]");
    route(
        name,
        &format!("hostnames: [{name}.example], rules: [{{ {filter} }}]"),
    )
}

/// Waits until a host is redirected to another, and says how long that took.
async fn redirected(connection: &mut Connection, host: &str, to: &str) -> Result<Duration> {
    let started = Instant::now();
    eventually(async || {
        let answer = connection.send(Request::get("/").host(host)).await?;
        ensure!(answer.header("location").contains(to), "{answer}");
        Ok(())
    })
    .await?;
    Ok(started.elapsed())
}

/// A gateway with a hundred routes, a manifest each, and one to a backend.
async fn hundred_routes() -> Result<(Standalone, Echo)> {
    let files: Vec<(String, String)> = (0..100)
        .map(|number| {
            (
                format!("route-{number}.yaml"),
                redirect(&format!("host-{number}"), "first.example"),
            )
        })
        .chain([
            ("edge.yaml".to_owned(), EDGE.to_owned()),
            ("steady.yaml".to_owned(), route_to("steady.example", "steady")),
        ])
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(file, yaml)| (file.as_str(), yaml.as_str()))
        .collect();
    let standalone = Standalone::start(&files).await?;
    let backend = standalone.backend("steady", 100).await?;
    let edge = standalone.edge().await?;
    eventually(async || edge.get("steady.example", "/").await?.seen()).await?;
    Ok((standalone, backend))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_are_served_within_half_a_second() -> Result<()> {
    let (standalone, _backend) = hundred_routes().await?;
    let edge = standalone.edge().await?;
    let mut times = Vec::new();
    for number in 0..11 {
        let name = format!("host-{number}");
        standalone.apply(
            &format!("route-{number}.yaml"),
            &redirect(&name, "second.example"),
        )?;
        // A connection each: workers that end keep theirs for a while, and would answer as before.
        let started = Instant::now();
        eventually(async || {
            let answer = edge.get(&format!("{name}.example"), "/").await?;
            ensure!(answer.header("location").contains("second.example"), "{answer}");
            Ok(())
        })
        .await?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    println!("edits were served after {times:.0?}");
    let median = times[times.len() / 2];
    assert!(median < limit(Duration::from_millis(500)), "{times:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_routes_change() -> Result<()> {
    let (standalone, _backend) = hundred_routes().await?;
    let edge = standalone.edge().await?;
    let load = Load::new(edge.clone(), Request::get("/").host("steady.example"))
        .rate(500)
        .connections(16);
    let loads = [load.clone().start(), load.without_keep_alive().start()];
    for number in 0..20 {
        let name = format!("host-{number}");
        match number % 3 {
            0 => standalone.apply(
                &format!("new-{number}.yaml"),
                &redirect(&format!("new-{number}"), "new.example"),
            )?,
            1 => standalone.apply(
                &format!("route-{number}.yaml"),
                &redirect(&name, "second.example"),
            )?,
            _ => standalone.delete(&format!("route-{number}.yaml"))?,
        }
        eventually(async || {
            let (host, expected) = match number % 3 {
                0 => (format!("new-{number}.example"), "new.example"),
                1 => (format!("{name}.example"), "second.example"),
                _ => (format!("{name}.example"), ""),
            };
            let answer = edge.get(&host, "/").await?;
            ensure!(
                answer.header("location").contains(expected)
                    && (expected.is_empty() == (answer.status == 404)),
                "{answer}"
            );
            Ok(())
        })
        .await?;
    }
    for load in loads {
        let report = load.stop().await;
        println!("{report}");
        assert_eq!(report.failed(), 0, "{report}");
    }
    Ok(())
}

/// Waits until a backend has had so many requests more.
async fn has_more(backend: &Echo, requests: usize) -> Result<()> {
    let before = backend.count("/");
    eventually(async || {
        ensure!(backend.count("/") >= before + requests, "it has no traffic");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_come_and_go_without_a_reload_or_a_failure() -> Result<()> {
    let route = route_to("shop.example", "shop");
    let standalone = Standalone::start(&[("edge.yaml", EDGE), ("route.yaml", &route)]).await?;
    let (first, second) = (
        standalone.echo("first", 100).await?,
        standalone.echo("second", 101).await?,
    );
    let endpoints = |echoes: &[&Echo]| {
        let addresses: Vec<_> = echoes.iter().map(|echo| echo.address()).collect();
        standalone.apply("service.yaml", &service("shop", &addresses))
    };
    endpoints(&[&first])?;
    let edge = standalone.edge().await?;
    eventually(async || edge.get("shop.example", "/").await?.seen()).await?;
    let workers = standalone.workers();
    let load = Load::new(edge, Request::get("/").host("shop.example"))
        .rate(200)
        .start();

    let started = Instant::now();
    endpoints(&[&first, &second])?;
    eventually(async || {
        ensure!(second.count("/") > 0, "the new endpoint has no traffic");
        Ok(())
    })
    .await?;
    println!("new endpoint had traffic after {:.1?}", started.elapsed());

    endpoints(&[&second])?;
    // Gone from the Service, it may answer what is under way, and then ends, as a pod does.
    eventually(async || {
        let before = first.count("/");
        has_more(&second, 50).await?;
        ensure!(first.count("/") == before, "the removed endpoint has traffic");
        Ok(())
    })
    .await?;
    println!(
        "removed endpoint had no traffic {:.1?} after the start",
        started.elapsed()
    );
    drop(first);
    has_more(&second, 200).await?;
    let report = load.stop().await;
    println!("{report}");
    assert_eq!(report.failed(), 0, "{report}");
    assert_eq!(
        standalone.workers(),
        workers,
        "endpoint changes have reloaded NGINX"
    );
    Ok(())
}

#[tokio::test]
async fn deleted_gateway_stops_and_its_return_serves() -> Result<()> {
    let standalone = Standalone::start(&[
        ("edge.yaml", EDGE),
        ("route.yaml", &redirect("old", "new.example")),
    ])
    .await?;
    let edge = standalone.edge().await?;
    redirected(&mut edge.connect().await?, "old.example", "new.example").await?;
    standalone.delete("edge.yaml")?;
    eventually(async || {
        ensure!(edge.connect().await.is_err(), "the deleted gateway listens");
        ensure!(
            standalone
                .gateway_processes()
                .iter()
                .all(|process| !process.lives()),
            "its processes run"
        );
        Ok(())
    })
    .await?;
    standalone.apply("edge.yaml", EDGE)?;
    let edge = standalone.edge().await?;
    redirected(&mut edge.connect().await?, "old.example", "new.example").await?;
    Ok(())
}
