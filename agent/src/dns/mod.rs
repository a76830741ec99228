//! The DNS that NGINX learns its endpoints from: answers from memory, on loopback, for its own names only.
//!
//! ```text
//! SRV _<service>._tcp.<name>   one record per port: 0 1 <port> p<port>.<name>
//! A, AAAA p<port>.<name>       the addresses that have this port
//! ```
//!
//! One SRV target per port, not per address: NGINX asks a question for each target (measured: 200 targets are fine,
//! 1,000 never come up), while 1,000 addresses in one answer are.

mod message;
mod server;
mod table;

use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hickory_proto::rr::{Name, RecordType};
use tokio::{sync::Notify, time::timeout};

pub use self::{
    server::Server,
    table::{Table, Upstream},
};

/// What NGINX can ask.
type Question = (Name, RecordType);

/// The answers, shared by those who give them and those who change them.
#[derive(Clone, Debug, Default)]
pub struct Dns {
    state: Arc<Mutex<State>>,
    /// Notified when a question that somebody waits for has been answered.
    progress: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    table: Table,
    /// Questions that somebody waits for, until they have been answered.
    awaited: HashSet<Question>,
}

impl Dns {
    /// Replaces all answers.
    pub fn answer_from(&self, table: Table) {
        self.state().table = table;
    }

    /// Waits until NGINX knows the endpoints of upstreams: until it has asked all that there is to ask about them,
    /// counted from this call on, or has asked none of it for as long as it may be silent. Says whether it has.
    pub fn asked_about(
        &self,
        upstreams: &[&Upstream],
        silence: Duration,
    ) -> impl Future<Output = bool> + use<> {
        {
            let mut state = self.state();
            state.awaited = upstreams
                .iter()
                .flat_map(|upstream| state.table.questions(upstream))
                .collect();
        }
        let dns = self.clone();
        async move {
            while !dns.state().awaited.is_empty() {
                if timeout(silence, dns.progress.notified()).await.is_err() {
                    return false;
                }
            }
            true
        }
    }

    /// The response to a query, when it deserves one; of at most `limit` bytes, or of what the query allows beyond.
    fn respond(&self, query: &[u8], transport: message::Transport) -> Option<Vec<u8>> {
        let mut state = self.state();
        let response = message::respond(&state.table, query, transport)?;
        if let Some(question) = response.answered
            && state.awaited.remove(&question)
        {
            // One permit is kept for whoever is about to wait.
            self.progress.notify_one();
        }
        Some(response.bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is a single assignment, so that the state is whole even where a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use proto::fleet::{EndpointPort, Endpoints};
    use tokio::time::sleep;

    use super::*;

    const SILENCE: Duration = Duration::from_secs(2);

    /// The upstream `shop`, and a DNS that knows its one port.
    fn shop() -> (Upstream, Dns) {
        let (name, service) = ("shop".to_owned(), "e".to_owned());
        let ports = vec![EndpointPort {
            port: 80,
            addresses: vec!["10.0.0.1".to_owned()],
        }];
        let dns = Dns::default();
        dns.answer_from(
            Table::new(&[Endpoints {
                name: name.clone(),
                service: service.clone(),
                ports,
            }])
            .0,
        );
        (Upstream { name, service }, dns)
    }

    fn ask(dns: &Dns, name: &str, kind: RecordType) {
        let mut query = Message::new(7, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        dns.respond(&query.to_vec().unwrap(), message::Transport::Udp)
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_is_known_when_the_last_question_has_been_answered() {
        let (upstream, dns) = shop();
        let known = dns.asked_about(&[&upstream], SILENCE);
        ask(&dns, "_e._tcp.shop.", RecordType::SRV);
        ask(&dns, "p80.shop.", RecordType::A);
        assert!(!known.await, "the question for IPv6 is missing");

        let known = dns.asked_about(&[&upstream], SILENCE);
        ask(&dns, "_e._tcp.shop.", RecordType::SRV);
        ask(&dns, "p80.shop.", RecordType::A);
        ask(&dns, "p80.shop.", RecordType::AAAA);
        assert!(known.await);
        assert!(dns.asked_about(&[], SILENCE).await, "there is nothing to ask");
    }

    #[tokio::test(start_paused = true)]
    async fn upstreams_are_waited_for_as_long_as_questions_come() {
        let (upstream, dns) = shop();
        let known = dns.asked_about(&[&upstream], SILENCE);
        let questions = async {
            for (name, kind) in [
                ("_e._tcp.shop.", RecordType::SRV),
                ("p80.shop.", RecordType::A),
                ("p80.shop.", RecordType::AAAA),
            ] {
                sleep(SILENCE / 2).await;
                ask(&dns, name, kind);
            }
        };
        assert!(tokio::join!(known, questions).0);
    }
}
