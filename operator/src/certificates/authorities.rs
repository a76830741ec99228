//! Our own certificate authorities: who signs, who is trusted, when another one takes over.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use operator_core::infra::ServingCertificate;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

const DAY: Duration = Duration::from_hours(24);

/// How long an authority is trusted.
const LIFETIME: Duration = Duration::from_hours(365 * 24);

/// At this age an authority gets a successor.
const RENEWED_AT: Duration = Duration::from_hours(240 * 24);

/// An authority signs only when it is this old: by then everyone knows it.
const KNOWN_AT: Duration = Duration::from_hours(1);

/// How long a certificate that an authority signs is good for.
const LEAF_LIFETIME: Duration = Duration::from_hours(14 * 24);

/// Certificates are good from this long before they were made: clocks differ.
const BACKDATED: Duration = DAY;

/// All authorities that are trusted, by the time they were made, in seconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorities(BTreeMap<u64, Authority>);

/// One authority.
#[derive(Clone, PartialEq, Eq)]
struct Authority {
    /// In PEM.
    certificate: String,
    /// In PEM; never shown.
    key: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Authority")
    }
}

impl Authorities {
    /// The authorities in the data of a Secret; what is not one of ours is left out.
    #[must_use]
    pub fn from_data<'a>(data: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let data: BTreeMap<_, _> = data.into_iter().collect();
        let text = |name: &str| Some(std::str::from_utf8(data.get(name)?).ok()?.to_owned());
        let authority = |name: &&str| {
            let made = name.strip_suffix(".crt")?.parse().ok()?;
            let (certificate, key) = (text(name)?, text(&format!("{made}.key"))?);
            KeyPair::from_pem(&key).ok()?;
            Some((made, Authority { certificate, key }))
        };
        Self(data.keys().filter_map(authority).collect())
    }

    /// The authorities as the data of a Secret.
    #[must_use]
    pub fn to_data(&self) -> BTreeMap<String, String> {
        let entries = self.0.iter().flat_map(|(made, Authority { certificate, key })| {
            [
                (format!("{made}.crt"), certificate.clone()),
                (format!("{made}.key"), key.clone()),
            ]
        });
        entries.collect()
    }

    /// Certificate of each, in PEM.
    pub fn certificates(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(|authority| authority.certificate.as_str())
    }

    /// Certificates of all, in PEM, for those who have to trust them.
    #[must_use]
    pub fn bundle(&self) -> String {
        self.certificates().collect()
    }

    /// The authorities as they should be by now: without those that are over, and with a new one where the youngest is
    /// no longer young.
    pub fn renewed(&self, now: SystemTime) -> Result<Self, rcgen::Error> {
        let mut authorities = self.0.clone();
        authorities.retain(|made, _| age(*made, now) < LIFETIME);
        let youngest = authorities.keys().next_back();
        if youngest.is_none_or(|made| age(*made, now) >= RENEWED_AT) {
            let made = seconds(now);
            authorities.insert(made, Authority::new(made)?);
        }
        Ok(Self(authorities))
    }

    /// When the authority was made that signs: the youngest that everyone knows.
    #[must_use]
    pub fn signer(&self, now: SystemTime) -> Option<u64> {
        let mut youngest_first = self.0.keys().rev();
        let known = youngest_first.find(|made| age(**made, now) >= KNOWN_AT);
        known.or_else(|| self.0.keys().next()).copied()
    }

    /// Certificate of the authority that was made then, in PEM; `None` if there is none.
    #[must_use]
    pub fn certificate(&self, made: u64) -> Option<&str> {
        self.0.get(&made).map(|authority| authority.certificate.as_str())
    }

    /// A certificate for a server with these names, signed by the authority that was made then.
    pub fn issue(
        &self,
        signer: u64,
        names: &[String],
        now: SystemTime,
    ) -> Result<ServingCertificate, rcgen::Error> {
        let authority = self
            .0
            .get(&signer)
            .ok_or(rcgen::Error::CouldNotParseCertificate)?;
        let issuer = Issuer::new(params(signer), KeyPair::from_pem(&authority.key)?);
        let key = KeyPair::generate()?;
        let mut leaf = CertificateParams::new(names)?;
        leaf.distinguished_name = named("Flotilla");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        leaf.not_before = (now - BACKDATED).into();
        leaf.not_after = (now + LEAF_LIFETIME).into();
        let certificate = leaf.signed_by(&key, &issuer)?;
        Ok(ServingCertificate {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

impl Authority {
    fn new(made: u64) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        Ok(Self {
            certificate: params(made).self_signed(&key)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// What the certificate of an authority says; its name is its own, so that two are never taken for each other.
fn params(made: u64) -> CertificateParams {
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(made);
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&format!("Flotilla authority {made}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (since - BACKDATED).into();
    params.not_after = (since + LIFETIME).into();
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs()
}

/// How old what was made then is now; no time at all if it is yet to be made.
fn age(made: u64, now: SystemTime) -> Duration {
    Duration::from_secs(seconds(now).saturating_sub(made))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours((20_000 + days) * 24)
    }

    fn made(authorities: &Authorities) -> Vec<u64> {
        authorities.0.keys().copied().collect()
    }

    #[test]
    fn the_first_authority_signs_at_once() {
        let authorities = Authorities::default().renewed(at(0)).unwrap();
        assert_eq!(authorities.signer(at(0)), Some(seconds(at(0))));
        assert_eq!(authorities.renewed(at(1)).unwrap(), authorities);
    }

    #[test]
    fn a_successor_is_trusted_before_it_signs_and_the_old_one_while_its_certificates_last() {
        let first = Authorities::default().renewed(at(0)).unwrap();
        let both = first.renewed(at(240)).unwrap();
        assert_eq!(made(&both), [seconds(at(0)), seconds(at(240))]);
        assert_eq!(both.signer(at(240)), Some(seconds(at(0))));
        assert_eq!(both.signer(at(241)), Some(seconds(at(240))));
        assert_eq!(both.renewed(at(364)).unwrap(), both);
        assert_eq!(made(&both.renewed(at(365)).unwrap()), [seconds(at(240))]);
    }

    #[test]
    fn authorities_survive_a_secret() {
        let authorities = Authorities::default().renewed(at(0)).unwrap();
        let mut data = authorities.to_data();
        data.insert("12.crt".to_owned(), "no key beside it".to_owned());
        let data = data.iter().map(|(name, text)| (name.as_str(), text.as_bytes()));
        assert_eq!(Authorities::from_data(data), authorities);
    }

    #[test]
    fn keys_are_not_shown() {
        let authorities = Authorities::default().renewed(at(0)).unwrap();
        assert!(!format!("{authorities:?}").contains("PRIVATE"));
    }
}
