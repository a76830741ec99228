//! Which endpoint serves a request.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::{
    client::Request,
    inference::{
        picker::{DESTINATION, Exchange, destination, headers_response},
        served_pool::{Options, ServedPool},
    },
};
use hyper::Method;
use proto::envoy::service::ext_proc::v3::{ProcessingResponse, processing_response::Response as Verdict};
use tokio::{io::AsyncReadExt, net::TcpListener, time::timeout};

fn post() -> Request {
    Request::new(Method::POST, "/").body("body")
}

#[tokio::test]
async fn every_request_goes_where_the_picker_says() -> Result<()> {
    let pool = ServedPool::start().await?;
    for number in [1, 0, 1, 1, 0] {
        pool.picker.choose(&pool.pod(number).to_string());
        let seen = pool.send(post()).await?.seen()?;
        assert_eq!(seen.backend, format!("pod-{number}"));
    }
    Ok(())
}

#[tokio::test]
async fn header_alone_or_metadata_alone_is_enough_and_metadata_wins() -> Result<()> {
    let pool = ServedPool::start().await?;
    for named in [[Some(1), None], [None, Some(1)], [Some(0), Some(1)]] {
        let named = named.map(|number| number.map(|number| pool.pod(number).to_string()));
        pool.picker.follow(move |mut exchange: Exchange| {
            let [in_header, in_metadata] = named.clone();
            async move {
                let asked = exchange.request().await?;
                let header = in_header.iter().map(|pod| (DESTINATION, pod.as_str()));
                let headers = headers_response(&header.collect::<Vec<_>>());
                exchange
                    .say_all(ProcessingResponse {
                        response: Some(Verdict::RequestHeaders(headers)),
                        dynamic_metadata: in_metadata.as_deref().map(destination),
                    })
                    .await?;
                exchange.return_body(asked.body).await?;
                exchange.pass_response().await
            }
        });
        assert_eq!(pool.send(post()).await?.seen()?.backend, "pod-1");
    }
    Ok(())
}

#[tokio::test]
async fn next_of_the_list_serves_when_the_first_refuses_connections() -> Result<()> {
    let mut pool = ServedPool::start().await?;
    pool.picker.choose(&format!("{},{}", pool.pod(0), pool.pod(1)));
    drop(pool.pods.remove(0));
    for _ in 0..20 {
        let answer = pool
            .send(Request::new(Method::POST, "/?back=yes").body("body"))
            .await?;
        assert_eq!(answer.body, "body", "{answer}");
    }
    assert_eq!(pool.pods[0].count("/"), 20);
    Ok(())
}

#[tokio::test]
async fn next_of_the_list_serves_when_the_first_resets_before_it_answers() -> Result<()> {
    let mut pool = ServedPool::start().await?;
    let pod = pool.pod(0);
    drop(pool.pods.remove(0));
    let resetting = e2e::standalone::eventually(async || Ok(TcpListener::bind(pod).await?)).await?;
    let resetter = tokio::spawn(async move {
        let mut reset = 0_u32;
        while let Ok((mut stream, _)) = resetting.accept().await {
            // With something unread, closing is a reset.
            let mut some = [0; 16];
            drop(stream.read_exact(&mut some).await);
            reset += 1;
            if reset == 5 {
                break;
            }
        }
        reset
    });
    pool.picker.choose(&format!("{},{}", pod, pool.pod(1)));
    for _ in 0..5 {
        let answer = pool
            .send(Request::new(Method::POST, "/?back=yes").body("body"))
            .await?;
        assert_eq!(answer.body, "body", "{answer}");
    }
    let reset = timeout(Duration::from_mins(1), resetter).await;
    assert_eq!(reset.context("not every request was reset")??, 5);
    Ok(())
}

#[tokio::test]
async fn addresses_outside_of_the_pool_are_passed_over() -> Result<()> {
    let pool = ServedPool::start().await?;
    // It answers, and is no pod of the pool.
    let _stranger = pool.standalone.echo("stranger", 150).await?;
    let stranger = pool.standalone.loopback().socket(150, 3000);
    let pod = pool.pod(1);
    let other_port = format!("{}:3000", pod.ip());
    pool.picker
        .choose(&format!("{stranger},{other_port},nonsense,{pod}"));
    assert_eq!(pool.send(post()).await?.seen()?.backend, "pod-1");
    for list in [
        stranger.to_string(),
        "nonsense".into(),
        String::new(),
        ",,,".into(),
    ] {
        pool.picker.choose(&list);
        let answer = pool.send(post()).await?;
        assert_eq!(answer.status, 503, "{list:?} gave {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn all_of_the_list_dead_is_an_error_and_no_endless_loop() -> Result<()> {
    let mut pool = ServedPool::with(Options {
        failure_mode: "FailOpen",
        ..Options::default()
    })
    .await?;
    pool.pods.clear();
    let answer = pool.send(post()).await?;
    assert!(matches!(answer.status.as_u16(), 502..=504), "{answer}");
    Ok(())
}
