//! Failures that come with every request while something is away, said as one.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// How often failures are said that go on, and for how long there must be none until they are over.
const INTERVAL: Duration = Duration::from_secs(30);

/// Failures of one thing, from the first one until none has come for half a minute.
///
/// What is away fails every request, which may be a thousand in a second. So the first failure is said, then how many
/// there were, twice a minute at most, and in the end that it is over. Metrics count each.
#[derive(Debug, Default)]
pub struct Outage {
    /// All that is looked at as long as nothing fails.
    is_on: AtomicBool,
    course: Mutex<Option<Course>>,
}

#[derive(Debug)]
struct Course {
    /// When the latest failure came.
    failed: Instant,
    /// When failures were last said.
    said: Instant,
    /// Failures in all.
    failures: u64,
    /// Those that were not said yet.
    unsaid: u64,
}

impl Outage {
    /// Counts a failure. If it is to be said, how many there are to say, with this one.
    #[must_use]
    pub fn fail(&self) -> Option<u64> {
        let now = Instant::now();
        let mut course = self.course.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(course) = &mut *course else {
            *course = Some(Course {
                failed: now,
                said: now,
                failures: 1,
                unsaid: 0,
            });
            self.is_on.store(true, Ordering::Relaxed);
            return Some(1);
        };
        course.failed = now;
        course.failures += 1;
        course.unsaid += 1;
        if now < course.said + INTERVAL {
            return None;
        }
        course.said = now;
        Some(std::mem::take(&mut course.unsaid))
    }

    /// Takes a success. If failures are over with it, how many there were.
    #[must_use]
    pub fn succeed(&self) -> Option<u64> {
        if !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        let mut course = self.course.lock().unwrap_or_else(PoisonError::into_inner);
        let over = course.take_if(|course| course.failed + INTERVAL <= Instant::now())?;
        self.is_on.store(false, Ordering::Relaxed);
        Some(over.failures)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_failures_is_said_at_its_beginning_and_then_twice_a_minute() {
        let outage = Outage::default();
        let mut said = Vec::new();
        for _ in 0..60_000 {
            said.extend(outage.fail());
            advance(Duration::from_millis(1)).await;
        }
        assert_eq!(said, [1, 30_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_over_when_nothing_has_failed_for_a_while() {
        let outage = Outage::default();
        assert_eq!(outage.succeed(), None, "nothing has failed");
        for said in [Some(1), None, None] {
            assert_eq!(outage.fail(), said);
            assert_eq!(outage.succeed(), None, "every other request fails");
        }
        advance(INTERVAL).await;
        assert_eq!(outage.succeed(), Some(3));
        assert_eq!(outage.succeed(), None, "it was said");
        assert_eq!(outage.fail(), Some(1), "another begins");
    }
}
