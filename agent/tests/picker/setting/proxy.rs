//! The proxy's side of exchanges.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use agent::proxy::{
    picker::{
        Pickers,
        ask::{Asked, Chosen, Failure, Refused, ask},
        connections::Connections,
        held::Held,
        respond::Responded,
    },
    settings::Settings,
    table,
};
use proto::fleet;

use super::{Body, Call, ENDPOINT, Picker, get, run, together};

/// The proxy's side.
pub struct Proxy {
    pub settings: Settings,
    pub pickers: Pickers,
    pub picker: table::Picker,
}

impl Proxy {
    pub fn new(addresses: &[SocketAddr], tls: Option<fleet::Tls>) -> Self {
        Self::with(Settings::default(), addresses, tls)
    }

    pub fn with(settings: Settings, addresses: &[SocketAddr], tls: Option<fleet::Tls>) -> Self {
        let proxy = Self {
            settings,
            pickers: Pickers::default(),
            picker: picker(addresses, tls),
        };
        proxy.pickers.put([&proxy.picker], &proxy.settings);
        proxy
    }

    pub fn connections(&self) -> Rc<Connections> {
        self.pickers.connections(&self.picker).unwrap()
    }

    pub async fn ask(&self, request: http::Request<Body>) -> Result<Asked<Body>, Refused<Body>> {
        let members = || Arc::new([Arc::new(table::Endpoint::new(ENDPOINT.parse().unwrap()))]) as Arc<[_]>;
        ask(
            &self.connections(),
            &self.picker.outage,
            &self.settings,
            request,
            members,
        )
        .await
    }

    /// Asks, with what the picker does meanwhile.
    pub async fn chosen(
        &self,
        request: http::Request<Body>,
        picker: impl Future<Output = ()>,
    ) -> Chosen<Body> {
        let (asked, ()) = together(self.ask(request), picker).await;
        match asked.unwrap() {
            Asked::Chosen(chosen) => *chosen,
            Asked::Answer(answer) => panic!("answered with {answer:?}"),
        }
    }

    /// What asking fails with, and the request as it is then, with what the picker does meanwhile.
    pub async fn failed(
        &self,
        request: http::Request<Body>,
        picker: impl Future<Output = ()>,
    ) -> (Failure, http::Request<Held<Body>>) {
        match together(self.ask(request), picker).await.0 {
            Err(Refused::Failed { failure, request }) => (failure, *request),
            other => panic!("{other:?} in place of a failure"),
        }
    }

    /// The response to a request without a body, with what the picker does until the head has passed.
    pub async fn responded<P>(
        &self,
        picker: &mut Picker,
        response: http::Response<Body>,
        script: impl AsyncFnOnce(Call) -> P,
    ) -> (Responded<Body>, P) {
        let asked = async {
            let mut call = picker.call().await;
            call.choose().await;
            call
        };
        let (asked, call) = together(self.ask(get()), asked).await;
        let Ok(Asked::Chosen(chosen)) = asked else {
            panic!("not chosen");
        };
        let responding = chosen.consulted.respond(response, ENDPOINT.parse().unwrap());
        together(responding, script(call)).await
    }
}

/// Runs a test with a proxy and the one pod of its picker.
pub fn with_picker(test: impl AsyncFnOnce(Proxy, Picker)) {
    with_settings(Settings::default(), test);
}

/// The same, with times and sizes of its own.
pub fn with_settings(settings: Settings, test: impl AsyncFnOnce(Proxy, Picker)) {
    run(async {
        let picker = Picker::start();
        let proxy = Proxy::with(settings, &[picker.address], None);
        test(proxy, picker).await;
    });
}

/// A picker of these pods.
pub fn picker(addresses: &[SocketAddr], tls: Option<fleet::Tls>) -> table::Picker {
    table::Picker {
        message: Arc::new(fleet::Picker {
            endpoints: "picker".to_owned(),
            tls,
            fail_open: false,
            one_leads: false,
        }),
        endpoints: addresses
            .iter()
            .map(|address| Arc::new(table::Endpoint::new(*address)))
            .collect(),
        outage: Arc::default(),
    }
}
