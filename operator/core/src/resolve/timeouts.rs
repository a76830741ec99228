//! How long requests may take, and when they are sent again.

use std::time::Duration;

use super::{
    mistake::{Mistake, quoted},
    route::Timeouts,
};
use crate::{
    api::{self, HttpRouteRetry, HttpRouteTimeouts},
    config::Retry,
};

/// Pause before a further try where the route does not say.
const BACKOFF: Duration = Duration::from_millis(25);

/// The limits of a rule; zero is none, see <https://gateway-api.sigs.k8s.io/geps/gep-1742/>.
pub(super) fn timeouts(timeouts: &HttpRouteTimeouts) -> Result<Timeouts, Mistake> {
    let HttpRouteTimeouts {
        request,
        backend_request,
    } = timeouts;
    let limit = |field, timeout: &Option<api::Duration>| {
        let timeout = timeout
            .as_ref()
            .map(|timeout| length(field, timeout))
            .transpose()?;
        Ok(timeout.filter(|timeout| !timeout.is_zero()))
    };
    let (request, backend_request) = (
        limit("request", request)?,
        limit("backendRequest", backend_request)?,
    );
    if let (Some(whole), Some(part)) = (request, backend_request)
        && part > whole
    {
        return Err(Mistake::unsupported(
            "backendRequest",
            "is longer than request, of which it is a part; shorten it",
        ));
    }
    Ok(Timeouts {
        request,
        backend_request,
    })
}

/// When a rule's requests are sent again, see <https://gateway-api.sigs.k8s.io/geps/gep-1731/>.
pub(super) fn retry(retry: &HttpRouteRetry) -> Result<Retry, Mistake> {
    let HttpRouteRetry {
        codes,
        attempts: _,
        backoff,
    } = retry;
    let mut wanted = Vec::with_capacity(codes.len());
    for (index, code) in codes.iter().enumerate() {
        let code = u16::try_from(*code)
            .ok()
            .filter(|code| (400..=599).contains(code));
        wanted.push(code.ok_or_else(|| {
            let problem = format!(
                "{} is no status of a failure; give one from 400 to 599",
                codes[index]
            );
            Mistake::unsupported(format!("codes[{index}]"), problem)
        })?);
    }
    wanted.sort_unstable();
    wanted.dedup();
    let attempts = u32::try_from(retry.attempts()).map_err(|_| {
        let problem = format!("{} is not a number of tries; give 0 for none", retry.attempts());
        Mistake::unsupported("attempts", problem)
    })?;
    let backoff = backoff.as_ref().map(|backoff| length("backoff", backoff));
    Ok(Retry {
        codes: wanted,
        attempts,
        backoff: backoff.transpose()?.unwrap_or(BACKOFF),
    })
}

fn length(field: &'static str, duration: &api::Duration) -> Result<Duration, Mistake> {
    duration.length().ok_or_else(|| {
        let problem = format!(
            "{} is no duration; write hours, minutes, seconds and milliseconds such as 1m30s or 500ms",
            quoted(&duration.0)
        );
        Mistake::unsupported(field, problem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(yaml: &str) -> Result<Timeouts, String> {
        let written: HttpRouteTimeouts = serde_saphyr::from_str(yaml).expect("timeouts decode");
        timeouts(&written).map_err(|mistake| mistake.to_string())
    }

    fn tries(yaml: &str) -> Result<Retry, String> {
        let written: HttpRouteRetry = serde_saphyr::from_str(yaml).expect("a retry decodes");
        retry(&written).map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn zero_is_no_limit() {
        assert_eq!(
            limits("{request: 0s, backendRequest: 0ms}"),
            Ok(Timeouts::default())
        );
        let limited = limits("{request: 0s, backendRequest: 2s}").expect("no mistake");
        assert_eq!(limited.backend_request, Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_try_is_not_longer_than_the_request() {
        assert!(limits("{request: 1s, backendRequest: 1s}").is_ok());
        assert_eq!(
            limits("{request: 1s, backendRequest: 2s}"),
            Err("backendRequest: is longer than request, of which it is a part; shorten it".to_owned())
        );
    }

    #[test]
    fn what_is_no_duration_is_refused_with_its_field() {
        let message = limits("{request: soon}").expect_err("a mistake");
        assert!(
            message.starts_with("request: \"soon\" is no duration"),
            "{message}"
        );
        let message = tries("{backoff: 1 minute}").expect_err("a mistake");
        assert!(
            message.starts_with("backoff: \"1 minute\" is no duration"),
            "{message}"
        );
    }

    #[test]
    fn one_more_try_is_made_after_a_short_pause_where_nothing_else_is_said() {
        let default = Retry {
            codes: vec![500, 503],
            attempts: 1,
            backoff: BACKOFF,
        };
        assert_eq!(tries("{codes: [503, 500, 503]}"), Ok(default));
    }

    #[test]
    fn only_failures_are_tried_again_and_never_less_than_not_at_all() {
        for code in [200, 399, 600, -1] {
            let message = tries(&format!("{{codes: [500, {code}]}}")).expect_err("a mistake");
            assert!(
                message.starts_with(&format!("codes[1]: {code} is no status")),
                "{message}"
            );
        }
        assert_eq!(tries("{attempts: 0}").map(|retry| retry.attempts), Ok(0));
        assert!(tries("{attempts: -1}").is_err());
    }
}
