//! Asking the running NGINX, through its own socket, what it serves.

use std::{io, time::Duration};

use rustix::process::Pid;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

use crate::prefix::Prefix;

/// How long a worker may take to answer; it does so from memory.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a worker says of itself: `PID VERSION RELOADS`, as `agent.conf` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub worker: Pid,
    /// Version of the configuration the worker serves.
    pub version: String,
    /// Reloads of this NGINX up to that configuration.
    pub reloads: u64,
}

impl Answer {
    /// Asks the worker that is first to accept; none when no worker answers in time.
    pub async fn ask(prefix: &Prefix) -> Option<Self> {
        let text = timeout(PATIENCE, get(prefix, "/version")).await.ok()?.ok()?;
        Self::parse(&text)
    }

    fn parse(response: &str) -> Option<Self> {
        let mut words = body(response)?.split_whitespace();
        let worker = Pid::from_raw(words.next()?.parse().ok()?)?;
        let version = words.next()?.to_owned();
        let reloads = words.next()?.parse().ok()?;
        Some(Self {
            worker,
            version,
            reloads,
        })
    }
}

/// Connections of all workers, by what they are at; see
/// <https://nginx.org/en/docs/http/ngx_http_stub_status_module.html>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// All of them.
    pub active: u64,
    /// Those whose request's headers are being read.
    pub reading: u64,
    /// Those that are being answered.
    pub writing: u64,
    /// Those that are idle.
    pub waiting: u64,
}

impl Connections {
    /// Asks any worker; none when no worker answers in time, or its NGINX does not count.
    pub async fn ask(prefix: &Prefix) -> Option<Self> {
        let text = timeout(PATIENCE, get(prefix, "/connections")).await.ok()?.ok()?;
        Self::parse(&text)
    }

    fn parse(response: &str) -> Option<Self> {
        let mut numbers = body(response)?
            .split_whitespace()
            .map_while(|word| word.parse().ok());
        Some(Self {
            active: numbers.next()?,
            reading: numbers.next()?,
            writing: numbers.next()?,
            waiting: numbers.next()?,
        })
    }
}

/// What follows the head of a good response.
fn body(response: &str) -> Option<&str> {
    let (head, body) = response.split_once("\r\n\r\n")?;
    (head.split_whitespace().nth(1) == Some("200")).then_some(body)
}

/// The whole response to a GET; HTTP/1.0, so that it ends with the connection.
async fn get(prefix: &Prefix, path: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(prefix.nginx_socket()).await?;
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
        .await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_worker_version_and_reloads() {
        let answer = Answer::parse("HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n15 1f2e 3\n").unwrap();
        let expected = Answer {
            worker: Pid::from_raw(15).unwrap(),
            version: "1f2e".to_owned(),
            reloads: 3,
        };
        assert_eq!(answer, expected);
    }

    #[test]
    fn connections_are_counted_by_what_they_are_at() {
        let connections = Connections::parse("HTTP/1.1 200 OK\r\n\r\n6 1 2 3\n").unwrap();
        let expected = Connections {
            active: 6,
            reading: 1,
            writing: 2,
            waiting: 3,
        };
        assert_eq!(connections, expected);
        assert_eq!(Connections::parse("HTTP/1.1 404 Not Found\r\n\r\n1 2 3 4"), None);
    }

    #[test]
    fn anything_else_is_no_answer() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\n\r\n1 a 2",
            "HTTP/1.1 200 OK\r\n\r\nx a 2",
        ] {
            assert_eq!(Answer::parse(text), None, "{text:?}");
        }
    }
}
