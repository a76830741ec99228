//! Calls of the API server that do not hang, whatever becomes of their connections.

use std::time::Duration;

use axum::{
    BoxError,
    http::{Request, Response, Uri},
};
use kube::{Client, client::Body};
use tokio::time::timeout;
use tower::service_fn;

/// A client whose calls fail if their answers have not come whole in time. Of a watch only the beginning has to come: it
/// lasts for ever, and the watcher itself sees to it that it is not dead.
pub(crate) fn impatient(client: &Client, patience: Duration) -> Client {
    let namespace = client.default_namespace().to_owned();
    let client = client.clone();
    let service = service_fn(move |request: Request<Body>| {
        let client = client.clone();
        let answer = async move {
            let lasts = is_watch(request.uri());
            let answer = client.send(request).await?;
            if lasts {
                return Ok(answer);
            }
            let (head, body) = answer.into_parts();
            let body = Body::from(body.collect_bytes().await?);
            Ok::<_, BoxError>(Response::from_parts(head, body))
        };
        async move { timeout(patience, answer).await? }
    });
    Client::new(service, namespace)
}

fn is_watch(uri: &Uri) -> bool {
    let mut parameters = uri.query().unwrap_or_default().split('&');
    parameters.any(|parameter| parameter == "watch=true")
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending};

    use axum::body;
    use futures::{TryStreamExt as _, stream};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Api, api::WatchParams};
    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    /// Those that an impatient client has from an API server that answers everything with this body, or not at all.
    fn config_maps(answer: impl Fn() -> Option<body::Body> + Clone + Send + 'static) -> Api<ConfigMap> {
        let service = service_fn(move |_: Request<Body>| {
            let answer = answer();
            async {
                match answer {
                    Some(body) => Ok::<_, Infallible>(Response::new(body)),
                    None => pending().await,
                }
            }
        });
        Api::default_namespaced(impatient(&Client::new(service, "default"), PATIENCE))
    }

    /// A body that ends neither here nor later.
    fn endless(beginning: &'static str) -> body::Body {
        let beginning = stream::iter([Ok::<_, Infallible>(beginning)]);
        body::Body::from_stream(futures::StreamExt::chain(beginning, stream::pending()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_fails_whose_answer_does_not_come_or_does_not_end() {
        for answer in [|| None, || Some(endless("{"))] {
            let begun = Instant::now();
            assert!(config_maps(answer).get("settings").await.is_err());
            assert_eq!(begun.elapsed(), PATIENCE);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_lasts_once_it_has_begun() {
        let parameters = WatchParams::default();
        let line = "{\"type\": \"BOOKMARK\", \"object\": {\"kind\": \"ConfigMap\", \"apiVersion\": \"v1\", \
                    \"metadata\": {\"resourceVersion\": \"1\"}}}\n";
        let config_maps_at_rest = config_maps(move || Some(endless(line)));
        let mut watch = std::pin::pin!(config_maps_at_rest.watch(&parameters, "0").await.unwrap());
        assert!(watch.try_next().await.unwrap().is_some());
        assert!(timeout(PATIENCE * 2, watch.try_next()).await.is_err());
        assert!(config_maps(|| None).watch(&parameters, "0").await.is_err());
    }
}
