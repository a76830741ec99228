//! What a leg's picker has to say of a request.

use std::{net::SocketAddr, pin::Pin, sync::Arc};

use http::{Request, Response};
use hyper::body::Bytes;
use tokio::{
    select,
    time::{Instant, timeout_at},
};
use tracing::{info, warn};

use super::{
    client_body::ClientBody,
    headers,
    metrics::Metrics,
    picker::{
        ask::{Asked, Refused, ask},
        respond::Consulted,
    },
    refusal::Refusal,
    server::Server,
    source::Source,
    table::{Leg, Picker, Table},
};
use crate::causes;

/// A request on its way, as its picker has it.
#[derive(Debug)]
pub struct Advice {
    pub request: Request<Source>,
    /// Whom it may go to, in order of preference; none for any endpoint of the leg.
    pub endpoints: Option<Vec<SocketAddr>>,
    /// Who is to hear of the response.
    pub consulted: Option<Consulted>,
}

/// Why a request goes nowhere.
#[derive(Debug)]
pub enum Dismissal {
    /// The picker's own response.
    Answer(Box<Response<Bytes>>),
    Refusal(Refusal),
}

/// Asks a picker whom a request may go to, until some time.
pub async fn consult(
    server: &Server,
    table: &Table,
    leg: &Arc<Leg>,
    picker: &Picker,
    request: Request<ClientBody>,
    deadline: Option<Instant>,
) -> Result<Advice, Dismissal> {
    let begun = Instant::now();
    let asking = put(server, table, leg, picker, request);
    let asked = match deadline {
        Some(deadline) => timeout_at(deadline, asking)
            .await
            .unwrap_or(Err(Refusal::Late.into())),
        None => asking.await,
    };
    server
        .metrics
        .picker_seconds
        .observe(begun.elapsed().as_secs_f64());
    let mut advice = asked?;
    headers::remove_wishes(advice.request.headers_mut());
    Ok(advice)
}

/// What comes of a request's way, unless its picker evicts it before that is known.
pub async fn unless_evicted<W: Future>(
    metrics: &Metrics,
    consulted: Option<&mut Consulted>,
    mut way: Pin<&mut W>,
) -> Result<W::Output, Dismissal> {
    let Some(consulted) = consulted else {
        return Ok(way.await);
    };
    select! {
        biased;
        outcome = &mut way => Ok(outcome),
        answer = consulted.eviction() => {
            metrics.aborts.picker.inc();
            Err(Dismissal::Answer(Box::new(answer)))
        }
    }
}

/// Puts the question.
async fn put(
    server: &Server,
    table: &Table,
    leg: &Arc<Leg>,
    picker: &Picker,
    request: Request<ClientBody>,
) -> Result<Advice, Dismissal> {
    let picks = &server.metrics.picks;
    let members = || Arc::clone(&server.newest(leg).endpoints);
    let Some(connections) = server.pickers.connections(picker) else {
        picks.failure.inc();
        return fall_back(server, picker, request.map(Source::Client));
    };
    let asked = ask(&connections, &picker.outage, &table.settings, request, members).await;
    if asked.is_ok()
        && let Some(failures) = picker.outage.succeed()
    {
        info!(leg = leg.name, failures, "the picker is back");
    }
    match asked {
        Ok(Asked::Chosen(chosen)) => {
            picks.endpoints.inc();
            Ok(Advice {
                request: chosen.request.map(Source::held),
                endpoints: Some(chosen.endpoints),
                consulted: Some(chosen.consulted),
            })
        }
        Ok(Asked::Answer(response)) => {
            picks.answer.inc();
            Err(Dismissal::Answer(Box::new(response)))
        }
        Err(Refused::Failed { failure, request }) => {
            picks.failure.inc();
            if let Some(failures) = picker.outage.fail() {
                warn!(
                    leg = leg.name,
                    failures,
                    error = causes::sentence(&failure),
                    "no choice of the picker"
                );
            }
            fall_back(server, picker, request.map(Source::held))
        }
        Err(Refused::TooLong) => Err(Refusal::TooLong.into()),
        Err(Refused::Client { .. }) => Err(Refusal::Incomplete.into()),
    }
}

/// What becomes of a request whose picker has failed.
fn fall_back(server: &Server, picker: &Picker, request: Request<Source>) -> Result<Advice, Dismissal> {
    if !picker.message.fail_open {
        return Err(Refusal::NoPicker.into());
    }
    server.metrics.fallbacks.inc();
    Ok(Advice {
        request,
        endpoints: None,
        consulted: None,
    })
}

impl From<Refusal> for Dismissal {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}
