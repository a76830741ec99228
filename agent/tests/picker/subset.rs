//! Pickers that choose endpoints which are no members of the pool.

use agent::proxy::picker::{
    ask::Failure,
    message::{Metadata, processing_request::Request, processing_response::Response, subset},
};

use crate::setting::{Call, ENDPOINT, chosen, full, get, post, streamed, text, with_picker};

const STRANGERS: &str = "10.9.9.9:1,example.com:80";

/// What the messages about a request say of the endpoints to choose from, one for each, to its end.
async fn hints(call: &mut Call) -> Vec<Option<Metadata>> {
    let mut hints = Vec::new();
    loop {
        let message = call.next().await.expect("the request goes on");
        hints.push(message.metadata_context);
        match message.request {
            Some(Request::RequestHeaders(headers)) if headers.end_of_stream => return hints,
            Some(Request::RequestBody(body)) if body.end_of_stream => return hints,
            _ => {}
        }
    }
}

#[test]
fn a_picker_that_chooses_strangers_is_told_the_members() {
    with_picker(async |proxy, mut picker| {
        let script = async {
            let mut first = picker.call().await;
            assert_eq!(hints(&mut first).await, [None, None]);
            first.answer(chosen(STRANGERS));
            first.answer(Response::RequestBody(streamed("for a stranger", true)));
            let mut second = picker.call().await;
            let members = Some(subset([ENDPOINT.to_owned()]));
            assert_eq!(hints(&mut second).await, [members.clone(), members]);
            second.answer(chosen(ENDPOINT));
            second.answer(Response::RequestBody(streamed("for a member", true)));
            assert!(first.is_ended().await, "the first call has no end");
        };
        let chosen = proxy.chosen(post(full("body")), script).await;
        assert_eq!(chosen.endpoints, [ENDPOINT.parse().unwrap()]);
        assert_eq!(text(chosen.request.into_body()).await, "for a member");
    });
}

#[test]
fn strangers_are_no_choice() {
    with_picker(async |proxy, mut picker| {
        let script = async {
            for _ in 0..2 {
                let mut call = picker.call().await;
                call.headers().await;
                call.answer(chosen(STRANGERS));
            }
        };
        let (failure, _) = proxy.failed(get(), script).await;
        assert!(matches!(failure, Failure::Strangers(_)), "{failure:?}");
    });
}
