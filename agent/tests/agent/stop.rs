//! The end: announced, graceful, and in time.

use rustix::process::{Signal, kill_process};
use tokio::io::AsyncReadExt as _;

use crate::setting::{Agent, Backend, config, data, eventually, free_address, get, get_stream, nginx};

#[tokio::test]
async fn a_slow_response_is_finished_before_the_end() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, mut agent) = Agent::start(&nginx);
    let (address, shop) = (free_address(), Backend::start("shop").await);
    operator.want(config("1a", address, ""), data("d1", &[shop.address]));
    operator.served("1a").await;

    let mut stream = get_stream(address, "/slow").await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\nsh") {
        assert!(stream.read_buf(&mut response).await.unwrap() > 0);
    }
    agent.signal(Signal::TERM);
    operator.report("not ready", |report| !report.ready).await;
    eventually("no new connections", async || get(address, "/").await.is_err()).await;
    shop.finish();
    stream.read_to_end(&mut response).await.unwrap();
    assert!(response.ends_with(b"\r\n\r\nshop"));
    assert!(agent.wait().success());
    assert_eq!((agent.master(), agent.workers().len()), (None, 0));
}

#[tokio::test]
async fn requests_are_served_until_load_balancers_have_noticed() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, mut agent) = Agent::start_with(&nginx, &["--drain-delay", "500ms"]);
    let (address, shop) = (free_address(), Backend::start("shop").await);
    operator.want(config("1a", address, ""), data("d1", &[shop.address]));
    operator.served("1a").await;
    agent.signal(Signal::TERM);
    operator.report("not ready", |report| !report.ready).await;
    assert_eq!(get(address, "/").await.unwrap().0, 200);
    assert!(agent.wait().success());
}

#[tokio::test]
async fn a_response_that_takes_too_long_is_cut() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, mut agent) = Agent::start_with(&nginx, &["--drain-timeout", "100ms"]);
    let (address, shop) = (free_address(), Backend::start("shop").await);
    operator.want(config("1a", address, ""), data("d1", &[shop.address]));
    operator.served("1a").await;
    let mut stream = get_stream(address, "/slow").await.unwrap();
    let mut response = Vec::new();
    assert!(stream.read_buf(&mut response).await.unwrap() > 0);
    agent.signal(Signal::TERM);
    // The response does not end by itself.
    assert!(agent.wait().success());
}

#[tokio::test]
async fn nginx_is_ended_even_when_the_supervisor_is_killed_in_the_middle() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, mut agent) =
        Agent::start_with(&nginx, &["--drain-delay", "60s", "--drain-timeout", "1s"]);
    let address = free_address();
    operator.want(config("1a", address, ""), data("d1", &[]));
    operator.served("1a").await;
    agent.signal(Signal::TERM);
    operator.report("not ready", |report| !report.ready).await;
    kill_process(agent.supervisor().unwrap(), Signal::KILL).unwrap();
    agent.wait();
    assert_eq!((agent.master(), agent.workers().len()), (None, 0));
}
