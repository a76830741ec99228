//! Configurations: taken, refused, replaced.

use std::fs;

use tokio::net::TcpListener;

use crate::setting::{Agent, Backend, Load, config, data, eventually, free_address, get, nginx, script};

#[tokio::test]
async fn the_first_configuration_is_served_with_its_endpoints() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, _agent) = Agent::start(&nginx);
    let (address, shop) = (free_address(), Backend::start("shop").await);

    let idle = operator
        .report("an idle agent", |report| !report.instance.is_empty())
        .await;
    assert_eq!(
        (idle.instance.as_str(), idle.ready, idle.config.as_str()),
        ("gateway-0", false, "")
    );
    operator.want(config("1a", address, ""), data("d1", &[shop.address]));

    let report = operator.served("1a").await;
    assert_eq!(
        (report.data.as_str(), report.reloads, report.rejection),
        ("d1", 0, None)
    );
    assert!(report.nginx.starts_with("1."), "{}", report.nginx);
    assert_eq!(
        get(address, "/").await.unwrap(),
        (200, "shop".to_owned()),
        "served means that requests work"
    );
    assert_eq!(operator.authorization().as_deref(), Some("Bearer secret"));
}

#[tokio::test]
async fn a_newer_configuration_takes_one_reload_and_no_request_fails() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, agent, address, shop) = Agent::of_shop(&nginx, &[]).await;

    let load = Load::start(address);
    for (reloads, version) in (1..).zip(["2a", "3a", "4a"]) {
        operator.want(config(version, address, ""), data("d1", &[shop.address]));
        assert_eq!(operator.served(version).await.reloads, reloads);
        assert_eq!(get(address, "/config").await.unwrap(), (200, version.to_owned()));
    }
    load.more(20).await;
    assert_eq!(load.failures().await, Vec::<String>::new());
    let mut kept: Vec<_> = fs::read_dir(agent.prefix().join("generations"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    kept.sort();
    assert_eq!(kept, ["3a", "4a"], "current and previous");
}

#[tokio::test]
async fn an_access_log_on_standard_output_goes_on_after_a_reload() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, agent) = Agent::start(&nginx);
    let (address, logged) = (free_address(), free_address());
    let more = format!("server {{ listen {logged}; access_log /dev/stdout; return 200 logged; }}");
    for version in ["1a", "2a"] {
        operator.want(config(version, address, &more), data("d1", &[]));
        operator.served(version).await;
        assert_eq!(get(logged, &format!("/{version}")).await.unwrap().0, 200);
        eventually("a line of the log", async || {
            agent.stdout().contains(&format!("GET /{version} "))
        })
        .await;
    }
}

#[tokio::test]
async fn a_refused_configuration_leaves_the_last_good_one_and_names_file_and_line() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, _agent) = Agent::start(&nginx);
    let (address, shop) = (free_address(), Backend::start("shop").await);
    operator.want(config("1a", address, ""), data("d1", &[shop.address]));
    operator.served("1a").await;

    operator.want(
        config("bad", address, "nonsense on;"),
        data("d2", &[shop.address]),
    );
    let report = operator.rejected("bad").await;
    let rejection = report.rejection.unwrap();
    assert_eq!(rejection.message, "unknown directive \"nonsense\"");
    assert_eq!((rejection.file.as_str(), rejection.line), ("conf.d/http.conf", 7));
    assert_eq!(
        (report.config.as_str(), report.ready, report.reloads),
        ("1a", true, 0)
    );
    assert_eq!(report.data, "d2", "data does not wait for configuration");
    assert_eq!(get(address, "/config").await.unwrap().1, "1a");

    operator.want(config("2a", address, ""), data("d2", &[shop.address]));
    assert_eq!(operator.served("2a").await.rejection, None);
}

#[tokio::test]
async fn only_what_starts_nginx_or_was_refused_before_is_tested_apart() {
    let Some(nginx) = nginx() else { return };
    let folder = tempfile::tempdir().unwrap();
    let calls = folder.path().join("calls");
    let noting = format!(
        "echo \"$*\" >> {}\nexec {} \"$@\"",
        calls.display(),
        nginx.display()
    );
    let program = script(folder.path(), &noting);
    let tests = || {
        let calls = fs::read_to_string(&calls).unwrap();
        calls.lines().filter(|call| call.contains(" -t")).count()
    };
    let (mut operator, _agent) = Agent::start(&program);
    let address = free_address();
    for version in ["1a", "2a"] {
        operator.want(config(version, address, ""), data("d1", &[]));
        operator.served(version).await;
        assert_eq!(tests(), 1, "{version}");
    }
    operator.want(config("bad", address, "nonsense on;"), data("d1", &[]));
    operator.rejected("bad").await;
    eventually("a test of what was refused", async || tests() > 1).await;
    assert_eq!(get(address, "/config").await.unwrap().1, "2a");
}

#[tokio::test]
async fn a_busy_port_is_reported_and_taken_once_it_is_free() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, agent, address, shop) = Agent::of_shop(&nginx, &[]).await;

    let busy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = busy.local_addr().unwrap();
    operator.want(config("2a", taken, ""), data("d1", &[shop.address]));
    let report = operator.rejected("2a").await;
    assert!(
        report
            .rejection
            .unwrap()
            .message
            .starts_with(&format!("bind() to {taken} failed"))
    );
    assert_eq!((report.config.as_str(), report.ready), ("1a", true));
    assert_eq!(get(address, "/config").await.unwrap().1, "1a");
    let current = fs::read_link(agent.prefix().join("current")).unwrap();
    assert!(current.ends_with("1a"), "a restart would start from {current:?}");

    drop(busy);
    assert_eq!(operator.served("2a").await.rejection, None);
    assert_eq!(get(taken, "/config").await.unwrap().1, "2a");
}

#[tokio::test]
async fn files_outside_of_the_configuration_are_refused() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, agent) = Agent::start(&nginx);
    let mut outside = config("1a", free_address(), "");
    outside.files[0].path = "../../escaped".to_owned();
    operator.want(outside, data("d1", &[]));
    let rejection = operator.rejected("1a").await.rejection.unwrap();
    assert!(rejection.message.contains("escaped"), "{rejection:?}");
    assert!(!agent.prefix().join("escaped").exists());
}
