//! What NGINX says when it does not take a configuration.

use std::path::Path;

use crate::prefix::Prefix;

/// NGINX's first complaint, free of time stamps and of the machine's paths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub message: String,
    /// Relative to the generation; empty when NGINX named none.
    pub file: String,
    /// From 1; 0 when NGINX named none.
    pub line: u32,
}

impl Refusal {
    /// A refusal that is not about a line of a file.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            file: String::new(),
            line: 0,
        }
    }

    /// The first complaint in what NGINX wrote to its standard error or error log; none when there is none.
    ///
    /// Such lines look like `nginx: [emerg] unknown directive "x" in /prefix/current/nginx.conf:3` and
    /// `2026/11/22 11:00:45 [emerg] 15#15: bind() to 127.0.0.1:80 failed (98: Address in use)`.
    pub fn first(text: &str, prefix: &Prefix) -> Option<Self> {
        text.lines()
            .find_map(complaint)
            .map(|complaint| Self::parse(complaint, prefix))
    }

    /// The first complaint, as soon as what NGINX wrote says that it has given up.
    ///
    /// A busy port is tried five times within two and a half seconds, with a complaint each time.
    pub fn final_one(text: &str, prefix: &Prefix) -> Option<Self> {
        let given_up = text
            .lines()
            .filter_map(complaint)
            .any(|complaint| !complaint.starts_with("bind() to "));
        if given_up { Self::first(text, prefix) } else { None }
    }

    fn parse(complaint: &str, prefix: &Prefix) -> Self {
        let (message, place) = complaint.rsplit_once(" in ").unwrap_or((complaint, ""));
        let place = place
            .rsplit_once(':')
            .and_then(|(file, line)| Some((file, line.parse().ok()?)));
        match place {
            Some((file, line)) => Self {
                message: without_paths(message, prefix),
                file: without_paths(file, prefix),
                line,
            },
            None => Self::new(without_paths(complaint, prefix)),
        }
    }
}

/// What follows `[emerg]` and the identifiers of process, thread and connection.
fn complaint(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("[emerg] ")?;
    match rest.split_once(": ") {
        Some((identifiers, message)) if is_process_and_thread(identifiers) => Some(message),
        _ => Some(rest),
    }
}

/// Whether the text is like `15#15`.
fn is_process_and_thread(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('#')
        .is_some_and(|(process, thread)| is_number(process) && is_number(thread))
}

/// The text with paths of a generation, then of the prefix, made relative to it.
fn without_paths(text: &str, prefix: &Prefix) -> String {
    let folder = |path: &Path| format!("{}/", path.display());
    let mut text = text.replace(&folder(&prefix.current()), "");
    let generations = folder(&prefix.generations());
    while let Some(start) = text.find(&generations) {
        let version = start + generations.len();
        let end = text[version..]
            .find('/')
            .map_or(version, |slash| version + slash + 1);
        text.replace_range(start..end, "");
    }
    text.replace(&folder(prefix.path()), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The refusal in a text whose `PREFIX` stands for an existing folder.
    fn refusal(text: &str) -> Option<Refusal> {
        let folder = tempfile::tempdir().unwrap();
        let prefix = Prefix::create(folder.path()).unwrap();
        Refusal::first(&text.replace("PREFIX", prefix.path().to_str().unwrap()), &prefix)
    }

    #[test]
    fn file_and_line_are_relative_to_the_generation() {
        let text = "nginx: [warn] something else in PREFIX/generations/1f2e/nginx.conf:1\n\
                    nginx: [emerg] unknown directive \"foo\" in PREFIX/generations/1f2e/conf.d/http.conf:12\n\
                    nginx: configuration file PREFIX/generations/1f2e/nginx.conf test failed\n";
        let expected = Refusal {
            message: "unknown directive \"foo\"".to_owned(),
            file: "conf.d/http.conf".to_owned(),
            line: 12,
        };
        assert_eq!(refusal(text), Some(expected));
    }

    #[test]
    fn a_message_without_file_stays_whole() {
        let text = "2026/11/22 11:00:45 [emerg] 15#15: bind() to 127.0.0.1:80 failed (98: Address in use)\n";
        assert_eq!(
            refusal(text),
            Some(Refusal::new("bind() to 127.0.0.1:80 failed (98: Address in use)"))
        );
        assert_eq!(refusal("nginx: [emerg] host not found in upstream \"a:b\""), {
            Some(Refusal::new("host not found in upstream \"a:b\""))
        });
    }

    #[test]
    fn paths_within_the_message_are_relative() {
        let text = "nginx: [emerg] cannot load certificate \"PREFIX/current/certificates/a.pem\": BIO_new_file() failed";
        let expected = Refusal::new("cannot load certificate \"certificates/a.pem\": BIO_new_file() failed");
        assert_eq!(refusal(text), Some(expected));
    }

    #[test]
    fn warnings_are_no_refusal() {
        assert_eq!(
            refusal("nginx: [warn] conflicting server name \"a\" on 0.0.0.0:80, ignored"),
            None
        );
    }

    #[test]
    fn a_busy_port_is_final_only_when_nginx_gave_up() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = Prefix::create(folder.path()).unwrap();
        let busy = "2026/11/22 11:00:45 [emerg] 15#15: bind() to 127.0.0.1:80 failed (98: Address in use)\n";
        assert_eq!(Refusal::final_one(busy, &prefix), None);
        let given_up = format!("{busy}2026/11/22 11:00:47 [emerg] 15#15: still could not bind()\n");
        let refusal = Refusal::final_one(&given_up, &prefix).unwrap();
        assert!(refusal.message.starts_with("bind() to"), "{refusal:?}");
    }
}
