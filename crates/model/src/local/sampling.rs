//! The choice of the next token.

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use toktrie::SimpleVob;

use super::choices::Sampled;
use super::tokens;

/// Where a constraint leaves more tokens than this, their probabilities are not kept: that is free
/// text, and no closed choice.
pub(super) const FEW: usize = 512;

/// The likeliest token, or at a temperature one drawn by its probability.
pub(super) fn sample(
    random: &mut Random,
    temperature: f32,
    allowed: impl Iterator<Item = (usize, f32)>,
) -> Option<LlamaToken> {
    let token = |index: usize| i32::try_from(index).ok().map(LlamaToken);
    if temperature <= 0.0 {
        // Of equals the first, so that the same logits give the same token.
        return token(
            allowed
                .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))?
                .0,
        );
    }
    let allowed: Vec<(usize, f32)> = allowed.collect();
    let most = likeliest(&allowed);
    let weight = |logit: f32| f64::from((logit - most) / temperature).exp();
    let sum: f64 = allowed.iter().map(|(_, logit)| weight(*logit)).sum();
    let mut left = random.next() * sum;
    for (index, logit) in &allowed {
        left -= weight(*logit);
        if left <= 0.0 {
            return token(*index);
        }
    }
    token(allowed.last()?.0)
}

/// The likeliest of the tokens that the mask allows, of equals the first. Most are passed by without a look
/// at the mask.
pub(super) fn likeliest_allowed(logits: &[f32], mask: &SimpleVob) -> Option<LlamaToken> {
    let mut best: Option<(u32, f32)> = None;
    for (index, logit) in (0..).zip(logits) {
        let is_better = best.is_none_or(|(_, most)| *logit > most);
        if is_better && mask.is_allowed(index) {
            best = Some((index, *logit));
        }
    }
    best.map(|(index, _)| LlamaToken(index.cast_signed()))
}

/// The probabilities of the allowed tokens among each other, whatever the temperature.
pub(super) fn probabilities(
    model: &LlamaModel,
    offset: usize,
    allowed: &[(usize, f32)],
) -> Sampled {
    if allowed.len() > FEW {
        return Sampled::of_many(offset);
    }
    let most = likeliest(allowed);
    let sum: f32 = allowed.iter().map(|(_, logit)| (logit - most).exp()).sum();
    let allowed = allowed.iter().filter_map(|(index, logit)| {
        let token = LlamaToken(i32::try_from(*index).ok()?);
        Some((tokens::bytes(model, token), (logit - most).exp() / sum))
    });
    Sampled {
        offset,
        allowed: allowed.collect(),
    }
}

/// The natural logarithm of the probability of `token` among all.
pub(super) fn log_probability(logits: &[f32], token: LlamaToken) -> f32 {
    let index = usize::try_from(token.0).unwrap_or(usize::MAX);
    let Some(logit) = logits.get(index) else {
        return f32::NEG_INFINITY;
    };
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
    logit - most - sum.ln()
}

fn likeliest(allowed: &[(usize, f32)]) -> f32 {
    let logits = allowed.iter().map(|(_, logit)| *logit);
    logits.fold(f32::NEG_INFINITY, f32::max)
}

/// SplitMix64 (Steele, Lea, Flood 2014): the draws of a call follow from its seed alone.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next draw, 0..1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_temperature_the_likeliest_is_taken_and_of_equals_the_first() {
        let logits = [(3, 1.0), (5, 2.0), (7, 2.0)];
        let taken = sample(&mut Random::new(1), 0.0, logits.into_iter());
        assert_eq!(taken, Some(LlamaToken(5)));
        assert_eq!(sample(&mut Random::new(1), 0.0, std::iter::empty()), None);
    }

    #[test]
    fn a_log_probability_is_that_of_the_softmax() {
        let logits = [1000.0, 1000.0 + 3.0_f32.ln()];
        let likely = |token| log_probability(&logits, LlamaToken(token)).exp();
        assert!((likely(1) - 0.75).abs() < 1e-3 && (likely(0) - 0.25).abs() < 1e-3);
        assert_eq!(likely(2), 0.0);
    }

    #[test]
    fn the_likeliest_of_a_mask_is_the_one_that_sampling_takes() {
        let logits = [1.0, 5.0, 3.0, 4.0, 4.0, f32::NEG_INFINITY];
        for allowed in [vec![0, 2, 3, 4], vec![4, 5], vec![5], vec![]] {
            let mut mask = SimpleVob::alloc(logits.len());
            allowed.iter().for_each(|token| mask.allow_token(*token));
            let pairs = allowed.iter().filter_map(|token| {
                let index = usize::try_from(*token).ok()?;
                Some((index, *logits.get(index)?))
            });
            let taken = sample(&mut Random::new(1), 0.0, pairs);
            assert_eq!(likeliest_allowed(&logits, &mask), taken);
        }
    }

    #[test]
    fn draws_follow_the_probabilities_and_the_seed() {
        let logits = [(0, 0.0), (1, 3.0_f32.ln())];
        let mut random = Random::new(42);
        let draws: Vec<_> = (0..10_000)
            .filter_map(|_| sample(&mut random, 1.0, logits.into_iter()))
            .collect();
        let ones = draws.iter().filter(|token| token.0 == 1).count();
        assert!((7_300..7_700).contains(&ones), "{ones} of 10000 for 3 in 4");
        let mut again = Random::new(42);
        assert!(
            draws
                .iter()
                .all(|token| sample(&mut again, 1.0, logits.into_iter()) == Some(*token))
        );
    }
}
