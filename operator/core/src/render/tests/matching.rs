//! Whether PCRE matches what is printed as the `regex` crate matches what was written, asked of a real NGINX.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config as Runs, TestRunner},
};
use tempfile::TempDir;

use super::{everything::header, nginx::nginx};
use crate::{
    config::{Condition, Subject},
    render::pattern::Regex,
    syntax::Pattern,
};

/// Expressions of all that is accepted, over few letters so that they match often.
fn expressions() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        "[ab/=-]",
        Just(r"\.".to_owned()),
        Just(r"\+".to_owned()),
        Just("%".to_owned()),
        Just("&".to_owned()),
        Just(" ".to_owned()),
        Just(".".to_owned()),
        Just("[a-c]".to_owned()),
        Just("[^a]".to_owned()),
        Just(r"[^/\x20]".to_owned()),
        Just(r"\d".to_owned()),
        Just(r"\W".to_owned()),
        Just("(?i)B".to_owned()),
        Just("ü".to_owned()),
    ];
    atom.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left}|{right})")),
            (inner, r"([*+?]|\{1,2\}|\{2\})\??").prop_map(|(inner, count)| format!("(?:{inner}){count}")),
        ]
    })
}

/// Text, and a percent-encoding of it in a query.
fn subjects() -> impl Strategy<Value = (String, String)> {
    let bytes = proptest::collection::vec(
        (prop_oneof!["[ab/=.%&+ 1B-]", Just("ü".to_owned())], 0..3_u8),
        0..6,
    );
    bytes.prop_map(|characters| {
        let mut encoded = String::new();
        let mut text = String::new();
        for (character, way) in characters {
            text += &character;
            for byte in character.bytes() {
                match (byte, way) {
                    (b' ', 0) => encoded.push('+'),
                    (byte, 0) if byte.is_ascii() && !b"%&+ ".contains(&byte) => {
                        encoded.push(char::from(byte));
                    }
                    (byte, 1) => write!(encoded, "%{byte:02x}").expect("writing to a string succeeds"),
                    (byte, _) => write!(encoded, "%{byte:02X}").expect("writing to a string succeeds"),
                }
            }
        }
        (text, encoded)
    })
}

/// An NGINX that answers which of some conditions hold, killed when dropped.
struct Answering {
    child: Child,
    folder: TempDir,
}

impl Answering {
    fn start(nginx: &Path, conditions: &[Condition]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let mut maps = String::new();
        let mut answers = String::new();
        for (number, condition) in conditions.iter().enumerate() {
            let source = match condition.subject {
                Subject::Query(_) => "$args",
                _ => "$http_subject",
            };
            let regex = Regex::condition(condition);
            writeln!(maps, "map {source} $is_{number} {{ default 0; {regex} 1; }}")
                .expect("writing succeeds");
            write!(answers, "${{is_{number}}}").expect("writing succeeds");
        }
        let configuration = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr alert;\nevents {{}}\nhttp {{\n\
             access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
             uwsgi_temp_path uwsgi; scgi_temp_path scgi; variables_hash_max_size 4096;\n{maps}\
             server {{ listen unix:socket; location / {{ return 200 \"{answers}\"; }} }}\n}}\n"
        );
        fs::write(folder.path().join("nginx.conf"), configuration).expect("the file can be written");
        let mut command = Command::new(nginx);
        command
            .args(["-e", "stderr", "-c", "nginx.conf", "-p"])
            .arg(folder.path());
        command
            .current_dir(folder.path())
            .env_remove("NGINX")
            .stdin(Stdio::null());
        let child = command.spawn().expect("NGINX runs");
        Self { child, folder }
    }

    fn ask(&mut self, subject: &str, query: &str) -> Vec<bool> {
        let socket = self.folder.path().join("socket");
        let mut stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) => {
                    let ended = self.child.try_wait().expect("a child can be waited for");
                    assert!(ended.is_none(), "NGINX ended: {ended:?}, {error}");
                    std::thread::yield_now();
                }
            }
        };
        let request =
            format!("GET /?{query} HTTP/1.1\r\nHost: a\r\nSubject: {subject}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("NGINX reads");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("NGINX answers");
        let (_, body) = response.split_once("\r\n\r\n").expect("an answer has a body");
        body.bytes().map(|digit| digit == b'1').collect()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.child.kill().expect("NGINX runs until it is killed");
        self.child.wait().expect("a killed child can be waited for");
    }
}

#[test]
fn nginx_matches_as_written() {
    let Some(nginx) = nginx() else { return };
    let mut runner = TestRunner::new(Runs::default());
    let mut patterns = Vec::new();
    while patterns.len() < 200 {
        let source = expressions()
            .new_tree(&mut runner)
            .expect("expressions can be made")
            .current();
        patterns.extend(Pattern::regex(&source));
    }
    let conditions = patterns.iter().flat_map(|pattern| {
        [
            Subject::Header(header("subject")),
            Subject::Query("n &=".to_owned()),
        ]
        .map(|subject| Condition {
            subject,
            pattern: pattern.clone(),
        })
    });
    let mut nginx = Answering::start(&nginx, &conditions.collect::<Vec<_>>());
    let expected = patterns.iter().map(|pattern| {
        let source = format!(r"\A(?:{})\z", pattern.source());
        let regex = regex::bytes::RegexBuilder::new(&source).unicode(false).build();
        (
            pattern.source(),
            regex.expect("what is accepted is an expression"),
        )
    });
    let expected = expected.collect::<Vec<_>>();
    let mut matched = [0, 0];
    for _ in 0..300 {
        let (text, encoded) = subjects()
            .new_tree(&mut runner)
            .expect("subjects can be made")
            .current();
        // NGINX drops the spaces around a header's value.
        let subject = text.trim_matches(' ');
        let query = format!("n+&m=a&n%20%26%3d={encoded}&n+%26%3D=b");
        let answers = nginx.ask(subject, &query);
        for ((source, regex), answers) in expected.iter().zip(answers.chunks(2)) {
            let in_header = !subject.is_empty() && regex.is_match(subject.as_bytes());
            assert_eq!(answers[0], in_header, "{source} on header {subject:?}");
            matched[0] += usize::from(answers[0]);
            matched[1] += usize::from(answers[1]);
            assert_eq!(
                answers[1],
                regex.is_match(text.as_bytes()),
                "{source} on query {query:?}"
            );
        }
    }
    assert!(
        matched.iter().all(|matched| *matched > 1_000),
        "only {matched:?} matched, of 60,000"
    );
}
