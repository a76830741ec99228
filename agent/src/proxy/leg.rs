//! One request's way: to its picker, to an endpoint, and the response's back.

use std::{pin::pin, rc::Rc, sync::Arc};

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Version,
    header::{TE, UPGRADE},
};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{
    body::{Body, Limits, Origin},
    client_body::ClientBody,
    consult::{Advice, Dismissal, consult, unless_evicted},
    headers,
    journey::{Journey, Reply},
    metrics::Ongoing,
    picker::respond::{Consulted, Responded},
    refusal::Refusal,
    replay::{Progress, Upload},
    server::Server,
    source::Source,
    table::{Leg, Table},
    upgrade,
    usage::Meter,
};
use crate::causes;

/// A response whose head has come, with what else lasts as long as it does.
struct Arrival {
    reply: Reply,
    upload: Upload<Source>,
    consulted: Option<Consulted>,
}

/// Answers one request.
pub async fn serve(server: Rc<Server>, request: Request<Incoming>) -> Response<Body> {
    let mut request = request.map(ClientBody::new);
    let begun = Instant::now();
    let mut ongoing = server.metrics.begin();
    let table = server.table();
    let Some(leg) = leg(&table, request.headers()) else {
        ongoing.end();
        return Refusal::UnknownLeg.response(&server.metrics.answers);
    };
    let client = headers::upgrade(request.headers()).map(|_| hyper::upgrade::on(&mut request));
    prepare(&mut request);
    let deadline = leg.request_timeout.map(|timeout| begun + timeout);
    let arrival = match go(&server, &table, leg, request, deadline).await {
        Ok(arrival) => arrival,
        Err(Dismissal::Answer(response)) => {
            ongoing.end();
            return response.map(Body::text);
        }
        Err(Dismissal::Refusal(refusal)) => {
            ongoing.end();
            if let Refusal::Failure { endpoint, failure } = &refusal
                && let Some(failures) = endpoint.outage.fail()
            {
                let (address, error) = (endpoint.address, causes::sentence(failure));
                warn!(leg = leg.name, %address, failures, error, "no response");
            }
            return refusal.response(&server.metrics.answers);
        }
    };
    let endpoint = arrival.reply.in_flight.endpoint();
    if let Some(failures) = endpoint.outage.succeed() {
        info!(leg = leg.name, address = %endpoint.address, failures, "responses again");
    }
    let asked = leg.is_metered.then_some(begun);
    arrival.respond(&server, &table, client, asked, ongoing).await
}

/// The way of a request to the head of its response.
async fn go(
    server: &Rc<Server>,
    table: &Table,
    leg: &Arc<Leg>,
    request: Request<ClientBody>,
    deadline: Option<Instant>,
) -> Result<Arrival, Dismissal> {
    let mut leg = Arc::clone(leg);
    let mut advice = match &leg.picker {
        // Most legs have none, and what asking one needs is large.
        Some(picker) => {
            let advice = Box::pin(consult(server, table, &leg, picker, request, deadline)).await?;
            // Pods may have come while the request was in the picker's queue.
            leg = server.newest(&leg);
            advice
        }
        None => Advice {
            request: request.map(Source::Client),
            endpoints: None,
            consulted: None,
        },
    };
    let (head, body) = advice.request.into_parts();
    let journey = Journey {
        server,
        table,
        leg: &leg,
        deadline,
        chosen: advice.endpoints,
        tried: Vec::new(),
        retries: 0,
    };
    let keep = journey.keep(&head);
    let upload = Upload::new(body, keep);
    let consulted = advice.consulted.as_mut();
    let travelled = unless_evicted(&server.metrics, consulted, pin!(journey.travel(head, &upload))).await?;
    match travelled {
        Ok(reply) => Ok(Arrival {
            reply,
            upload,
            consulted: advice.consulted,
        }),
        Err(refusal) => {
            if let Some(consulted) = advice.consulted {
                consulted.finish();
            }
            Err(refusal.into())
        }
    }
}

/// The leg that NGINX named.
fn leg<'a>(table: &'a Table, headers: &HeaderMap) -> Option<&'a Arc<Leg>> {
    let name = headers.get(headers::LEG).and_then(|name| name.to_str().ok());
    let leg = name.and_then(|name| table.leg(name));
    if leg.is_none()
        && let Some(requests) = table.strays.fail()
    {
        error!(name, requests, "there is no such leg");
    }
    leg
}

/// Makes a request fit for pickers and endpoints.
fn prepare<B>(request: &mut Request<B>) {
    request.extensions_mut().clear();
    let headers = request.headers_mut();
    let upgrade = headers::upgrade(headers);
    let takes_trailers = headers::takes_trailers(headers);
    headers::remove_hop_by_hop(headers);
    headers::remove_control(headers);
    headers.remove(headers::LEG);
    if let Some(protocol) = upgrade {
        headers.insert(UPGRADE, protocol);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

impl Arrival {
    /// The response for NGINX, with the time at which a request came whose answer is counted.
    async fn respond(
        self,
        server: &Rc<Server>,
        table: &Table,
        client: Option<OnUpgrade>,
        asked: Option<Instant>,
        mut ongoing: Ongoing,
    ) -> Response<Body> {
        let Self {
            reply:
                Reply {
                    mut response,
                    in_flight,
                    deadline,
                },
            upload,
            consulted,
        } = self;
        *response.version_mut() = Version::HTTP_11;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(client) = client
        {
            let idle = table.settings.idle_timeout;
            return upgrade::switch(server, response, client, consulted, ongoing, in_flight, idle);
        }
        headers::remove_hop_by_hop(response.headers_mut());
        let response = match consulted {
            None => response.map(Origin::Endpoint),
            Some(consulted) => {
                match Box::pin(consulted.respond(response, in_flight.endpoint().address)).await {
                    Responded::Response(response) => {
                        response.map(|passing| Origin::Picker(Box::new(passing)))
                    }
                    Responded::Answer(response) => {
                        ongoing.end();
                        server.metrics.aborts.picker.inc();
                        return response.map(Body::text);
                    }
                }
            }
        };
        let limits = Limits {
            deadline,
            idle: table.settings.idle_timeout,
            upload: matches!(upload.progress(), Progress::Waiting(_)).then_some(upload),
        };
        let meter = asked.and_then(|asked| Meter::of(&response, asked, &server.metrics));
        response.map(|origin| Body::served(origin, limits, meter, ongoing, in_flight))
    }
}
