//! From a query's bytes to a response's.

use hickory_proto::{
    op::{Edns, Message, MessageType, Metadata, OpCode, ResponseCode},
    rr::DNSClass,
};

use super::{Question, Table};

/// Most that a response may have over UDP where the query does not allow more, see RFC 1035 4.2.1.
const UDP_LIMIT: u16 = 512;

/// Most that we say we take over UDP, see RFC 6891 6.2.5.
const EDNS_LIMIT: u16 = 1232;

/// How a query came, which limits its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// What to send, and which question is thereby answered in full.
#[derive(Debug)]
pub(super) struct Response {
    pub bytes: Vec<u8>,
    pub answered: Option<Question>,
}

/// The response to a query; none to what is not even a query.
pub(super) fn respond(table: &Table, query: &[u8], transport: Transport) -> Option<Response> {
    let Ok(query) = Message::from_vec(query) else {
        return malformed(query);
    };
    if query.message_type != MessageType::Query {
        return None;
    }
    let mut response = Message::response(query.id, query.op_code);
    response.metadata = Metadata::response_from_request(&query.metadata);
    response.metadata.authoritative = true;
    response.add_queries(query.queries.iter().cloned());
    let mut limit = UDP_LIMIT;
    if let Some(edns) = &query.edns {
        limit = limit.max(edns.max_payload());
        let mut ours = Edns::new();
        ours.set_max_payload(EDNS_LIMIT).set_version(0);
        response.set_edns(ours);
    }
    let question = match query.queries.as_slice() {
        [one] if query.op_code == OpCode::Query && one.query_class() == DNSClass::IN => {
            Some((one.name().clone(), one.query_type()))
        }
        _ => None,
    };
    response.metadata.response_code = match question.as_ref().map(|question| table.records(question)) {
        Some(Some(records)) => {
            response.add_answers(records);
            ResponseCode::NoError
        }
        Some(None) => ResponseCode::NXDomain,
        None => ResponseCode::NotImp,
    };
    let bytes = response.to_vec().ok()?;
    if transport == Transport::Udp && bytes.len() > limit.into() {
        return Some(Response {
            bytes: response.truncate().to_vec().ok()?,
            answered: None,
        });
    }
    Some(Response {
        bytes,
        answered: question,
    })
}

/// The response to bytes that have at least a query's header: FORMERR, so that the sender need not wait.
fn malformed(query: &[u8]) -> Option<Response> {
    let [first, second, flags, ..] = *query else {
        return None;
    };
    if query.len() < 12 || flags & 0x80 != 0 {
        return None;
    }
    let message = Message::error_msg(
        u16::from_be_bytes([first, second]),
        OpCode::Query,
        ResponseCode::FormErr,
    );
    Some(Response {
        bytes: message.to_vec().ok()?,
        answered: None,
    })
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::Query,
        rr::{Name, RecordType},
    };
    use proto::fleet::{EndpointPort, Endpoints};

    use super::*;

    /// A table of one name with as many addresses on port 80.
    fn table(addresses: u8) -> Table {
        let addresses = (0..addresses).map(|last| format!("10.0.0.{last}")).collect();
        let ports = vec![EndpointPort { port: 80, addresses }];
        Table::new(&[Endpoints {
            name: "shop".to_owned(),
            service: "e".to_owned(),
            ports,
        }])
        .0
    }

    fn query(name: &str, kind: RecordType) -> Message {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message
    }

    fn respond_to(table: &Table, query: &Message, transport: Transport) -> Message {
        let response = respond(table, &query.to_vec().unwrap(), transport).unwrap();
        let message = Message::from_vec(&response.bytes).unwrap();
        assert_eq!(message.id, 7);
        assert_eq!(message.queries, query.queries);
        assert_eq!(response.answered.is_some(), !message.truncation);
        message
    }

    #[test]
    fn known_names_are_answered_and_others_do_not_exist() {
        let table = table(3);
        let response = respond_to(&table, &query("p80.shop.", RecordType::A), Transport::Udp);
        assert_eq!(
            (response.response_code, response.answers.len()),
            (ResponseCode::NoError, 3)
        );
        let response = respond_to(&table, &query("p80.shop.", RecordType::AAAA), Transport::Udp);
        assert_eq!(
            (response.response_code, response.answers.len()),
            (ResponseCode::NoError, 0)
        );
        let response = respond_to(&table, &query("p81.shop.", RecordType::A), Transport::Udp);
        assert_eq!(
            (response.response_code, response.answers.len()),
            (ResponseCode::NXDomain, 0)
        );
    }

    #[test]
    fn a_long_answer_is_truncated_over_udp_and_whole_over_tcp() {
        let (table, query) = (table(200), query("p80.shop.", RecordType::A));
        let response = respond_to(&table, &query, Transport::Udp);
        assert!(response.truncation && response.answers.is_empty());
        let response = respond_to(&table, &query, Transport::Tcp);
        assert!(!response.truncation);
        assert_eq!(response.answers.len(), 200);
    }

    #[test]
    fn a_query_may_allow_more_over_udp() {
        let mut query = query("p80.shop.", RecordType::A);
        let mut edns = Edns::new();
        edns.set_max_payload(4096);
        query.set_edns(edns);
        let response = respond_to(&table(200), &query, Transport::Udp);
        assert!(!response.truncation && response.edns.is_some());
        assert_eq!(response.answers.len(), 200);
    }

    #[test]
    fn garbage_is_refused_or_ignored_without_panic() {
        let table = table(1);
        assert!(respond(&table, b"", Transport::Udp).is_none());
        assert!(respond(&table, b"short", Transport::Udp).is_none());
        let mut bytes = query("p80.shop.", RecordType::A).to_vec().unwrap();
        for end in 0..bytes.len() {
            respond(&table, &bytes[..end], Transport::Udp);
        }
        bytes.truncate(20);
        let response = respond(&table, &bytes, Transport::Udp).unwrap();
        assert_eq!(
            Message::from_vec(&response.bytes).unwrap().response_code,
            ResponseCode::FormErr
        );
        let answer = respond(&table, &response.bytes, Transport::Udp);
        assert!(answer.is_none(), "responses are not responded to");
    }
}
