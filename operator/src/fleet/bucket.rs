//! How often somebody may do something: a bucket of tokens that fills as time passes.
//!
//! See <https://en.wikipedia.org/wiki/Token_bucket>; kept as the time at which it will be full.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// How often something may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// How often at once, after a rest.
    pub(super) burst: u32,
    /// After how long once more.
    pub(super) interval: Duration,
}

/// What one has left of a rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    full: Instant,
}

/// A bucket for each key; those that are full are forgotten.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    rate: Rate,
    buckets: Mutex<BTreeMap<K, Bucket>>,
}

impl Bucket {
    /// A full one.
    pub(super) fn full() -> Self {
        Self { full: Instant::now() }
    }

    /// Takes a token; how long to wait for one if there is none.
    pub(super) fn take(&mut self, Rate { burst, interval }: Rate) -> Result<(), Duration> {
        let now = Instant::now();
        let missing = self.full.saturating_duration_since(now);
        let wait = (missing + interval).saturating_sub(interval * burst);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.full = now + missing + interval;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.full <= Instant::now()
    }
}

impl<K: Ord> Buckets<K> {
    /// Full ones for everybody.
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: Mutex::default(),
        }
    }

    /// Takes a token of somebody; how long to wait for one if there is none.
    pub(super) fn take(&self, key: K) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock();
        buckets.retain(|_, bucket| !bucket.is_full());
        buckets.entry(key).or_insert_with(Bucket::full).take(self.rate)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const RATE: Rate = Rate {
        burst: 3,
        interval: Duration::from_secs(1),
    };

    #[tokio::test(start_paused = true)]
    async fn a_bucket_gives_its_burst_and_then_one_at_a_time() {
        let mut bucket = Bucket::full();
        for _ in 0..3 {
            assert_eq!(bucket.take(RATE), Ok(()));
        }
        assert_eq!(bucket.take(RATE), Err(RATE.interval));
        advance(RATE.interval / 2).await;
        assert_eq!(bucket.take(RATE), Err(RATE.interval / 2));
        advance(RATE.interval / 2).await;
        assert_eq!(bucket.take(RATE), Ok(()));
        assert_eq!(bucket.take(RATE), Err(RATE.interval));
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_has_a_bucket_which_is_forgotten_when_it_is_full() {
        let buckets = Buckets::new(RATE);
        for _ in 0..3 {
            assert_eq!(buckets.take("greedy"), Ok(()));
        }
        assert_eq!(buckets.take("greedy"), Err(RATE.interval));
        assert_eq!(buckets.take("modest"), Ok(()));
        advance(RATE.interval).await;
        assert_eq!(buckets.take("new"), Ok(()));
        assert_eq!(buckets.buckets.lock().len(), 2, "the modest one's is full");
        advance(RATE.interval * 3).await;
        assert_eq!(buckets.take("greedy"), Ok(()));
        assert_eq!(buckets.buckets.lock().len(), 1);
    }
}
