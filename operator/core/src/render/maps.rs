//! Values that are made from a request, each by a map of its own.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;

use super::{
    cors::{self, CorsView},
    pattern::Regex,
    rewrites::{self, RewriteView},
    text::{Choice, Comment, InternalName, Key, Number, Percentage, Value, Variable},
    view::{print, views},
};
use crate::{
    config::{Certificates, Condition, Config, Dispatch, Misdirected, ServerTls, Split, Subject},
    syntax::{HeaderName, Id},
};

/// Answers that one parameter of NGINX's configuration holds the variables of, with room to spare.
const ANSWERS_AT_ONCE: usize = 128;

/// `maps.conf`.
pub(super) fn view(config: &Config) -> String {
    let mut answers = Vec::new();
    let mut asked = BTreeSet::new();
    let dispatches = config.dispatches.iter();
    let dispatches = dispatches.map(|(&id, dispatch)| match questions_of_one_kind(dispatch, config) {
        Some(questions) => direct_view(id, dispatch, &questions),
        None => dispatch_view(id, dispatch, &mut asked, &mut answers),
    });
    let dispatches = dispatches.collect();
    print(&Maps {
        conditions: asked
            .into_iter()
            .filter_map(|id| Some(condition_view(id, config.conditions.get(&id)?)))
            .collect(),
        answers,
        dispatches,
        splits: config
            .splits
            .iter()
            .map(|(&id, split)| split_view(id, split))
            .collect(),
        rewrites: rewrites::views_of(config),
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
    let what = match subject {
        Subject::Method(_) => "method".to_owned(),
        Subject::Preflight(_) => "preflight for".to_owned(),
        Subject::Path => "path".to_owned(),
        Subject::Header(name) => format!("header {name}"),
        Subject::Query(name) => format!("query parameter {name}"),
    };
    ConditionView {
        about: Comment(format!("{what}: {}", pattern.source())),
        source: source(subject),
        variable: Variable::Is(id),
        regex: Regex::condition(condition),
    }
}

fn source(subject: &Subject) -> Variable {
    match subject {
        Subject::Method(_) => Variable::Nginx("request_method"),
        Subject::Preflight(_) => Variable::Nginx("preflight"),
        Subject::Path => Variable::Nginx("uri"),
        Subject::Header(name) => Variable::Header(name.clone()),
        Subject::Query(_) => Variable::Nginx("args"),
    }
}

/// The conditions of a dispatch, one for each choice, if all look at the same variable.
fn questions_of_one_kind<'a>(dispatch: &Dispatch, config: &'a Config) -> Option<Vec<&'a Condition>> {
    let conditional = dispatch
        .choices
        .iter()
        .take_while(|(conditions, _)| !conditions.is_empty());
    let questions = conditional.map(|(conditions, _)| match conditions.as_slice() {
        [condition] => config.conditions.get(condition),
        _ => None,
    });
    let questions = questions.collect::<Option<Vec<_>>>()?;
    let first = source(&questions.first()?.subject);
    questions
        .iter()
        .all(|question| source(&question.subject) == first)
        .then_some(questions)
}

/// A dispatch that looks at one variable is a map over that: a map takes NGINX about half a millisecond to read.
fn direct_view(id: Id, dispatch: &Dispatch, questions: &[&Condition]) -> DispatchView {
    let choices = questions
        .iter()
        .zip(&dispatch.choices)
        .map(|(question, (_, location))| ChoiceView {
            regex: Regex::condition(question),
            location: (*location).into(),
        });
    DispatchView {
        source: questions
            .first()
            .map(|question| Value::variable(source(&question.subject)))
            .unwrap_or_default(),
        variable: Variable::Dispatch(id),
        otherwise: otherwise(dispatch),
        choices: choices.collect(),
    }
}

/// Where the requests go that meet no condition.
fn otherwise(dispatch: &Dispatch) -> InternalName {
    let last = dispatch
        .choices
        .iter()
        .find(|(conditions, _)| conditions.is_empty());
    last.map_or(InternalName::NoRule, |(_, location)| (*location).into())
}

/// Any other dispatch is a map over the answers to its conditions, one digit each. There may be more of them than fit into
/// one parameter, so they are put together in parts.
fn dispatch_view(
    id: Id,
    dispatch: &Dispatch,
    asked: &mut BTreeSet<Id>,
    answers: &mut Vec<AnswersView>,
) -> DispatchView {
    let conditional = dispatch
        .choices
        .iter()
        .take_while(|(conditions, _)| !conditions.is_empty());
    let conditions = conditional
        .clone()
        .flat_map(|(conditions, _)| conditions)
        .copied()
        .collect::<BTreeSet<_>>();
    asked.extend(&conditions);
    let conditions = Vec::from_iter(conditions);
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
    let choices = conditional.map(|(conditions, location)| {
        let places = conditions
            .iter()
            .map(|condition| places[condition])
            .collect::<BTreeSet<_>>();
        ChoiceView {
            regex: Regex::ones_at(places),
            location: (*location).into(),
        }
    });
    DispatchView {
        source,
        variable: Variable::Dispatch(id),
        otherwise: otherwise(dispatch),
        choices: choices.collect(),
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
    let file = |name: &str| Value::text(&format!("certificates/{name}"));
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

    struct JoinedView {
        source: Variable,
        variable: Variable,
        value: Value,
    }

    struct CertificateView {
        variable: Variable,
        file: Value,
        by_host: Vec<HostFileView>,
    }

    struct HostFileView {
        name: Key,
        file: Value,
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
