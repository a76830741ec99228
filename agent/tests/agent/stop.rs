//! The end: announced, graceful, and in time.

use std::{fs, net::SocketAddr};

use rustix::process::{Signal, kill_process};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
};

use crate::setting::{Agent, config, data, eventually, free_address, get, get_stream, nginx, script};

/// A response of a backend called `shop` of which the first half has come.
struct Half {
    stream: TcpStream,
    response: Vec<u8>,
}

impl Half {
    async fn of(address: SocketAddr) -> Self {
        let (mut stream, mut response) = (get_stream(address, "/slow").await.unwrap(), Vec::new());
        while !response.ends_with(b"\r\n\r\nsh") {
            assert!(stream.read_buf(&mut response).await.unwrap() > 0);
        }
        Self { stream, response }
    }

    /// Takes the other half; whether it came.
    async fn then_whole(mut self) -> bool {
        self.stream.read_to_end(&mut self.response).await.unwrap();
        self.response.ends_with(b"\r\n\r\nshop")
    }
}

#[tokio::test]
async fn a_slow_response_is_finished_before_the_end() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, mut agent, address, shop) = Agent::of_shop(&nginx, &[]).await;

    let half = Half::of(address).await;
    agent.signal(Signal::TERM);
    operator.report("not ready", |report| !report.ready).await;
    eventually("no new connections", async || get(address, "/").await.is_err()).await;
    shop.finish();
    assert!(half.then_whole().await);
    assert!(agent.wait().success());
    assert_eq!((agent.master(), agent.workers().len()), (None, 0));
}

#[tokio::test]
async fn neither_another_signal_nor_another_configuration_disturbs_the_end() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, mut agent, address, shop) = Agent::of_shop(&nginx, &[]).await;

    let half = Half::of(address).await;
    agent.signal(Signal::TERM);
    operator.report("not ready", |report| !report.ready).await;
    eventually("no new connections", async || get(address, "/").await.is_err()).await;
    agent.signal(Signal::TERM);
    operator.want(config("2a", address, ""), data("d2", &[shop.address]));
    let report = operator.report("d2", |report| report.data == "d2").await;
    assert_eq!((report.config.as_str(), report.ready), ("1a", false));
    shop.finish();
    assert!(half.then_whole().await);
    assert!(agent.wait().success());
    let good = fs::read_link(agent.prefix().join("good")).unwrap();
    assert!(good.ends_with("1a"), "the next start would be from {good:?}");
}

#[tokio::test]
async fn a_reload_in_progress_neither_cuts_responses_nor_puts_off_the_end() {
    let Some(nginx) = nginx() else { return };
    let (operator, mut agent, address, shop) = Agent::of_shop(&nginx, &[]).await;

    let half = Half::of(address).await;
    // NGINX tries for seconds to listen where somebody else does.
    let busy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = busy.local_addr().unwrap();
    operator.want(config("2a", taken, ""), data("d1", &[shop.address]));
    eventually("a reload in progress", async || {
        fs::read_to_string(agent.prefix().join("nginx.errors")).is_ok_and(|log| log.contains("bind()"))
    })
    .await;
    agent.signal(Signal::TERM);
    eventually("no new connections", async || get(address, "/").await.is_err()).await;
    shop.finish();
    assert!(half.then_whole().await);
    assert!(agent.wait().success());
    assert_eq!((agent.master(), agent.workers().len()), (None, 0));
}

#[tokio::test]
async fn an_nginx_that_has_only_begun_to_start_is_ended_too() {
    let Some(nginx) = nginx() else { return };
    let folder = tempfile::tempdir().unwrap();
    let begun = folder.path().join("begun");
    let slow = format!(
        "case \"$*\" in *'daemon off'*) touch {}; sleep 5;; esac\nexec {} \"$@\"",
        begun.display(),
        nginx.display()
    );
    let (operator, mut agent) = Agent::start(&script(folder.path(), &slow));
    operator.want(config("1a", free_address(), ""), data("d1", &[]));
    eventually("a start", async || begun.exists()).await;
    assert!(agent.starting().is_some());
    agent.signal(Signal::TERM);
    assert!(agent.wait().success());
    assert_eq!(agent.starting(), None);
}

#[tokio::test]
async fn requests_are_served_until_load_balancers_have_noticed() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, mut agent, address, _shop) = Agent::of_shop(&nginx, &["--drain-delay", "500ms"]).await;
    agent.signal(Signal::TERM);
    operator.report("not ready", |report| !report.ready).await;
    assert_eq!(get(address, "/").await.unwrap().0, 200);
    assert!(agent.wait().success());
}

#[tokio::test]
async fn a_response_that_takes_too_long_is_cut() {
    let Some(nginx) = nginx() else { return };
    let (_operator, mut agent, address, _shop) = Agent::of_shop(&nginx, &["--drain-timeout", "100ms"]).await;
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
