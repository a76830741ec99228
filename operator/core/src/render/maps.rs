//! Values that are made from a request, each by a map of its own.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;

use super::{
    cors::{self, CorsView},
    pattern::Regex,
    text::{Choice, Comment, InternalName, Key, Number, Percentage, Value, Variable, Verbatim, print, views},
};
use crate::{
    config::{
        Certificates, Condition, Config, Dispatch, Misdirected, PathRewrite, ServerTls, Split, Subject,
    },
    syntax::{HeaderName, Id},
};

/// Answers that one parameter of NGINX's configuration holds the variables of, with room to spare.
const ANSWERS_AT_ONCE: usize = 128;

/// `maps.conf`.
pub(super) fn view(config: &Config) -> String {
    let mut answers = Vec::new();
    let dispatches = config
        .dispatches
        .iter()
        .map(|(&id, dispatch)| dispatch_view(id, dispatch, &mut answers))
        .collect();
    print(&Maps {
        conditions: config
            .conditions
            .iter()
            .map(|(&id, condition)| condition_view(id, condition))
            .collect(),
        answers,
        dispatches,
        splits: config
            .splits
            .iter()
            .map(|(&id, split)| split_view(id, split))
            .collect(),
        rewrites: config
            .rewrites
            .iter()
            .flat_map(|(&id, rewrite)| rewrite_views(id, rewrite))
            .collect(),
        cors: config
            .cors
            .iter()
            .map(|(&id, policy)| cors::view(id, policy))
            .collect(),
        joined: config.joined_headers.iter().map(joined_view).collect(),
        certificates: certificates(config).into_iter().map(certificate_view).collect(),
        ports: config
            .misdirected
            .iter()
            .map(|(&port, misdirected)| port_view(port, misdirected))
            .collect(),
    })
}

fn condition_view(id: Id, condition: &Condition) -> ConditionView {
    let Condition { subject, pattern } = condition;
    let (what, source) = match subject {
        Subject::Method(_) => ("method".to_owned(), Variable::Nginx("request_method")),
        Subject::Path => ("path".to_owned(), Variable::Nginx("uri")),
        Subject::Header(name) => (format!("header {name}"), Variable::Header(name.clone())),
        Subject::Query(name) => (format!("query parameter {name}"), Variable::Nginx("args")),
    };
    ConditionView {
        about: Comment(format!("{what}: {}", pattern.source())),
        source,
        variable: Variable::Is(id),
        regex: Regex::condition(condition),
    }
}

/// A dispatch is a map over the answers to its conditions, one digit each. There may be more of them than fit into
/// one parameter, so they are put together in parts.
fn dispatch_view(id: Id, dispatch: &Dispatch, answers: &mut Vec<AnswersView>) -> DispatchView {
    let conditions = dispatch.choices.iter().flat_map(|(conditions, _)| conditions);
    let conditions = conditions
        .copied()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>();
    let parts = conditions.chunks(ANSWERS_AT_ONCE);
    let concatenated = |part: &[Id]| {
        part.iter()
            .fold(Value::default(), |value, &id| value.then(Variable::Is(id)))
    };
    let source = if parts.len() <= 1 {
        concatenated(&conditions)
    } else {
        let mut source = Value::default();
        for (index, part) in parts.enumerate() {
            let variable = Variable::Answers(id, index);
            answers.push(AnswersView {
                variable: variable.clone(),
                value: concatenated(part),
            });
            source = source.then(variable);
        }
        source
    };
    let places = conditions.iter().zip(0..).collect::<BTreeMap<_, _>>();
    let mut otherwise = InternalName::NoRule;
    let mut choices = Vec::new();
    for (conditions, location) in &dispatch.choices {
        if conditions.is_empty() {
            otherwise = (*location).into();
            break;
        }
        let places = conditions
            .iter()
            .map(|condition| places[condition])
            .collect::<BTreeSet<_>>();
        choices.push(ChoiceView {
            regex: Regex::ones_at(places),
            location: (*location).into(),
        });
    }
    DispatchView {
        source,
        variable: Variable::Dispatch(id),
        otherwise,
        choices,
    }
}

fn split_view(id: Id, split: &Split) -> SplitView {
    let Split { salt, shares } = split;
    let last = shares.len().saturating_sub(1);
    let shares = shares
        .iter()
        .enumerate()
        .map(|(index, (share, parts))| ShareView {
            percentage: Percentage((index < last).then_some(*parts)),
            choice: Choice(*share),
        });
    SplitView {
        key: Value::nginx("request_id").then_text(salt),
        variable: Variable::Split(id),
        shares: shares.collect(),
    }
}

/// The replacement twice: of the path as sent, with its query, and of the decoded path for protocols whose module
/// encodes it again.
fn rewrite_views(id: Id, rewrite: &PathRewrite) -> [RewriteView; 2] {
    let PathRewrite { prefix, replacement } = rewrite;
    let new = replacement.strip_suffix('/').unwrap_or(replacement);
    let or_root = if new.is_empty() { "/" } else { new };
    let about = format!("path {prefix}, replaced by {replacement}");
    let capture = |number| Variable::Nginx(number);
    // The root has no segments: what is left of any path starts with a slash.
    let whole = !prefix.without_trailing_slash().is_empty();
    let mut encoded = vec![EntryView {
        regex: Regex::encoded_prefix(prefix, true),
        value: Value::text(new).then(capture("1")).then(capture("2")),
    }];
    let decoded_new = percent_decoded(new);
    let mut decoded = vec![EntryView {
        regex: Regex::decoded_prefix(prefix, true),
        value: Value::text(&decoded_new).then(capture("1")),
    }];
    if whole {
        encoded.push(EntryView {
            regex: Regex::encoded_prefix(prefix, false),
            value: Value::text(or_root).then(capture("1")),
        });
        decoded.push(EntryView {
            regex: Regex::decoded_prefix(prefix, false),
            value: Value::text(&percent_decoded(or_root)),
        });
    }
    [
        RewriteView {
            about: Comment(about.clone()),
            source: Variable::Nginx("plain_uri"),
            variable: Variable::Rewrite(id),
            entries: encoded,
        },
        RewriteView {
            about: Comment(format!("{about}, decoded")),
            source: Variable::Nginx("client_path"),
            variable: Variable::DecodedRewrite(id),
            entries: decoded,
        },
    ]
}

fn joined_view(name: &HeaderName) -> JoinedView {
    let header = Variable::Header(name.clone());
    JoinedView {
        value: Value::variable(header.clone()).then_text(","),
        source: header,
        variable: Variable::Joined(name.clone()),
    }
}

/// Name of a choice of certificates.
pub(super) fn certificates_id(certificates: &Certificates) -> Id {
    Id::of(&(&certificates.default, &certificates.by_host))
}

fn certificates(config: &Config) -> BTreeMap<Id, &Certificates> {
    let servers = config.servers.iter().filter_map(|server| match &server.tls {
        Some(ServerTls::Terminate { certificates, .. }) => {
            Some((certificates_id(certificates), certificates))
        }
        Some(ServerTls::Reject) | None => None,
    });
    servers.collect()
}

fn certificate_view((id, certificates): (Id, &Certificates)) -> CertificateView {
    let file = |name: &str| Verbatim(format!("certificates/{name}"));
    let hosts = certificates.by_host.iter();
    CertificateView {
        variable: Variable::Certificate(id),
        file: file(&certificates.default),
        by_host: hosts
            .map(|(name, certificate)| HostFileView {
                name: Key(name.to_string()),
                file: file(certificate),
            })
            .collect(),
    }
}

fn port_view(port: u16, misdirected: &Misdirected) -> PortView {
    let listeners = misdirected.listeners.iter();
    PortView {
        variable: Variable::TlsListener(port),
        otherwise: misdirected.default.map(|number| Number(number as u64)),
        listeners: listeners
            .map(|(name, number)| HostListenerView {
                name: Key(name.to_string()),
                listener: Number(*number as u64),
            })
            .collect(),
    }
}

/// A path without its percent-encodings, as far as it is text.
pub(super) fn percent_decoded(path: &str) -> String {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = (byte == b'%').then(|| tail.get(..2)).flatten();
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(value.unwrap_or(byte));
        rest = if value.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

views! {
    #[derive(Template)]
    #[template(path = "maps.conf")]
    struct Maps {
        conditions: Vec<ConditionView>,
        answers: Vec<AnswersView>,
        dispatches: Vec<DispatchView>,
        splits: Vec<SplitView>,
        rewrites: Vec<RewriteView>,
        cors: Vec<CorsView>,
        joined: Vec<JoinedView>,
        certificates: Vec<CertificateView>,
        ports: Vec<PortView>,
    }

    struct ConditionView {
        about: Comment,
        source: Variable,
        variable: Variable,
        regex: Regex,
    }

    struct AnswersView {
        variable: Variable,
        value: Value,
    }

    struct DispatchView {
        source: Value,
        variable: Variable,
        otherwise: InternalName,
        choices: Vec<ChoiceView>,
    }

    struct ChoiceView {
        regex: Regex,
        location: InternalName,
    }

    struct SplitView {
        key: Value,
        variable: Variable,
        shares: Vec<ShareView>,
    }

    struct ShareView {
        percentage: Percentage,
        choice: Choice,
    }

    struct RewriteView {
        about: Comment,
        source: Variable,
        variable: Variable,
        entries: Vec<EntryView>,
    }

    struct EntryView {
        regex: Regex,
        value: Value,
    }

    struct JoinedView {
        source: Variable,
        variable: Variable,
        value: Value,
    }

    struct CertificateView {
        variable: Variable,
        file: Verbatim,
        by_host: Vec<HostFileView>,
    }

    struct HostFileView {
        name: Key,
        file: Verbatim,
    }

    struct PortView {
        variable: Variable,
        otherwise: Option<Number>,
        listeners: Vec<HostListenerView>,
    }

    struct HostListenerView {
        name: Key,
        listener: Number,
    }
}
