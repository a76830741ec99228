//! Authorities that were taken away, and are trusted for a while all the same.
//!
//! They are kept in memory alone: what somebody has taken out of the Secret is not for us to write into it again. An
//! operator that is started meanwhile does not know them, and gateways refuse pickers until the kubelet has brought these
//! their new certificates.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::Authorities;

/// How long pods may go on with a certificate of an authority that is gone: the kubelet takes a minute or two to bring
/// them another one.
const LINGERING: Duration = Duration::from_mins(10);

/// Certificates of authorities that were taken away, in PEM, with until when they are trusted.
#[derive(Debug, Default)]
pub(super) struct Former(BTreeMap<String, SystemTime>);

impl Former {
    /// Takes note of those that are no longer there, and forgets those whose time is over.
    pub(super) fn note(&mut self, before: &Authorities, after: &Authorities, now: SystemTime) {
        let is_there = |certificate: &str| after.certificates().any(|there| there == certificate);
        self.0
            .retain(|certificate, until| *until > now && !is_there(certificate));
        let gone = before.certificates().filter(|certificate| !is_there(certificate));
        for certificate in gone {
            self.0.entry(certificate.to_owned()).or_insert(now + LINGERING);
        }
    }

    /// Certificates of all that are trusted, these and those that are there, in PEM.
    pub(super) fn bundle(&self, authorities: &Authorities) -> String {
        let former = self.0.keys().map(String::as_str);
        authorities.certificates().chain(former).collect()
    }

    /// How long until the next one is over; `None` without any.
    pub(super) fn due(&self, now: SystemTime) -> Option<Duration> {
        let next = self.0.values().min()?;
        Some(next.duration_since(now).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(20_000 * 24) + Duration::from_secs(seconds)
    }

    #[test]
    fn what_was_taken_away_is_trusted_for_ten_minutes() {
        let [old, new] = [0, 1].map(|made| Authorities::default().renewed(at(made)).unwrap());
        let mut former = Former::default();
        former.note(&Authorities::default(), &old, at(0));
        assert_eq!(former.bundle(&old), old.bundle());
        assert_eq!(former.due(at(0)), None);

        former.note(&old, &new, at(10));
        assert_eq!(former.bundle(&new), format!("{}{}", new.bundle(), old.bundle()));
        assert_eq!(former.due(at(10)), Some(LINGERING));
        former.note(&new, &new, at(609));
        assert_eq!(former.due(at(609)), Some(Duration::from_secs(1)));
        former.note(&new, &new, at(610));
        assert_eq!(former.bundle(&new), new.bundle());
    }

    #[test]
    fn what_comes_back_is_there_once() {
        let [old, new] = [0, 1].map(|made| Authorities::default().renewed(at(made)).unwrap());
        let mut former = Former::default();
        former.note(&old, &new, at(10));
        former.note(&new, &old, at(11));
        assert_eq!(former.bundle(&old), format!("{}{}", old.bundle(), new.bundle()));
    }
}
