//! Legs whose endpoints a picker chooses, with the picker.

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

use super::{Client, Http2Endpoint, Setting, Stream, Streams, data};

/// A proxy with one leg to some endpoints, a client of it, and the picker that it asks.
pub struct Picked {
    pub setting: Setting,
    pub client: Client,
    picker: Http2Endpoint,
    pod: Pod,
}

impl Picked {
    /// With a picker that nothing is served without.
    pub async fn start(endpoints: &[SocketAddr]) -> Self {
        Self::with(endpoints, |_| {}).await
    }

    /// The same with another leg.
    pub async fn with(endpoints: &[SocketAddr], change: impl FnOnce(&mut Leg)) -> Self {
        let picker = Http2Endpoint::listen().await;
        let mut data = with_picker(endpoints, picker.address, false);
        change(&mut data.legs[0]);
        let setting = Setting::start(&data).await;
        let pod = Pod::accept(&picker).await;
        let client = setting.client().await;
        Self {
            setting,
            client,
            picker,
            pod,
        }
    }

    /// Has new requests go to these endpoints.
    pub async fn put(&self, endpoints: &[SocketAddr]) {
        let data = with_picker(endpoints, self.picker.address, false);
        self.setting.put(&data).await;
    }

    /// The picker's next call.
    pub async fn call(&mut self) -> Call {
        Call::next(&mut self.pod).await
    }

    /// Sends a request without a body, and what the picker is asked of it.
    pub async fn get(&mut self) -> Call {
        self.client.get("/").await;
        let mut call = self.call().await;
        call.headers().await;
        call
    }

    /// Sends a request with a body, and what the picker is asked of it.
    pub async fn post(&mut self, body: &str) -> Call {
        self.client.post(body).await;
        let mut call = self.call().await;
        call.headers().await;
        call
    }
}

/// A call of a picker, of which a test says each word.
pub struct Call {
    request: RecvStream,
    read: BytesMut,
    answers: SendStream<Bytes>,
}

impl Call {
    /// The next call of a picker's pod.
    async fn next(pod: &mut Pod) -> Self {
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
    pub async fn hear(&mut self) -> Option<Request> {
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

    /// Says something to the proxy.
    pub fn say(&mut self, answer: Answer) {
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

    /// Answers in the endpoint's place.
    pub fn refuse(&mut self) {
        self.say(Answer::ImmediateResponse(ImmediateResponse {
            status: Some(HttpStatus { code: 429 }),
            body: "busy".into(),
            ..ImmediateResponse::default()
        }));
    }

    /// Resolves when the proxy has broken the call off.
    pub async fn broken_off(&mut self) {
        let reset = std::future::poll_fn(|context| self.answers.poll_reset(context)).await;
        assert_eq!(reset.unwrap(), h2::Reason::CANCEL);
    }

    /// Ends the call in good order.
    pub fn end(mut self) {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
        self.answers.send_trailers(trailers).unwrap();
    }
}

/// A header to set.
pub fn headers_response(name: &str, value: &str) -> HeadersResponse {
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

/// All of another body.
pub fn streamed(body: &'static str) -> BodyResponse {
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
struct Pod(Streams, Streams);

impl Pod {
    async fn accept(endpoint: &Http2Endpoint) -> Self {
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
