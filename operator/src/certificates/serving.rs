//! When a server that we run gets another certificate.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use operator_core::infra::ServingCertificate;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::{Authorities, certified};

/// A certificate that ends sooner than this is renewed: time enough for whoever runs the cluster to see that it fails.
const RENEWED_BEFORE: Duration = Duration::from_hours(5 * 24);

/// The certificate for a server with these names: the first of those there are that is good, or else a new one.
///
/// A good one is what a client would take that trusts nobody but the authority that signs now, today and for some days
/// more, so that servers follow their authorities. `None` before there are any.
pub fn serving(
    authorities: &Authorities,
    names: &[String],
    existing: impl IntoIterator<Item = ServingCertificate>,
    now: SystemTime,
) -> Result<Option<ServingCertificate>, rcgen::Error> {
    let Some(signer) = authorities.signer(now) else {
        return Ok(None);
    };
    let mut existing = existing.into_iter();
    let authority = authorities.certificate(signer).unwrap_or_default();
    match existing.find(|certificate| is_good(certificate, authority, names, now).is_some()) {
        Some(good) => Ok(Some(good)),
        None => authorities.issue(signer, names, now).map(Some),
    }
}

/// Whether a client that trusts an authority, given in PEM, takes a certificate for each of these names; `None` if not.
fn is_good(
    certificate: &ServingCertificate,
    authority: &str,
    names: &[String],
    now: SystemTime,
) -> Option<()> {
    let shown = certified(certificate).ok()?;
    let mut trusted = RootCertStore::empty();
    trusted
        .add(CertificateDer::from_pem_slice(authority.as_bytes()).ok()?)
        .ok()?;
    let provider = Arc::new(ring::default_provider());
    let client = WebPkiServerVerifier::builder_with_provider(Arc::new(trusted), provider);
    let client = client.build().ok()?;
    let (leaf, chain) = shown.cert.split_first()?;
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    // What is no name of a server, such as `picker.1`, nobody asks for.
    let names = names
        .iter()
        .filter_map(|name| ServerName::try_from(name.as_str()).ok());
    for name in names {
        for time in [now, now + RENEWED_BEFORE] {
            let time = UnixTime::since_unix_epoch(time);
            client.verify_server_cert(leaf, chain, &name, &[], time).ok()?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours((20_000 + days) * 24)
    }

    fn names() -> Vec<String> {
        vec!["llm-picker.ai.svc".to_owned(), "llm-picker.ai".to_owned()]
    }

    fn authorities() -> Authorities {
        Authorities::default().renewed(at(0)).unwrap()
    }

    /// Whether this certificate is gone on with at that time.
    fn is_kept(certificate: &ServingCertificate, authorities: &Authorities, now: SystemTime) -> bool {
        serving(authorities, &names(), [certificate.clone()], now).unwrap() == Some(certificate.clone())
    }

    fn first(authorities: &Authorities) -> ServingCertificate {
        serving(authorities, &names(), [], at(0)).unwrap().unwrap()
    }

    #[test]
    fn there_is_none_before_the_authorities() {
        let none = serving(&Authorities::default(), &names(), [], at(0)).unwrap();
        assert!(none.is_none());
    }

    #[test]
    fn a_certificate_is_kept_until_some_days_before_its_end() {
        let authorities = authorities();
        let certificate = first(&authorities);
        assert!(is_kept(&certificate, &authorities, at(0)));
        assert!(is_kept(&certificate, &authorities, at(8)));
        assert!(!is_kept(&certificate, &authorities, at(10)));
    }

    #[test]
    fn servers_follow_the_authority_that_signs() {
        let both = authorities().renewed(at(240)).unwrap();
        let certificate = serving(&both, &names(), [], at(240)).unwrap().unwrap();
        assert!(is_kept(&certificate, &both, at(240)));
        assert!(!is_kept(&certificate, &both, at(241)));
    }

    #[test]
    fn a_certificate_for_other_names_is_not_kept() {
        let authorities = authorities();
        let signer = authorities.signer(at(0)).unwrap();
        for names in [&names()[..1], &["other.ai.svc".to_owned()]] {
            let certificate = authorities.issue(signer, names, at(0)).unwrap();
            assert!(!is_kept(&certificate, &authorities, at(0)), "{names:?}");
        }
    }

    #[test]
    fn a_name_that_nobody_can_ask_for_is_no_reason_for_another_certificate() {
        let authorities = authorities();
        let names = ["picker.1.svc".to_owned(), "picker.1".to_owned()];
        let issued = serving(&authorities, &names, [], at(0)).unwrap();
        assert!(serving(&authorities, &names, issued.clone(), at(0)).unwrap() == issued);
    }

    #[test]
    fn what_somebody_has_put_in_its_place_is_not_kept() {
        let ours = authorities();
        let others = authorities();
        let mixed = ServingCertificate {
            key: first(&ours).key,
            ..first(&ours)
        };
        for certificate in [first(&others), mixed, ServingCertificate::default()] {
            assert!(!is_kept(&certificate, &ours, at(0)));
        }
    }

    #[test]
    fn the_first_good_one_is_gone_on_with() {
        let authorities = authorities();
        let (stored, issued) = (first(&authorities), first(&authorities));
        let existing = [ServingCertificate::default(), stored.clone(), issued];
        let kept = serving(&authorities, &names(), existing, at(1)).unwrap();
        assert!(kept == Some(stored));
    }
}
