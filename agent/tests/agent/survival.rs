//! What is killed comes back, and nobody notices more than has to be.

use std::{fs, os::unix::fs::symlink};

use rustix::process::{Signal, kill_process};

use crate::setting::{Agent, Backend, Load, config, data, eventually, free_address, get, nginx};

#[tokio::test]
async fn a_killed_supervisor_is_replaced_and_adopts_the_running_nginx() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, agent, address, shop) = Agent::of_shop(&nginx, &[]).await;
    operator.want(config("2a", address, ""), data("d1", &[shop.address]));
    operator.served("2a").await;
    let (supervisor, master) = (agent.supervisor().unwrap(), agent.master().unwrap());
    eventually("two workers", async || agent.workers().len() == 2).await;
    let workers = agent.workers();

    let load = Load::start(address);
    load.more(50).await;
    operator.forget();
    kill_process(supervisor, Signal::KILL).unwrap();
    eventually("another supervisor", async || {
        agent.supervisor().is_some_and(|other| other != supervisor)
    })
    .await;
    // The new one puts newer data into effect, reports, and has not touched NGINX.
    operator.want(config("2a", address, ""), data("d2", &[shop.address]));
    let report = operator
        .report("d2", |report| report.ready && report.data == "d2")
        .await;
    assert_eq!((report.config.as_str(), report.reloads), ("2a", 1));
    load.more(50).await;
    assert_eq!(load.failures().await, Vec::<String>::new());
    assert_eq!((agent.master().unwrap(), agent.workers()), (master, workers));
}

#[tokio::test]
async fn endpoints_still_change_after_the_supervisor_was_killed() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, agent) = Agent::start(&nginx);
    let address = free_address();
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    operator.want(config("1a", address, ""), data("d1", &[old.address]));
    operator.served("1a").await;
    kill_process(agent.supervisor().unwrap(), Signal::KILL).unwrap();
    operator.want(config("1a", address, ""), data("d2", &[new.address]));
    eventually("traffic to the new endpoint", async || {
        get(address, "/").await.unwrap().1 == "new"
    })
    .await;
    assert_eq!(operator.served("1a").await.reloads, 0);
}

#[tokio::test]
async fn a_killed_init_takes_the_supervisor_along_and_the_next_adopts_nginx() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, mut agent, address, shop) = Agent::of_shop(&nginx, &[]).await;
    let master = agent.master().unwrap();

    agent.signal(Signal::KILL);
    agent.wait();
    eventually("no supervisor", async || agent.supervisor().is_none()).await;
    assert_eq!(get(address, "/").await.unwrap().0, 200);
    agent.restart();
    operator.want(config("2a", address, ""), data("d1", &[shop.address]));
    assert_eq!(operator.served("2a").await.reloads, 1);
    assert_eq!(agent.master().unwrap(), master);
}

#[tokio::test]
async fn a_killed_master_is_replaced() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, agent, address, _shop) = Agent::of_shop(&nginx, &[]).await;
    let (master, workers) = (agent.master().unwrap(), agent.workers());

    kill_process(master, Signal::KILL).unwrap();
    eventually("another master", async || {
        agent.master().is_some_and(|other| other != master)
    })
    .await;
    eventually("none of the workers of before", async || {
        agent.workers().iter().all(|worker| !workers.contains(worker))
    })
    .await;
    eventually("a response", async || {
        matches!(get(address, "/").await, Ok((200, _)))
    })
    .await;
    assert_eq!(
        operator
            .report("no reloads", |report| report.ready && report.reloads == 0)
            .await
            .config,
        "1a"
    );
}

#[tokio::test]
async fn a_killed_worker_is_replaced_by_nginx_itself() {
    let Some(nginx) = nginx() else { return };
    let (_operator, agent, address, _shop) = Agent::of_shop(&nginx, &[]).await;
    let worker = agent.workers()[0];
    kill_process(worker, Signal::KILL).unwrap();
    eventually("another worker", async || {
        agent.workers().len() == 2 && !agent.workers().contains(&worker)
    })
    .await;
    assert_eq!(get(address, "/").await.unwrap().0, 200);
}

#[tokio::test]
async fn nothing_that_has_ended_is_left_unreaped() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, agent) = Agent::start(&nginx);
    let address = free_address();
    operator.want(config("1a", address, ""), data("d1", &[]));
    operator.served("1a").await;
    // Of init, of the supervisor, and of one after the other.
    for process in [Agent::proxy, Agent::master, Agent::supervisor, Agent::master] {
        let killed = process(&agent);
        kill_process(killed.unwrap(), Signal::KILL).unwrap();
        eventually("another process", async || {
            process(&agent).is_some_and(|other| Some(other) != killed)
                && get(address, "/config").await.is_ok()
        })
        .await;
    }
    eventually("nothing unreaped", async || agent.unreaped() == 0).await;
}

#[tokio::test]
async fn an_nginx_that_does_not_answer_is_not_ready_until_it_does() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, agent) = Agent::start(&nginx);
    operator.want(config("1a", free_address(), ""), data("d1", &[]));
    operator.served("1a").await;
    eventually("two workers", async || agent.workers().len() == 2).await;
    for worker in agent.workers() {
        kill_process(worker, Signal::STOP).unwrap();
    }
    operator.report("not ready", |report| !report.ready).await;
    for worker in agent.workers() {
        kill_process(worker, Signal::CONT).unwrap();
    }
    assert_eq!(operator.served("1a").await.reloads, 0);
}

#[tokio::test]
async fn workers_that_nginx_could_not_start_are_started_by_a_reload() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, agent) = Agent::start(&nginx);
    let address = free_address();
    // NGINX gives a worker up that cannot enter its folder, which is the gateway's by another name.
    let (folder, log) = (
        agent.folder.path().join("another-name"),
        agent.folder.path().join("log"),
    );
    symlink(agent.prefix(), &folder).unwrap();
    let mut config = config("1a", address, "");
    let directives = format!(
        "working_directory {};\nerror_log {};\n",
        folder.display(),
        log.display()
    );
    config.files[0].content.splice(0..0, directives.into_bytes());
    operator.want(config, data("d1", &[]));
    operator.served("1a").await;
    eventually("two workers", async || agent.workers().len() == 2).await;

    fs::remove_file(&folder).unwrap();
    for worker in agent.workers() {
        kill_process(worker, Signal::KILL).unwrap();
    }
    eventually("no workers", async || {
        let log = fs::read_to_string(&log).unwrap();
        log.matches("cannot be respawned").count() == 2
    })
    .await;
    symlink(agent.prefix(), &folder).unwrap();
    operator.report("not ready", |report| !report.ready).await;
    assert_eq!(operator.served("1a").await.reloads, 1);
    assert_eq!(get(address, "/config").await.unwrap().1, "1a");
}

#[tokio::test]
async fn nothing_changes_while_there_is_no_operator() {
    let Some(nginx) = nginx() else { return };
    let admin = free_address();
    let (operator, agent, address, _shop) = Agent::of_shop(&nginx, &["--admin", &admin.to_string()]).await;
    let (supervisor, workers) = (agent.supervisor().unwrap(), agent.workers());

    drop(operator);
    let load = Load::start(address);
    load.more(50).await;
    assert_eq!(get(admin, "/readyz").await.unwrap().0, 200);
    kill_process(supervisor, Signal::KILL).unwrap();
    eventually("another supervisor that is ready", async || {
        agent.supervisor().is_some_and(|other| other != supervisor)
            && matches!(get(admin, "/readyz").await, Ok((200, _)))
    })
    .await;
    load.more(50).await;
    assert_eq!(load.failures().await, Vec::<String>::new());
    assert_eq!(agent.workers(), workers);
}

#[tokio::test]
async fn a_restart_without_operator_serves_last_good() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, mut agent, address, shop) =
        Agent::of_shop(&nginx, &["--drain-timeout", "500ms"]).await;
    operator.want(
        config("bad", address, "nonsense on;"),
        data("d1", &[shop.address]),
    );
    operator.rejected("bad").await;

    drop(operator);
    agent.signal(Signal::TERM);
    assert!(agent.wait().success());
    assert!(get(address, "/").await.is_err());
    agent.restart();
    eventually("last good", async || {
        matches!(get(address, "/").await, Ok((200, _)))
    })
    .await;
    assert_eq!(get(address, "/config").await.unwrap().1, "1a");
}

#[tokio::test]
async fn a_restart_starts_from_what_served_and_not_from_what_was_about_to() {
    let Some(nginx) = nginx() else { return };
    let (operator, mut agent, address, _shop) = Agent::of_shop(&nginx, &["--drain-timeout", "500ms"]).await;
    drop(operator);
    agent.signal(Signal::TERM);
    assert!(agent.wait().success());

    // As an agent leaves it that is killed before NGINX has said what it thinks of a version.
    let (folder, current) = (
        agent.prefix().join("generations/2a"),
        agent.prefix().join("current"),
    );
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("nginx.conf"), "nonsense on;").unwrap();
    fs::remove_file(&current).unwrap();
    symlink(&folder, &current).unwrap();

    agent.restart();
    eventually("last good", async || {
        matches!(get(address, "/config").await, Ok((200, _)))
    })
    .await;
    assert_eq!(get(address, "/config").await.unwrap().1, "1a");
}

#[tokio::test]
async fn a_second_agent_in_the_same_folder_ends_at_once() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, mut agent) = Agent::start(&nginx);
    operator
        .report("the first agent", |report| !report.instance.is_empty())
        .await;
    let first = agent.supervisor();
    assert!(!agent.second().success());
    assert_eq!(agent.supervisor(), first);
    agent.signal(Signal::TERM);
    assert!(agent.wait().success());
}
