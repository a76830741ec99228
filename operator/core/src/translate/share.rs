/// What all shares of a choice add up to: hundredths of a percent, the finest that NGINX's `split_clients` knows.
pub(super) const WHOLE: u16 = 10_000;

/// Shares of [`WHOLE`] in proportion to `weights`, of which none is zero.
///
/// No share is zero: a weight too small for a hundredth of a percent is rounded up to one. What rounding leaves goes
/// to those who lost most by it, so that equal weights differ by a hundredth at the most.
pub(super) fn shares(weights: &[u32]) -> Vec<u16> {
    let total = weights
        .iter()
        .map(|weight| u64::from(*weight))
        .sum::<u64>()
        .max(1);
    let exact = |weight: u32| u64::from(weight) * u64::from(WHOLE);
    let mut shares: Vec<u16> = weights
        .iter()
        .map(|weight| u16::try_from(exact(*weight) / total).unwrap_or(WHOLE).max(1))
        .collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|position| std::cmp::Reverse(exact(weights[*position]) % total));
    let mut sum = shares.iter().map(|share| u64::from(*share)).sum::<u64>();
    for position in order.iter().cycle().take(usize::from(WHOLE)) {
        if sum >= u64::from(WHOLE) {
            break;
        }
        shares[*position] += 1;
        sum += 1;
    }
    while sum > u64::from(WHOLE) {
        let largest = shares.iter_mut().max().filter(|share| **share > 1);
        let Some(largest) = largest else { break };
        *largest -= 1;
        sum -= 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn thirds_differ_by_a_hundredth_of_a_percent() {
        assert_eq!(shares(&[1, 1, 1]), [3334, 3333, 3333]);
    }

    #[test]
    fn a_tiny_weight_still_has_a_share() {
        assert_eq!(shares(&[1, 1_000_000]), [1, 9999]);
    }

    proptest! {
        #[test]
        fn shares_are_whole_and_close_to_the_weights(weights in prop::collection::vec(1_u32..=1_000_000, 1..16)) {
            let shares = shares(&weights);
            prop_assert_eq!(shares.iter().map(|share| u32::from(*share)).sum::<u32>(), u32::from(WHOLE));
            let total: u32 = weights.iter().sum();
            for (share, weight) in shares.iter().zip(&weights) {
                prop_assert!(*share > 0);
                let wanted = f64::from(*weight) / f64::from(total) * f64::from(WHOLE);
                prop_assert!((f64::from(*share) - wanted).abs() <= 16.0);
            }
        }
    }
}
