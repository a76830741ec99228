//! Tokens of pods, as the API server knows them.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};
use operator_core::{
    infra::{AUDIENCE, objects_key},
    object::ObjectKey,
};
use serde::Deserialize;
use tokio::sync::watch;
use tonic::Status;

use super::{
    admission::Admission,
    bucket::{Buckets, Rate},
};
use crate::controller::Infrastructure;

/// Where a review names the pod that a token was made for.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";

/// How often the API server is asked about tokens that come from one address. All agents of a replica come from its address
/// when they are relayed to a new leader, so that many may come at once; one that never stops has little of it.
const REVIEWS: Rate = Rate {
    burst: 1_000,
    interval: Duration::from_millis(100),
};

/// How often the log has something to say of one address.
const WORDS: Rate = Rate {
    burst: 1,
    interval: Duration::from_mins(1),
};

/// Asks the API server whose token it is: once per connection, and again when the token expires.
///
/// The gateway is the one whose pods we gave that ServiceAccount; nothing that a token or an object says could make it
/// another.
pub struct Reviews {
    api: Api<TokenReview>,
    gateways: watch::Receiver<Option<Infrastructure>>,
    asked: Buckets<Option<IpAddr>>,
    said: Buckets<Option<IpAddr>>,
}

/// The one claim that is read of a token, after the API server has found it to be genuine.
#[derive(Deserialize)]
struct Claims {
    /// When it expires, in seconds since the epoch.
    exp: u64,
}

impl Reviews {
    /// Reviews for the pods of these gateways.
    #[must_use]
    pub fn new(client: Client, gateways: watch::Receiver<Option<Infrastructure>>) -> Self {
        Self {
            api: Api::all(client),
            gateways,
            asked: Buckets::new(REVIEWS),
            said: Buckets::new(WORDS),
        }
    }

    pub(super) async fn admit(&self, authorization: &str, peer: Option<IpAddr>) -> Result<Admission, Status> {
        let is_said = || self.said.take(peer).is_ok();
        self.asked.take(peer).map_err(|wait| {
            if is_said() {
                tracing::warn!(?peer, "refusing tokens from this address, which come too fast");
            }
            let wait = wait.as_millis();
            Status::resource_exhausted(format!(
                "too many tokens come from your address; try again in {wait} ms"
            ))
        })?;
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: token.to_owned(),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let reviewed = self.api.create(&PostParams::default(), &review).await;
        let status = reviewed.map_err(|error| {
            tracing::warn!(%error, "cannot have a token reviewed");
            Status::unavailable("the API server does not review tokens at the moment")
        })?;
        let (service_account, pod) = identity(status.status.as_ref())
            .ok_or_else(|| Status::unauthenticated("this is not the token of a pod for the operator"))?;
        let gateways = self.gateways.borrow();
        let Some(gateways) = &*gateways else {
            return Err(Status::unavailable("the operator does not know its gateways yet"));
        };
        let gateway = gateways
            .keys()
            .find(|gateway| objects_key(gateway) == service_account);
        let gateway = gateway.ok_or_else(|| {
            if is_said() {
                tracing::warn!(%service_account, pod, "refused a pod that is no gateway's");
            }
            Status::permission_denied(format!("ServiceAccount {service_account} is no gateway's"))
        })?;
        Ok(Admission {
            gateway: gateway.clone(),
            instance: Some(pod),
            until: expiry(token),
        })
    }
}

/// The ServiceAccount and the pod that a review found; `None` unless the token is a pod's and meant for us.
fn identity(status: Option<&TokenReviewStatus>) -> Option<(ObjectKey, String)> {
    let status = status?;
    let is_for_us = status
        .audiences
        .iter()
        .flatten()
        .any(|audience| audience == AUDIENCE);
    if status.authenticated != Some(true) || !is_for_us {
        return None;
    }
    let user = status.user.as_ref()?;
    let name = user.username.as_deref()?.strip_prefix("system:serviceaccount:")?;
    let (namespace, name) = name.split_once(':')?;
    let pod = user.extra.as_ref()?.get(POD_NAME)?.first()?;
    Some((ObjectKey::new(namespace, name), pod.clone()))
}

/// When a token expires; see <https://www.rfc-editor.org/rfc/rfc7519#section-4.1.4>.
fn expiry(token: &str) -> Option<SystemTime> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let Claims { exp } = serde_json::from_slice(&payload).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(exp))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use operator_core::infra::GatewayInfra;
    use serde_json::json;
    use tokio::time::sleep;
    use tonic::Code;

    use super::*;
    use crate::mock;

    fn status(authenticated: bool, audience: &str, username: &str, extra: &str) -> TokenReviewStatus {
        let status = json!({
            "authenticated": authenticated,
            "audiences": [audience],
            "user": {"username": username, "extra": {(extra): ["edge-1"]}},
        });
        serde_json::from_value(status).unwrap()
    }

    /// What an agent with the token of a pod with that ServiceAccount is admitted to, where `default/edge` is a gateway.
    async fn admitted(service_account: &str) -> Result<Admission, Code> {
        let username = format!("system:serviceaccount:{service_account}");
        let client = mock::client(move |asked| {
            assert_eq!(asked.path, "/apis/authentication.k8s.io/v1/tokenreviews");
            assert_eq!(asked.body["spec"], json!({"token": "t", "audiences": [AUDIENCE]}));
            let status = status(true, AUDIENCE, &username, POD_NAME);
            Some((
                201,
                json!({"metadata": {}, "spec": {"token": ""}, "status": status}),
            ))
        });
        let admitted = reviews(client).admit("Bearer t", None).await;
        admitted.map_err(|status| status.code())
    }

    /// Those of an operator that runs `default/edge`.
    fn reviews(client: Client) -> Reviews {
        let gateways = Infrastructure::from([(ObjectKey::new("default", "edge"), GatewayInfra::default())]);
        Reviews::new(client, watch::Sender::new(Some(gateways)).subscribe())
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_never_stops_is_refused_before_the_api_server_is_asked() {
        let asked = Arc::new(AtomicU32::new(0));
        let reviews = reviews(mock::client({
            let asked = asked.clone();
            move |_| {
                asked.fetch_add(1, Ordering::Relaxed);
                Some((201, json!({"metadata": {}, "spec": {"token": ""}})))
            }
        }));
        let [greedy, other] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().ok());
        let admit = async |peer| reviews.admit("Bearer t", peer).await.unwrap_err().code();
        for _ in 0..REVIEWS.burst {
            assert_eq!(admit(greedy).await, Code::Unauthenticated);
        }
        assert_eq!(admit(greedy).await, Code::ResourceExhausted);
        assert_eq!(asked.load(Ordering::Relaxed), REVIEWS.burst);
        assert_eq!(admit(other).await, Code::Unauthenticated);
        sleep(REVIEWS.interval).await;
        assert_eq!(admit(greedy).await, Code::Unauthenticated);
    }

    #[tokio::test]
    async fn a_pod_sees_the_gateway_whose_service_account_it_has_and_no_other() {
        let admission = admitted("default:flotilla-edge").await.unwrap();
        assert_eq!(admission.gateway, ObjectKey::new("default", "edge"));
        assert_eq!(admission.instance.as_deref(), Some("edge-1"));
        assert_eq!(admitted("other:flotilla-edge").await, Err(Code::PermissionDenied));
        assert_eq!(admitted("default:default").await, Err(Code::PermissionDenied));
    }

    #[test]
    fn the_token_of_a_pod_for_us_is_its_service_accounts() {
        let status = status(
            true,
            AUDIENCE,
            "system:serviceaccount:default:flotilla-edge",
            POD_NAME,
        );
        assert_eq!(
            identity(Some(&status)),
            Some((ObjectKey::new("default", "flotilla-edge"), "edge-1".to_owned()))
        );
    }

    #[test]
    fn other_tokens_are_nobodys() {
        let account = "system:serviceaccount:default:flotilla-edge";
        for status in [
            status(false, AUDIENCE, account, POD_NAME),
            status(true, "https://kubernetes.default.svc", account, POD_NAME),
            status(true, AUDIENCE, "system:admin", POD_NAME),
            status(true, AUDIENCE, account, "example.com/other"),
        ] {
            assert_eq!(identity(Some(&status)), None, "{status:?}");
        }
        assert_eq!(identity(None), None);
    }

    #[test]
    fn expiry_is_in_the_token() {
        let token = format!("h.{}.s", URL_SAFE_NO_PAD.encode(r#"{"exp": 60, "sub": "x"}"#));
        assert_eq!(
            expiry(&token),
            Some(SystemTime::UNIX_EPOCH + Duration::from_mins(1))
        );
        assert_eq!(expiry("opaque"), None);
    }
}
