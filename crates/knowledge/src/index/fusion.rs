//! Reciprocal rank fusion: one ranking out of several.
//!
//! Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
//! Learning Methods", SIGIR 2009: the score of an item is the sum over the rankings of
//! `weight / (k + rank)`, with ranks from 1. Only ranks count, so scores of different kinds need no
//! common scale.

use std::collections::HashMap;

/// One ranking, best first, and how much it counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranking<'a> {
    /// The items, best first, each once.
    pub(crate) items: &'a [u64],
    /// How much it counts beside the others; 0 takes it out.
    pub(crate) weight: f32,
}

/// Fuses rankings; the result holds each item once, best first, with its score.
///
/// Items with the same score are ordered by their best rank, then by their number, so that the result
/// does not depend on the order in which the rankings are given.
pub(crate) fn fuse(rankings: &[Ranking<'_>], k: f32) -> Vec<(u64, f32)> {
    let mut scores: HashMap<u64, (f64, usize)> = HashMap::new();
    for ranking in rankings.iter().filter(|ranking| ranking.weight > 0.0) {
        for (rank, item) in ranking.items.iter().enumerate() {
            let (score, best) = scores.entry(*item).or_insert((0.0, usize::MAX));
            *score += f64::from(ranking.weight) / (f64::from(k) + rank as f64 + 1.0);
            *best = rank.min(*best);
        }
    }
    let mut fused: Vec<(u64, (f64, usize))> = scores.into_iter().collect();
    // Sums in another order differ in the last bits; a score is compared after rounding to f32.
    fused.sort_by(|(a, (score_a, best_a)), (b, (score_b, best_b))| {
        (*score_b as f32)
            .total_cmp(&(*score_a as f32))
            .then(best_a.cmp(best_b))
            .then(a.cmp(b))
    });
    fused
        .into_iter()
        .map(|(item, (score, _))| (item, score as f32))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn ranking() -> impl Strategy<Value = (Vec<u64>, f32)> {
        (prop::collection::hash_set(0_u64..40, 0..20), 0.1_f32..3.0)
            .prop_map(|(items, weight)| (items.into_iter().collect(), weight))
    }

    fn fused(rankings: &[(Vec<u64>, f32)], k: f32) -> Vec<(u64, f32)> {
        let rankings: Vec<Ranking<'_>> = rankings
            .iter()
            .map(|(items, weight)| Ranking {
                items,
                weight: *weight,
            })
            .collect();
        fuse(&rankings, k)
    }

    proptest! {
        #[test]
        fn holds_every_item_once_best_first(rankings in prop::collection::vec(ranking(), 0..5)) {
            let result = fused(&rankings, 60.0);
            let expected: HashSet<u64> = rankings.iter().flat_map(|(items, _)| items.clone()).collect();
            let found: HashSet<u64> = result.iter().map(|(item, _)| *item).collect();
            prop_assert_eq!(found.len(), result.len());
            prop_assert_eq!(found, expected);
            prop_assert!(result.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        }

        #[test]
        fn does_not_depend_on_the_order_of_the_rankings(
            rankings in prop::collection::vec(ranking(), 0..5), turn in 0_usize..5
        ) {
            let mut turned = rankings.clone();
            turned.rotate_left(turn.min(rankings.len()));
            let (one, other) = (fused(&rankings, 60.0), fused(&turned, 60.0));
            // Rounding can exchange neighbours whose scores are the same to the last bit, no more.
            for ((_, a), (_, b)) in one.iter().zip(&other) {
                prop_assert!((a - b).abs() <= 1e-6);
            }
            prop_assert_eq!(
                one.iter().map(|(item, _)| *item).collect::<HashSet<_>>(),
                other.iter().map(|(item, _)| *item).collect::<HashSet<_>>()
            );
        }

        #[test]
        fn moving_an_item_up_never_lowers_it(
            items in prop::collection::vec(0_u64..1000, 2..20), from in 1_usize..20, other in ranking()
        ) {
            let mut seen = HashSet::new();
            let items: Vec<u64> = items.into_iter().filter(|item| seen.insert(*item)).collect();
            prop_assume!(from < items.len());
            let mut better = items.clone();
            better.swap(from, from - 1);
            let place = |list: Vec<u64>| {
                fused(&[(list, 1.0), other.clone()], 60.0).iter().position(|(item, _)| *item == items[from])
            };
            prop_assert!(place(better) <= place(items.clone()));
        }
    }

    #[test]
    fn agreement_beats_one_good_rank() {
        let result = fused(&[(vec![1, 2, 3], 1.0), (vec![4, 2, 5], 1.0)], 60.0);
        assert_eq!(result[0].0, 2);
    }

    #[test]
    fn a_ranking_without_weight_does_not_count() {
        assert_eq!(fused(&[(vec![1], 0.0), (vec![2], 1.0)], 60.0).len(), 1);
    }
}
