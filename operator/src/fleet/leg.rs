//! Legs of the agent's proxy as it is told of them.

use std::{collections::BTreeMap, time::Duration};

use operator_core::{
    config::{self, Upstream},
    generation::Pem,
    syntax::Id,
};
use proto::fleet::{Leg, Picker, Protocol, ProxySettings, Retry, Tls, Verification};

/// A leg with all that it names: certificates of the gateway are in it.
pub(super) fn to_leg(name: Id, leg: &config::Leg, certificates: &BTreeMap<String, Pem>) -> Leg {
    let config::Leg {
        upstream,
        protocol,
        tls,
        request_timeout,
        backend_request_timeout,
        retry,
        picker,
        metered,
    } = leg;
    let protocol = match protocol {
        config::Protocol::Http => Protocol::Http1,
        config::Protocol::H2c => Protocol::Http2,
    };
    Leg {
        name: name.to_string(),
        endpoints: Upstream::domain(*upstream),
        protocol: protocol.into(),
        tls: tls.as_ref().map(|tls| to_tls(tls, certificates)),
        request_timeout: request_timeout.map(milliseconds),
        backend_request_timeout: backend_request_timeout.map(milliseconds),
        retry: retry.as_ref().map(to_retry),
        picker: picker.as_ref().map(|picker| to_picker(picker, certificates)),
        metered: *metered,
    }
}

/// What holds for all legs.
pub(super) fn to_settings(settings: &config::ProxySettings) -> ProxySettings {
    let config::ProxySettings {
        connect,
        first_byte,
        idle,
        picker_connect,
        picker,
        picker_response,
        replay_buffer,
        request_buffer,
        response_buffer,
    } = settings;
    ProxySettings {
        connect_timeout: milliseconds(*connect),
        first_byte_timeout: milliseconds(*first_byte),
        idle_timeout: milliseconds(*idle),
        picker_connect_timeout: milliseconds(*picker_connect),
        picker_timeout: milliseconds(*picker),
        picker_response_timeout: milliseconds(*picker_response),
        replay_buffer: *replay_buffer,
        request_buffer: *request_buffer,
        response_buffer: *response_buffer,
    }
}

fn to_tls(tls: &config::BackendTls, certificates: &BTreeMap<String, Pem>) -> Tls {
    let config::BackendTls {
        server_name,
        verification,
        client_certificate,
    } = tls;
    let pem = client_certificate
        .as_ref()
        .and_then(|file| certificates.get(file));
    Tls {
        server_name: server_name.clone(),
        verification: verification.as_ref().map(to_verification),
        client_certificate: pem.map(|pem| pem.0.clone()).unwrap_or_default(),
    }
}

/// The TLS with a picker as an agent tells it back; none of them is shown a client certificate.
pub(super) fn from_tls(tls: Tls) -> config::BackendTls {
    let verification = tls.verification.map(|verification| {
        let Verification {
            authorities,
            hostnames,
            uris,
        } = verification;
        config::Verification {
            authorities: Some(authorities).filter(|authorities| !authorities.is_empty()),
            hostnames,
            uris,
        }
    });
    config::BackendTls {
        server_name: tls.server_name,
        verification,
        client_certificate: None,
    }
}

fn to_verification(verification: &config::Verification) -> Verification {
    let config::Verification {
        authorities,
        hostnames,
        uris,
    } = verification;
    Verification {
        authorities: authorities.clone().unwrap_or_default(),
        hostnames: hostnames.clone(),
        uris: uris.clone(),
    }
}

fn to_retry(retry: &config::Retry) -> Retry {
    let config::Retry {
        codes,
        attempts,
        backoff,
    } = retry;
    Retry {
        codes: codes.iter().map(|code| u32::from(*code)).collect(),
        attempts: *attempts,
        backoff: milliseconds(*backoff),
    }
}

fn to_picker(picker: &config::Picker, certificates: &BTreeMap<String, Pem>) -> Picker {
    let config::Picker {
        upstream,
        tls,
        fail_open,
        one_leads,
    } = picker;
    Picker {
        endpoints: Upstream::domain(*upstream),
        tls: tls.as_ref().map(|tls| to_tls(tls, certificates)),
        fail_open: *fail_open,
        one_leads: *one_leads,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leg_brings_the_certificate_that_it_names() {
        let upstream = Id::of("shop");
        let leg = config::Leg {
            upstream,
            protocol: config::Protocol::H2c,
            tls: Some(config::BackendTls {
                server_name: "shop.example".to_owned(),
                verification: Some(config::Verification {
                    authorities: None,
                    hostnames: Vec::new(),
                    uris: vec!["spiffe://shop".to_owned()],
                }),
                client_certificate: Some("edge_client.pem".to_owned()),
            }),
            request_timeout: Some(Duration::from_millis(1500)),
            backend_request_timeout: None,
            retry: None,
            picker: None,
            metered: true,
        };
        let certificates = BTreeMap::from([("edge_client.pem".to_owned(), Pem("chain and key".to_owned()))]);
        let expected = Leg {
            name: Id::of(&leg).to_string(),
            endpoints: format!("{upstream}.endpoints.flotilla"),
            protocol: Protocol::Http2.into(),
            tls: Some(Tls {
                server_name: "shop.example".to_owned(),
                verification: Some(Verification {
                    uris: vec!["spiffe://shop".to_owned()],
                    ..Verification::default()
                }),
                client_certificate: "chain and key".to_owned(),
            }),
            request_timeout: Some(1500),
            metered: true,
            ..Leg::default()
        };
        assert_eq!(to_leg(Id::of(&leg), &leg, &certificates), expected);
    }

    #[test]
    fn tls_is_known_again_when_it_is_told_back() {
        for authorities in [None, Some("PEM".to_owned())] {
            let tls = config::BackendTls {
                server_name: "picker.example".to_owned(),
                verification: Some(config::Verification {
                    authorities,
                    hostnames: vec!["picker.example".to_owned()],
                    uris: Vec::new(),
                }),
                client_certificate: None,
            };
            assert_eq!(from_tls(to_tls(&tls, &BTreeMap::new())), tls);
        }
    }
}
