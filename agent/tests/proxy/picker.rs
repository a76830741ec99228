//! Legs whose endpoints a picker chooses.

use std::net::SocketAddr;

use bytes::{Buf as _, Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use hyper::{HeaderMap, Response};
use prost::Message as _;
use proto::{
    envoy::{
        config::core::v3::{HeaderValue, HeaderValueOption},
        service::ext_proc::v3::{
            BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, HttpHeaders,
            ImmediateResponse, ProcessingRequest, ProcessingResponse, StreamedBodyResponse,
            body_mutation::Mutation, processing_request::Request, processing_response::Response as Answer,
        },
        r#type::v3::HttpStatus,
    },
    fleet::{self, Endpoints, Leg, Picker},
};

use crate::setting::{Endpoint, Http2Endpoint, Setting, Stream, Streams, data, nowhere};

/// A picker of which a test says each word.
pub struct Call {
    request: RecvStream,
    read: BytesMut,
    answers: SendStream<Bytes>,
}

impl Call {
    /// The next call of a picker's pod.
    pub async fn next(pod: &mut Pod) -> Self {
        let (request, mut respond) = pod.next().await;
        let head = Response::builder()
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        Self {
            request: request.into_body(),
            read: BytesMut::new(),
            answers: respond.send_response(head, false).unwrap(),
        }
    }

    /// What the proxy says next; none at its end.
    async fn hear(&mut self) -> Option<Request> {
        loop {
            if let Some(length) = self.read.get(1..5) {
                let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
                if self.read.len() >= 5 + length {
                    self.read.advance(5);
                    let message = self.read.split_to(length);
                    return ProcessingRequest::decode(message).unwrap().request;
                }
            }
            let data = self.request.data().await?.ok()?;
            self.request.flow_control().release_capacity(data.len()).unwrap();
            self.read.extend_from_slice(&data);
        }
    }

    /// The headers that the proxy shows.
    pub async fn headers(&mut self) -> HttpHeaders {
        match self.hear().await {
            Some(Request::RequestHeaders(headers) | Request::ResponseHeaders(headers)) => headers,
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, answer: Answer) {
        let message = ProcessingResponse {
            response: Some(answer),
            ..ProcessingResponse::default()
        };
        let length = u32::try_from(message.encoded_len()).unwrap();
        let mut bytes = vec![0];
        bytes.extend_from_slice(&length.to_be_bytes());
        message.encode(&mut bytes).unwrap();
        self.answers.send_data(bytes.into(), false).unwrap();
    }

    /// Chooses endpoints.
    pub fn choose(&mut self, endpoints: &[SocketAddr]) {
        let list: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
        self.say(Answer::RequestHeaders(headers_response(
            "x-gateway-destination-endpoint",
            &list.join(","),
        )));
    }

    /// Ends the call in good order.
    pub fn end(mut self) {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
        self.answers.send_trailers(trailers).unwrap();
    }
}

fn headers_response(name: &str, value: &str) -> HeadersResponse {
    let set = HeaderValueOption {
        header: Some(HeaderValue {
            key: name.to_owned(),
            raw_value: value.to_owned().into(),
            ..HeaderValue::default()
        }),
        ..HeaderValueOption::default()
    };
    HeadersResponse {
        response: Some(CommonResponse {
            header_mutation: Some(HeaderMutation {
                set_headers: vec![set],
                ..HeaderMutation::default()
            }),
            ..CommonResponse::default()
        }),
    }
}

fn streamed(body: &'static str) -> BodyResponse {
    let body = StreamedBodyResponse {
        body: body.into(),
        end_of_stream: true,
    };
    BodyResponse {
        response: Some(CommonResponse {
            body_mutation: Some(BodyMutation {
                mutation: Some(Mutation::StreamedResponse(body)),
            }),
            ..CommonResponse::default()
        }),
    }
}

/// The connections of a picker's pod, of which the proxy has two.
pub struct Pod(Streams, Streams);

impl Pod {
    pub async fn accept(endpoint: &Http2Endpoint) -> Self {
        Self(endpoint.accept().await, endpoint.accept().await)
    }

    async fn next(&mut self) -> Stream {
        tokio::select! {
            stream = self.0.next() => stream,
            stream = self.1.next() => stream,
        }
    }
}

/// One leg to some endpoints with a picker.
pub fn with_picker(endpoints: &[SocketAddr], picker: SocketAddr, fail_open: bool) -> fleet::Data {
    let leg = Leg {
        picker: Some(Picker {
            endpoints: "picker".to_owned(),
            tls: None,
            fail_open,
            one_leads: false,
        }),
        ..Leg::default()
    };
    let mut all = data(endpoints, leg);
    let picker = data(&[picker], Leg::default()).endpoints.remove(0);
    all.endpoints.push(Endpoints {
        name: "picker".to_owned(),
        ..picker
    });
    all
}

#[tokio::test]
async fn the_picker_s_list_is_walked_with_the_request_as_it_made_it() {
    let endpoint = Endpoint::listen().await;
    let other = Endpoint::listen().await;
    let picker = Http2Endpoint::listen().await;
    let dead = nowhere().await;
    let all = [other.address, dead, endpoint.address];
    let setting = Setting::start(&with_picker(&all, picker.address, false)).await;
    let mut pod = Pod::accept(&picker).await;
    let mut client = setting.client().await;
    let head =
        "POST /v1 HTTP/1.1\r\nhost: a\r\nx-flotilla-leg: leg\r\nx-llm-d-inference-objective: urgent\r\n";
    let control = "x-gateway-destination-endpoint: 198.18.0.1:1\r\nx-llm-d-model-name-rewrite: m\r\n";
    client
        .send(format!("{head}{control}content-length: 3\r\n\r\ntea"))
        .await;

    let mut call = Call::next(&mut pod).await;
    let shown: Vec<String> = call
        .headers()
        .await
        .headers
        .unwrap()
        .headers
        .into_iter()
        .map(|header| header.key)
        .collect();
    assert!(
        shown.contains(&"x-llm-d-inference-objective".to_owned()),
        "{shown:?}"
    );
    for name in [
        "x-gateway-destination-endpoint",
        "x-llm-d-model-name-rewrite",
        "x-flotilla-leg",
    ] {
        assert!(!shown.contains(&name.to_owned()), "{shown:?}");
    }
    call.choose(&[dead, endpoint.address]);
    call.say(Answer::RequestBody(streamed("other tea")));

    let (mut connection, request) = endpoint.request().await;
    assert_eq!(request.header("content-length"), Some("9"));
    assert_eq!(request.header("x-llm-d-inference-objective"), None);
    assert_eq!(connection.exactly(9).await, b"other tea");
    connection.respond("200 OK", "pot").await;
    while !matches!(call.hear().await, Some(Request::ResponseHeaders(_))) {}
    call.say(Answer::ResponseHeaders(headers_response("x-picked", "1")));
    call.end();
    let head = client.head().await;
    assert_eq!(head.header("x-picked"), Some("1"));
}

#[tokio::test]
async fn an_endpoint_that_resets_a_chosen_request_is_followed_by_the_next() {
    let first = Endpoint::listen().await;
    let second = Endpoint::listen().await;
    let picker = Http2Endpoint::listen().await;
    let all = [first.address, second.address];
    let setting = Setting::start(&with_picker(&all, picker.address, false)).await;
    let mut pod = Pod::accept(&picker).await;
    let mut client = setting.client().await;
    client.post("tea").await;
    let mut call = Call::next(&mut pod).await;
    call.headers().await;
    call.choose(&all);
    call.say(Answer::RequestBody(streamed("tea")));
    call.end();
    first.request().await;
    let (mut connection, _) = second.request().await;
    assert_eq!(connection.exactly(3).await, b"tea");
    connection.respond("200 OK", "").await;
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test]
async fn a_refusal_of_the_picker_is_the_answer() {
    let picker = Http2Endpoint::listen().await;
    let setting = Setting::start(&with_picker(&[nowhere().await], picker.address, true)).await;
    let mut pod = Pod::accept(&picker).await;
    let mut client = setting.client().await;
    client.post("tea").await;
    let mut call = Call::next(&mut pod).await;
    call.headers().await;
    call.say(Answer::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus { code: 429 }),
        body: "busy".into(),
        ..ImmediateResponse::default()
    }));
    let (head, body) = client.response().await;
    assert_eq!((head.status(), body.as_slice()), (429, b"busy".as_slice()));
}

#[tokio::test]
async fn an_eviction_is_the_pickers_doing_and_counted_so() {
    for is_begun in [false, true] {
        let endpoint = Endpoint::listen().await;
        let picker = Http2Endpoint::listen().await;
        let setting = Setting::start(&with_picker(&[endpoint.address], picker.address, false)).await;
        let mut pod = Pod::accept(&picker).await;
        let mut client = setting.client().await;
        client.get("/").await;
        let mut call = Call::next(&mut pod).await;
        call.headers().await;
        call.choose(&[endpoint.address]);
        let (mut connection, _) = endpoint.request().await;
        connection
            .send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
            .await;
        call.headers().await;
        if is_begun {
            call.say(Answer::ResponseHeaders(headers_response("x-seen", "1")));
            assert_eq!(client.head().await.status(), 200);
        }
        call.say(Answer::ImmediateResponse(ImmediateResponse {
            status: Some(HttpStatus { code: 429 }),
            ..ImmediateResponse::default()
        }));
        if is_begun {
            client.rest().await;
        } else {
            assert_eq!(client.head().await.status(), 429);
        }
        setting
            .until("flotilla_proxy_aborts_total{cause=\"picker\"}", 1.0)
            .await;
        assert!(
            setting
                .metric("flotilla_proxy_aborts_total{cause=\"endpoint\"}")
                .await
                < 1.0
        );
    }
}

#[tokio::test]
async fn without_its_picker_a_pool_is_open_or_closed() {
    for (fail_open, status) in [(true, 200), (false, 503)] {
        let endpoint = Endpoint::listen().await;
        let setting = Setting::start(&with_picker(&[endpoint.address], nowhere().await, fail_open)).await;
        let mut client = setting.client().await;
        client.post("tea").await;
        if fail_open {
            let (mut connection, _) = endpoint.request().await;
            assert_eq!(connection.exactly(3).await, b"tea");
            connection.respond("200 OK", "").await;
            assert!(
                (setting.metric("flotilla_proxy_picker_fallbacks_total").await - 1.0).abs() < f64::EPSILON
            );
        }
        assert_eq!(client.response().await.0.status(), status);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_request_and_call() {
    let endpoint = Endpoint::listen().await;
    let picker = Http2Endpoint::listen().await;
    let setting = Setting::start(&with_picker(&[endpoint.address], picker.address, false)).await;
    let mut pod = Pod::accept(&picker).await;
    let mut client = setting.client().await;
    client.get("/").await;
    let mut call = Call::next(&mut pod).await;
    call.headers().await;
    call.choose(&[endpoint.address]);
    let (mut connection, _) = endpoint.request().await;
    drop(client);
    assert_eq!(connection.rest().await, b"");
    let reason = std::future::poll_fn(|context| call.answers.poll_reset(context))
        .await
        .unwrap();
    assert_eq!(reason, h2::Reason::CANCEL);
}

#[tokio::test]
async fn an_endpoint_that_comes_while_the_picker_thinks_may_serve() {
    let early = Endpoint::listen().await;
    let late = Endpoint::listen().await;
    let picker = Http2Endpoint::listen().await;
    let setting = Setting::start(&with_picker(&[early.address], picker.address, false)).await;
    let mut pod = Pod::accept(&picker).await;
    let mut client = setting.client().await;
    client.get("/").await;
    let mut call = Call::next(&mut pod).await;
    call.headers().await;
    let both = [early.address, late.address];
    setting.put(&with_picker(&both, picker.address, false)).await;
    call.choose(&[late.address]);
    call.end();
    late.request().await.0.respond("200 OK", "").await;
    assert_eq!(client.head().await.status(), 200);
}
