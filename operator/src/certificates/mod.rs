//! Certificates of our own authorities: the operator's, with which it serves agents, and those of what it runs.
//!
//! ```text
//! Secret <──authorities── renewed by any replica, first come first served
//!    └──watch──> every replica: signs a certificate of its own, in memory, and tells agents whom to trust
//!                         └───> `serving`: what endpoint pickers serve with, signed by the leader
//! ```
//!
//! Agents trust the authorities that there are and no others. Gateways trust those of pickers that are gone for a while
//! longer: pickers show what they were given until the kubelet brings them something else.

mod authorities;
mod former;
mod serving;

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::StreamExt as _;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
    runtime::{WatchStreamExt as _, watcher::watch_object},
};
use operator_core::{infra::ServingCertificate, object::ObjectKey};
use parking_lot::RwLock;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{sync::watch, time::sleep};

use crate::parts::Parts;

use former::Former;

pub use authorities::Authorities;
pub use serving::serving;

/// How often a certificate is made anew, and authorities are looked at.
const PERIOD: Duration = Duration::from_hours(6);

/// How long to wait before what failed is tried again: without a certificate no agent is served.
const AGAIN: Duration = Duration::from_secs(5);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Secret cannot be written.
    #[error("cannot write the authorities to Secret {secret}")]
    Write {
        /// Which.
        secret: ObjectKey,
        /// What the API server says.
        source: Box<kube::Error>,
    },
    /// No certificate can be made.
    #[error("cannot make a certificate")]
    Issue(#[from] rcgen::Error),
    /// A certificate that was made cannot be used.
    #[error("cannot use the own certificate")]
    Use(#[from] rustls::Error),
}

/// The certificate of the moment, and whom to trust for it.
#[derive(Clone, Debug)]
pub struct Certificates {
    current: Arc<Current>,
    authorities: watch::Receiver<Authorities>,
    bundle: watch::Receiver<String>,
    bundle_of_servers: watch::Receiver<String>,
}

/// What a TLS server shows to its clients.
#[derive(Debug, Default)]
struct Current(RwLock<Option<Arc<CertifiedKey>>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().clone()
    }
}

impl Certificates {
    /// Has a part keep authorities in a Secret and a certificate for these names in memory.
    #[must_use]
    pub fn keep(parts: &mut Parts, client: &Client, secret: ObjectKey, names: Vec<String>) -> Self {
        let authorities = watch::Sender::new(Authorities::default());
        let [bundle, bundle_of_servers] = [const { String::new() }; 2].map(watch::Sender::new);
        let certificates = Self {
            current: Arc::default(),
            authorities: authorities.subscribe(),
            bundle: bundle.subscribe(),
            bundle_of_servers: bundle_of_servers.subscribe(),
        };
        let keeper = Keeper {
            secrets: Api::namespaced(client.clone(), &secret.namespace),
            secret,
            names,
            current: certificates.current.clone(),
            authorities,
            bundle,
            bundle_of_servers,
            former: Former::default(),
        };
        parts.run("keeper of certificates", keeper.run());
        certificates
    }

    /// The authorities, as everyone knows them; none before the first.
    #[must_use]
    pub fn authorities(&self) -> watch::Receiver<Authorities> {
        self.authorities.clone()
    }

    /// Certificates of the authorities that agents have to trust, in PEM; empty before the first.
    #[must_use]
    pub fn bundle(&self) -> watch::Receiver<String> {
        self.bundle.clone()
    }

    /// Certificates of the authorities that certificates of the servers that we run may come from, in PEM: those that
    /// are gone are among them until the kubelet has brought servers another certificate. Empty before the first.
    #[must_use]
    pub fn bundle_of_servers(&self) -> watch::Receiver<String> {
        self.bundle_of_servers.clone()
    }

    /// What a server of HTTP/2 over TLS needs.
    pub fn server_config(&self) -> Result<ServerConfig, Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

struct Keeper {
    secrets: Api<Secret>,
    secret: ObjectKey,
    names: Vec<String>,
    current: Arc<Current>,
    authorities: watch::Sender<Authorities>,
    bundle: watch::Sender<String>,
    bundle_of_servers: watch::Sender<String>,
    former: Former,
}

impl Keeper {
    async fn run(mut self) {
        let mut changes = pin!(watch_object(self.secrets.clone(), &self.secret.name).default_backoff());
        let mut stored = None;
        let mut wait = PERIOD;
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(secret)) => stored = Some(secret),
                    Some(Err(error)) => tracing::warn!(secret = %self.secret, %error, "cannot watch the authorities"),
                    None => return,
                },
                () = sleep(wait) => {}
            }
            let Some(stored) = &stored else { continue };
            wait = match self.look(stored.as_ref()).await {
                Ok(()) => self.former.due(SystemTime::now()).unwrap_or(PERIOD).min(PERIOD),
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, cause, "the operator's certificate is not renewed, trying again");
                    AGAIN
                }
            };
        }
    }

    /// Renews what is due. Authorities count once they are stored: two replicas may make some at once.
    async fn look(&mut self, stored: Option<&Secret>) -> Result<(), Error> {
        let now = SystemTime::now();
        let data = stored
            .and_then(|secret| secret.data.as_ref())
            .into_iter()
            .flatten();
        let authorities =
            Authorities::from_data(data.map(|(name, value)| (name.as_str(), value.0.as_slice())));
        let renewed = authorities.renewed(now)?;
        if renewed != authorities {
            tracing::info!(secret = %self.secret, "renewing certificate authorities");
            self.store(stored, &renewed).await?;
        }
        if let Some(signer) = authorities.signer(now) {
            let issued = authorities.issue(signer, &self.names, now)?;
            *self.current.0.write() = Some(Arc::new(certified(&issued)?));
            self.former.note(&self.authorities.borrow(), &authorities, now);
            replace(&self.bundle_of_servers, self.former.bundle(&authorities));
            replace(&self.bundle, authorities.bundle());
            replace(&self.authorities, authorities);
        }
        Ok(())
    }

    /// Stores authorities in place of those that were seen, unless another replica was first.
    async fn store(&self, seen: Option<&Secret>, authorities: &Authorities) -> Result<(), Error> {
        let data = authorities.to_data().into_iter();
        let data: BTreeMap<_, _> = data
            .map(|(name, text)| (name, ByteString(text.into_bytes())))
            .collect();
        let parameters = PostParams::default();
        let written = if let Some(seen) = seen {
            let mut secret = seen.clone();
            secret.data = Some(data);
            self.secrets
                .replace(&self.secret.name, &parameters, &secret)
                .await
        } else {
            let secret = Secret {
                metadata: ObjectMeta {
                    name: Some(self.secret.name.clone()),
                    ..ObjectMeta::default()
                },
                data: Some(data),
                ..Secret::default()
            };
            self.secrets.create(&parameters, &secret).await
        };
        match written {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(source) => Err(Error::Write {
                secret: self.secret.clone(),
                source: Box::new(source),
            }),
            Ok(_) => Ok(()),
        }
    }
}

/// Sends what is not what was sent last.
fn replace<T: PartialEq>(sender: &watch::Sender<T>, new: T) {
    sender.send_if_modified(|current| {
        let differs = *current != new;
        *current = new;
        differs
    });
}

/// What a TLS server needs of a certificate; an error if the key is not the certificate's.
fn certified(certificate: &ServingCertificate) -> Result<CertifiedKey, rustls::Error> {
    let ServingCertificate { certificate, key } = certificate;
    let unreadable = |error: rustls::pki_types::pem::Error| rustls::Error::General(error.to_string());
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(unreadable)?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;
    use tokio::time::timeout;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::mock;

    #[tokio::test(start_paused = true)]
    async fn authorities_that_cannot_be_stored_are_tried_again_soon() {
        let attempts = Arc::new(AtomicUsize::new(0));
        let client = mock::client({
            let attempts = attempts.clone();
            move |asked| {
                if asked.method != axum::http::Method::POST {
                    return Some(mock::list(&[]));
                }
                let refusal =
                    json!({"kind": "Status", "status": "Failure", "code": 500, "message": "not now"});
                attempts.fetch_add(1, Ordering::Relaxed);
                Some((500, refusal))
            }
        });
        let secret = ObjectKey::new("flotilla-system", "flotilla-authorities");
        let mut parts = Parts::new(CancellationToken::new());
        let _certificates = Certificates::keep(&mut parts, &client, secret, vec!["flotilla".to_owned()]);
        let tried_again = async {
            while attempts.load(Ordering::Relaxed) < 2 {
                sleep(Duration::from_secs(1)).await;
            }
        };
        timeout(Duration::from_mins(1), tried_again).await.unwrap();
    }
}
