//! How long to wait before a watch that failed is tried again.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(100);

/// No longer than this, so that a kind whose definition has just been installed is not waited for.
const LONGEST: Duration = Duration::from_secs(3);

/// After this long without a failure the next one is the first again.
const REST: Duration = Duration::from_secs(10);

/// Twice as long each time, up to a limit.
#[derive(Default)]
pub(crate) struct Doubling {
    /// When the last failure was, and how long was waited.
    last: Option<(Instant, Duration)>,
}

impl Iterator for Doubling {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = match self.last {
            Some((failed, wait)) if failed.elapsed() < REST => (wait * 2).min(LONGEST),
            _ => FIRST,
        };
        self.last = Some((Instant::now(), wait));
        Some(wait)
    }
}

impl Backoff for Doubling {
    /// Nothing is heard of success here: a watch says that it begins anew before the API server has refused it.
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_the_limit_and_start_again() {
        let mut doubling = Doubling::default();
        let waits: Vec<_> = doubling.by_ref().take(7).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3000, 3000]);
        doubling.reset();
        assert_eq!(doubling.next(), Some(LONGEST));
        advance(REST).await;
        assert_eq!(doubling.next(), Some(FIRST));
    }
}
