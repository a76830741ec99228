//! Clients that take or give next to nothing, and what others notice of them.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use e2e::{
    client::Target,
    inference::{
        holdings::Holdings,
        served_pool::{HOST, Options, ServedPool},
    },
    loopback::Loopback,
    plain::Plain,
    standalone::eventually,
};
use futures::future::try_join_all;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, interval, timeout},
};

use crate::bodies::{bytes, returned};

/// Seconds in which clients are slow.
const SECONDS: usize = 5;

const CLIENTS: usize = 20;

/// How long anybody may wait who is not slow.
const PATIENCE: Duration = Duration::from_mins(1);

/// A pod that sends as much as is taken of it, in one response without end for each connection.
#[derive(Clone, Debug, Default)]
struct Talker {
    connections: Arc<AtomicUsize>,
    sent: Arc<AtomicU64>,
}

impl Talker {
    async fn serve(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let talker = self.clone();
            connections.spawn(async move {
                talker.connections.fetch_add(1, Ordering::Relaxed);
                // Until nobody listens.
                talker.talk(stream).await.ok();
                talker.connections.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    async fn talk(&self, mut stream: TcpStream) -> Result<()> {
        let (reader, mut writer) = stream.split();
        let mut lines = BufReader::new(reader).lines();
        while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
        writer
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
            .await?;
        let some = vec![b'x'; 32 << 10];
        loop {
            let sent = writer.write(&some).await?;
            self.sent.fetch_add(sent as u64, Ordering::Relaxed);
        }
    }
}

/// A connection of a client with little room for what it does not read.
async fn connect(edge: &Target) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    Ok(socket.connect(edge.address()).await?)
}

/// As many clients as send this.
async fn clients(
    pool: &ServedPool,
    number: usize,
    request: impl Fn(usize) -> String,
) -> Result<Vec<TcpStream>> {
    let clients = (0..number).map(async |number| {
        let mut client = connect(&pool.edge).await?;
        client.write_all(request(number).as_bytes()).await?;
        anyhow::Ok(client)
    });
    try_join_all(clients).await
}

/// How long a request of somebody else takes, which is served as ever.
async fn others(pool: &ServedPool) -> Result<Duration> {
    let asked = Instant::now();
    timeout(PATIENCE, pool.get("/")).await??.seen()?;
    Ok(asked.elapsed())
}

/// How many KiB NGINX and the proxy hold more than before, for each client.
async fn growth(pool: &ServedPool, before: &Holdings, clients: usize) -> Result<u64> {
    let now = Holdings::of(&pool.standalone).await?;
    let memory = |holdings: &Holdings| holdings.proxy.memory + holdings.nginx.memory;
    Ok(memory(&now).saturating_sub(memory(before)) / clients as u64)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_read_a_byte_a_second_hold_little_and_delay_nobody() -> Result<()> {
    let mut pool = ServedPool::start().await?;
    let address = pool.pod(0);
    drop(pool.pods.remove(0));
    let listener = eventually(async || Ok(TcpListener::bind(address).await?)).await?;
    let talker = Talker::default();
    let _talking = JoinSet::from_iter([talker.clone().serve(listener)]);
    let pods = [0, 1].map(|number| pool.pod(number).to_string());
    pool.picker.follow(move |mut exchange| {
        let [talker, quiet] = pods.clone();
        async move {
            let asked = exchange.request().await?;
            let is_talk = asked.header(":path") == "/talk";
            exchange.choose(if is_talk { &talker } else { &quiet }).await?;
            exchange.pass_response().await
        }
    });
    others(&pool).await?;

    let before = Holdings::of(&pool.standalone).await?;
    let request = format!("GET /talk HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let mut clients = clients(&pool, CLIENTS, |_| request.clone()).await?;
    let mut ticks = interval(Duration::from_secs(1));
    let (mut slowest, mut most) = (Duration::ZERO, 0);
    for _ in 0..SECONDS {
        ticks.tick().await;
        let mut byte = [0];
        for client in &mut clients {
            ensure!(client.read(&mut byte).await? == 1, "a slow client was cut");
        }
        slowest = slowest.max(others(&pool).await?);
        most = most.max(growth(&pool, &before, CLIENTS).await?);
    }
    assert_eq!(talker.connections.load(Ordering::Relaxed), CLIENTS);
    // Most of this is in the system's sockets.
    let sent = talker.sent.load(Ordering::Relaxed) / CLIENTS as u64 / 1024;
    println!(
        "{most} KiB held and {sent} KiB taken of the pod for each client, others waited {slowest:.0?} at most"
    );
    assert!(most < 2048, "{most} KiB for each client");
    assert!(
        sent < 16 * 1024,
        "{sent} KiB were taken of the pod for each client"
    );
    drop(clients);
    eventually(async || {
        let left = (talker.connections.load(Ordering::Relaxed), pool.picker.open());
        ensure!(left == (0, 0), "requests at the pod and at the picker: {left:?}");
        Ok(())
    })
    .await?;
    others(&pool).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn response_that_was_read_slowly_is_whole() -> Result<()> {
    let pool = ServedPool::start().await?;
    let body = bytes(8 << 20);
    let mut client = connect(&pool.edge).await?;
    let head = format!(
        "POST /?back=yes HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await?;
    client.write_all(&body).await?;
    let mut answer = Vec::new();
    let mut ticks = interval(Duration::from_secs(1));
    for _ in 0..SECONDS {
        ticks.tick().await;
        answer.push(client.read_u8().await?);
    }
    client.read_to_end(&mut answer).await?;
    assert!(returned(&answer)? == body, "it is another body");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_come_a_byte_a_second_are_served_when_they_are_whole() -> Result<()> {
    let pool = ServedPool::start().await?;
    let head = format!(
        "POST /slow HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Length: {SECONDS}\r\n\r\n"
    );
    let mut clients = clients(&pool, CLIENTS, |_| head.clone()).await?;
    let at_pods = || pool.pods.iter().map(|pod| pod.count("/slow")).sum::<usize>();
    let mut ticks = interval(Duration::from_secs(1));
    for _ in 0..SECONDS {
        ticks.tick().await;
        others(&pool).await?;
        assert_eq!(at_pods(), 0, "a part of a request reached the pod");
        for client in &mut clients {
            client.write_all(b"x").await?;
        }
    }
    for client in &mut clients {
        let mut answer = String::new();
        timeout(PATIENCE, client.read_to_string(&mut answer)).await??;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(at_pods(), CLIENTS);
    Ok(())
}

/// What a client is told before it is hung up on.
async fn last_words(mut client: TcpStream) -> Result<String> {
    let mut answer = Vec::new();
    let ended = timeout(PATIENCE, client.read_to_end(&mut answer)).await;
    // A reset is an end too.
    ended
        .context("the rest of a request is waited for without end")?
        .ok();
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn plain_nginx_hangs_up_on_half_a_request_without_a_word() -> Result<()> {
    // What is asked of the gateway below. The manual has a response 408, which is in the log alone.
    let loopback = Loopback::lease()?;
    let address = loopback.socket(1, 8080);
    let configuration = format!(
        "pid nginx.pid;\nevents {{}}\nhttp {{ access_log /dev/stderr; client_body_timeout 1s; \
         server {{ listen {address}; location / {{ proxy_pass http://{address}; }} }} }}\n"
    );
    let plain = Plain::start(&configuration, address).await?;
    let mut client = connect(&plain.target()).await?;
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        .await?;
    assert_eq!(last_words(client).await?, "");
    eventually(async || {
        ensure!(plain.log().contains("\" 408 "), "{}", plain.log());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_an_end_hold_what_came_until_their_time_is_over() -> Result<()> {
    const CLIENTS: usize = 60;
    const SENT: usize = 100_000;
    let pool = ServedPool::with(Options {
        nginx: "{ timeouts: { clientHeader: 5s, clientBody: 5s } }",
        ..Options::default()
    })
    .await?;
    let before = Holdings::of(&pool.standalone).await?;
    let half = "x".repeat(SENT);
    let requests = [
        // Half a head, and half a body in each of its framings.
        format!("POST /half HTTP/1.1\r\nHost: {HOST}\r\nX-Half: "),
        format!(
            "POST /half HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n{half}",
            2 * SENT
        ),
        format!(
            "POST /half HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n{SENT:x}\r\n{half}\r\n"
        ),
    ];
    let kinds = requests.len();
    let clients = clients(&pool, CLIENTS, |number| requests[number % kinds].clone()).await?;
    let most = growth(&pool, &before, CLIENTS).await?;
    let waited = others(&pool).await?;
    println!("{most} KiB for each client, another one waited {waited:.0?}");
    assert!(most < 512, "{most} KiB for each client");
    for client in clients {
        assert_eq!(last_words(client).await?, "");
    }
    eventually(async || {
        let now = Holdings::of(&pool.standalone).await?;
        ensure!((now.in_flight, pool.picker.open()) == (0, 0), "{now}");
        let log = fs::read_to_string(pool.standalone.gateway_folder()?.join("agent.log"))?;
        let told = log.lines().filter(|line| line.contains("\" 408 ")).count();
        ensure!(
            told == CLIENTS,
            "{told} of {CLIENTS} requests are in the log with 408"
        );
        Ok(())
    })
    .await?;
    assert!(
        pool.pods.iter().all(|pod| pod.count("/half") == 0),
        "half a request reached a pod"
    );
    others(&pool).await?;
    Ok(())
}
