//! How long to wait before a watch that failed is tried again.

use std::time::Duration;

use kube::runtime::utils::Backoff;

const FIRST: Duration = Duration::from_millis(100);

/// No longer than this, so that a kind whose definition has just been installed is not waited for.
const LONGEST: Duration = Duration::from_secs(3);

/// Twice as long each time, up to a limit.
pub(super) struct Doubling(Duration);

impl Default for Doubling {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Iterator for Doubling {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST);
        Some(wait)
    }
}

impl Backoff for Doubling {
    fn reset(&mut self) {
        self.0 = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_start_again() {
        let mut doubling = Doubling::default();
        let waits: Vec<_> = doubling.by_ref().take(7).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3000, 3000]);
        doubling.reset();
        assert_eq!(doubling.next(), Some(FIRST));
    }
}
