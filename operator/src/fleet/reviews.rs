//! Tokens of pods, as the API server knows them.

use std::time::{Duration, SystemTime};

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

use super::admission::Admission;
use crate::controller::Infrastructure;

/// Where a review names the pod that a token was made for.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";

/// Asks the API server whose token it is: once per connection, and again when the token expires.
///
/// The gateway is the one whose pods we gave that ServiceAccount; nothing that a token or an object says could make it
/// another.
#[derive(Clone)]
pub struct Reviews {
    reviews: Api<TokenReview>,
    gateways: watch::Receiver<Option<Infrastructure>>,
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
            reviews: Api::all(client),
            gateways,
        }
    }

    pub(super) async fn admit(&self, authorization: &str) -> Result<Admission, Status> {
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: token.to_owned(),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let reviewed = self.reviews.create(&PostParams::default(), &review).await;
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
            tracing::warn!(%service_account, pod, "refused a pod that is no gateway's");
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
    use operator_core::infra::GatewayInfra;
    use serde_json::json;
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
        let gateways = Infrastructure::from([(ObjectKey::new("default", "edge"), GatewayInfra::default())]);
        let gateways = watch::Sender::new(Some(gateways));
        let reviews = Reviews::new(client, gateways.subscribe());
        reviews.admit("Bearer t").await.map_err(|status| status.code())
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
