//! Which endpoints a picker may choose from: its pool's, as long as it knows those that the gateway knows, and else those
//! that the gateway tells it, in the subset hint of the protocol.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::{
    client::Request,
    echo::Echo,
    inference::{
        manifests,
        picker::Exchange,
        served_pool::{FIRST_POD, ServedPool},
    },
    standalone::eventually,
};
use hyper::Method;
use parking_lot::Mutex;
use tokio::sync::Notify;

#[tokio::test]
async fn picker_that_chooses_what_is_no_pod_of_the_pool_is_told_the_pods() -> Result<()> {
    let pool = ServedPool::start().await?;
    let stranger = pool.pod(9).to_string();
    let hints = Arc::<Mutex<Vec<Option<Vec<String>>>>>::default();
    let heard = Arc::clone(&hints);
    pool.picker.follow(move |mut exchange: Exchange| {
        let (stranger, heard) = (stranger.clone(), Arc::clone(&heard));
        async move {
            let asked = exchange.request().await?;
            heard.lock().push(asked.subset.clone());
            let choice = asked.subset.and_then(|mut subset| subset.pop());
            exchange.choose(&choice.unwrap_or(stranger)).await?;
            exchange.return_body(asked.body).await?;
            exchange.pass_response().await
        }
    });
    let pods = [0, 1].map(|number| pool.pod(number).to_string());
    for request in [
        Request::get("/?back=yes"),
        Request::new(Method::POST, "/?back=yes").body("body"),
        Request::new(Method::POST, "/?back=yes").body(vec![b'x'; 200_000]),
    ] {
        let answer = pool.send(request).await?;
        assert_eq!(answer.status, 200, "{answer}");
        let hints = std::mem::take(&mut *hints.lock());
        assert_eq!(hints, [None, Some(pods.to_vec())]);
    }
    assert_eq!(
        pool.pods[1]
            .seen()
            .iter()
            .filter(|seen| seen.method == "POST")
            .count(),
        2
    );
    Ok(())
}

#[tokio::test]
async fn pod_that_comes_while_a_request_is_in_the_pickers_queue_may_serve_it() -> Result<()> {
    let pool = ServedPool::start().await?;
    let late = pool.pod(2);
    let _late = Echo::start("late", late).await?;
    let released = Arc::new(Notify::new());
    let release = Arc::clone(&released);
    pool.picker.follow(move |mut exchange: Exchange| {
        let release = Arc::clone(&release);
        async move {
            let asked = exchange.request().await?;
            release.notified().await;
            exchange.choose(&late.to_string()).await?;
            exchange.return_body(asked.body).await?;
            exchange.pass_response().await
        }
    });
    let begun = pool.picker.begun();
    let queued = pool.send(Request::new(Method::POST, "/").body("body"));
    let scaled = async {
        eventually(async || {
            ensure!(pool.picker.begun() > begun, "the picker was not asked");
            Ok(())
        })
        .await?;
        pool.picker.choose(&late.to_string());
        let loopback = pool.standalone.loopback();
        let addresses = [0, 1, 2].map(|number| loopback.address(FIRST_POD + number));
        pool.standalone
            .apply("pods.yaml", &manifests::pods("models", &addresses))?;
        eventually(async || pool.get("/").await?.seen()).await?;
        released.notify_one();
        anyhow::Ok(())
    };
    let (queued, scaled) = tokio::join!(queued, scaled);
    scaled?;
    let seen = queued?.seen().context("the request in the queue")?;
    assert_eq!(seen.backend, "late");
    Ok(())
}
