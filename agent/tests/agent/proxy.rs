//! The proxy as a process beside NGINX: told in time, missed by nobody, back when it is gone.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt as _;

use crate::setting::{
    Agent, Backend, Load, Operator, config, data_with_leg, eventually, free_address, get, get_stream, nginx,
    over_leg,
};

/// Everything that takes part in a request that goes over a leg.
struct Setting {
    operator: Operator,
    agent: Agent,
    /// Where the agent answers probes.
    admin: SocketAddr,
    /// Where NGINX passes requests to `shop` by itself.
    direct: SocketAddr,
    /// Where NGINX hands them to the proxy.
    over_leg: SocketAddr,
    shop: Backend,
}

impl Setting {
    async fn start() -> Option<Self> {
        let admin = free_address();
        let (operator, agent) = Agent::start_with(&nginx()?, &["--admin", &admin.to_string()]);
        let mut setting = Self {
            operator,
            agent,
            admin,
            direct: free_address(),
            over_leg: free_address(),
            shop: Backend::start("shop").await,
        };
        setting.want("1");
        setting.operator.served("1").await;
        Some(setting)
    }

    /// Wants a leg of a name in a configuration of that version.
    fn want(&self, version: &str) {
        let leg = format!("leg-{version}");
        self.operator.want(
            config(version, self.direct, &over_leg(self.over_leg, &leg)),
            data_with_leg(&format!("d{version}"), &[self.shop.address], &leg),
        );
    }

    async fn answers_over_leg(&self) -> bool {
        get(self.over_leg, "/")
            .await
            .is_ok_and(|answer| answer == (200, "shop".to_owned()))
    }

    /// The proxy that takes the place of one that ends.
    async fn successor_of(&self, proxy: Pid) -> Pid {
        let mut successor = None;
        eventually("another proxy", async || {
            successor = self.agent.proxy().filter(|pid| *pid != proxy);
            successor.is_some()
        })
        .await;
        successor.unwrap()
    }

    fn nginx(&self) -> (Pid, Vec<Pid>) {
        (self.agent.master().unwrap(), self.agent.workers())
    }
}

#[tokio::test]
async fn a_configuration_is_served_when_the_proxy_knows_its_legs() {
    let Some(mut setting) = Setting::start().await else {
        return;
    };
    let load = Load::start(setting.over_leg);
    load.more(20).await;
    for version in ["2", "3", "4"] {
        setting.want(version);
        setting.operator.served(version).await;
        load.more(20).await;
    }
    assert_eq!(load.failures().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_proxy_that_hangs_delays_a_configuration_and_does_not_prevent_it() {
    let Some(setting) = Setting::start().await else {
        return;
    };
    kill_process(setting.agent.proxy().unwrap(), Signal::STOP).unwrap();
    let begun = Instant::now();
    setting.want("2");
    eventually("the second configuration", async || {
        get(setting.direct, "/config").await.unwrap().1 == "2"
    })
    .await;
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn endpoints_of_a_leg_change_without_a_reload() {
    let Some(mut setting) = Setting::start().await else {
        return;
    };
    assert!(setting.answers_over_leg().await);
    let news = Backend::start("news").await;
    setting
        .operator
        .want_data(data_with_leg("d2", &[news.address], "leg-1"));
    eventually("the new endpoint", async || {
        get(setting.over_leg, "/").await.unwrap().1 == "news"
    })
    .await;
    let report = setting.operator.report("d2", |report| report.data == "d2").await;
    assert_eq!(report.reloads, 0);
}

#[tokio::test]
async fn a_killed_proxy_is_replaced_and_nginx_is_left_alone() {
    let Some(setting) = Setting::start().await else {
        return;
    };
    let (nginx, proxy) = (setting.nginx(), setting.agent.proxy().unwrap());
    let load = Load::start(setting.direct);
    load.more(20).await;
    kill_process(proxy, Signal::KILL).unwrap();
    setting.successor_of(proxy).await;
    eventually("an answer over the leg", async || {
        setting.answers_over_leg().await
    })
    .await;
    load.more(20).await;
    assert_eq!(load.failures().await, Vec::<String>::new());
    assert_eq!(setting.nginx(), nginx);
}

#[tokio::test]
async fn a_frozen_proxy_is_not_ready_and_is_replaced() {
    let Some(mut setting) = Setting::start().await else {
        return;
    };
    let (nginx, proxy) = (setting.nginx(), setting.agent.proxy().unwrap());
    assert_eq!(get(setting.admin, "/readyz").await.unwrap().0, 200);
    kill_process(proxy, Signal::STOP).unwrap();
    setting.operator.report("not ready", |report| !report.ready).await;
    assert_eq!(get(setting.admin, "/readyz").await.unwrap().0, 503);
    assert_eq!(get(setting.direct, "/").await.unwrap().0, 200);
    setting.successor_of(proxy).await;
    setting.operator.served("1").await;
    assert!(setting.answers_over_leg().await);
    assert_eq!(setting.nginx(), nginx);
}

#[tokio::test]
async fn figures_are_those_of_agent_nginx_and_proxy() {
    let Some(setting) = Setting::start().await else {
        return;
    };
    assert!(setting.answers_over_leg().await);
    let (status, text) = get(setting.admin, "/metrics").await.unwrap();
    assert_eq!(status, 200);
    for what in ["flotilla_agent_ready 1\n", "config=\"1\"", "flotilla_proxy_"] {
        assert!(text.contains(what), "{what} in:\n{text}");
    }
}

#[tokio::test]
async fn the_proxy_goes_on_when_the_supervisor_is_killed() {
    let Some(mut setting) = Setting::start().await else {
        return;
    };
    let (supervisor, proxy) = (setting.agent.supervisor().unwrap(), setting.agent.proxy());
    let load = Load::start(setting.over_leg);
    load.more(20).await;
    setting.operator.forget();
    kill_process(supervisor, Signal::KILL).unwrap();
    load.more(20).await;
    setting.want("2");
    setting.operator.served("2").await;
    load.more(20).await;
    assert_eq!(load.failures().await, Vec::<String>::new());
    assert_eq!(setting.agent.proxy(), proxy);
}

#[tokio::test]
async fn the_proxy_ends_after_the_requests_that_it_carries() {
    let Some(mut setting) = Setting::start().await else {
        return;
    };
    let mut stream = get_stream(setting.over_leg, "/slow").await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"sh") {
        assert!(stream.read_buf(&mut response).await.unwrap() > 0);
    }
    setting.agent.signal(Signal::TERM);
    setting.operator.report("not ready", |report| !report.ready).await;
    setting.shop.finish();
    stream.read_to_end(&mut response).await.unwrap();
    assert!(String::from_utf8_lossy(&response).contains("op"), "{response:?}");
    assert!(setting.agent.wait().success());
    assert_eq!(setting.agent.proxy(), None);
}

#[tokio::test]
async fn a_killed_init_takes_the_proxy_along_and_the_next_brings_another() {
    let Some(mut setting) = Setting::start().await else {
        return;
    };
    let nginx = setting.nginx();
    setting.agent.signal(Signal::KILL);
    setting.agent.wait();
    eventually("no proxy", async || setting.agent.proxy().is_none()).await;
    setting.agent.restart();
    eventually("an answer over the leg", async || {
        setting.answers_over_leg().await
    })
    .await;
    assert_eq!(setting.nginx(), nginx);
}
