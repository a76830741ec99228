//! An API server for tests that says what a test wants it to say.

use std::{convert::Infallible, future::pending, sync::Arc};

use axum::http::{Method, Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};

/// What a client has asked for.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    /// `null` if there is none.
    pub(crate) body: Value,
}

/// A client of an API server that answers with a status and an object, and 404 to what it has no answer for.
///
/// Watches never hear anything.
pub(crate) fn client(answer: impl Fn(Asked) -> Option<(u16, Value)> + Send + Sync + 'static) -> Client {
    let answer = Arc::new(answer);
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let asked = Asked {
                method: head.method,
                path: head.uri.path().to_owned(),
                query: head.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            if asked.query.contains("watch=true") {
                return pending().await;
            }
            let nothing = (
                404,
                json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "gone"}),
            );
            let (status, object) = answer(asked).unwrap_or(nothing);
            let response = Response::builder().status(status);
            Ok::<_, Infallible>(
                response
                    .body(Body::from(object.to_string().into_bytes()))
                    .unwrap(),
            )
        }
    });
    Client::new(service, "default")
}

/// A client of an API server that answers as that of another one, or not at all.
pub(crate) fn hanging(client: Client, hangs: impl Fn(&Method) -> bool + Send + 'static) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, hangs) = (client.clone(), hangs(request.method()));
        async move {
            if hangs {
                return pending().await;
            }
            client.send(request).await
        }
    });
    Client::new(service, "default")
}

/// The refusal of something new in a namespace that is being deleted.
pub(crate) fn namespace_terminating() -> (u16, Value) {
    let refusal = json!({
        "kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden",
        "message": "unable to create new content in namespace default because it is being terminated",
        "details": {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]},
    });
    (403, refusal)
}

/// A list of objects of some kind.
pub(crate) fn list(items: &[Value]) -> (u16, Value) {
    (200, json!({"metadata": {"resourceVersion": "1"}, "items": items}))
}
