//! What models cost and can do, from a table with a date. What is not in it is not known.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::Usage;

/// What is known of a model. Prices are US dollars for a million tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Of tokens of the prompt.
    pub input: f64,
    /// Of tokens of the prompt that a cache had; `input` where not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<f64>,
    /// Of tokens of the prompt that are written to a cache; `input` where not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<f64>,
    /// Of tokens of the answer.
    pub output: f64,
    /// Tokens that prompt and answer may have together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<u32>,
    /// What it takes and does: `tools`, `images`, `schema`, ...
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abilities: Vec<String>,
}

/// The table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// When it was written.
    pub date: String,
    /// Where it is from.
    pub source: String,
    /// By `provider:name`.
    pub models: BTreeMap<String, Price>,
}

/// The table that this version came with.
pub fn table() -> &'static Prices {
    static TABLE: OnceLock<Prices> = OnceLock::new();
    // A test reads the file, so that it is never the empty table.
    TABLE.get_or_init(|| serde_json::from_str(include_str!("prices.json")).unwrap_or_default())
}

/// What is known of the model `provider:name`, which may end in a date.
pub fn find(name: &str) -> Option<&'static Price> {
    let models = &table().models;
    models.get(name).or_else(|| models.get(without_date(name)?))
}

/// `name-20250929` and `name-2025-09-29` are `name` at a date.
fn without_date(name: &str) -> Option<&str> {
    let is_date = |date: &str| {
        let mut parts = date.split('-').map(str::len);
        let lengths = [parts.next(), parts.next(), parts.next(), parts.next()];
        let digits = date
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-');
        digits
            && matches!(
                lengths,
                [Some(8), None, ..] | [Some(4), Some(2), Some(2), None]
            )
    };
    [8, 10].into_iter().find_map(|length| {
        let (bare, date) = name.split_at_checked(name.len().checked_sub(length)?)?;
        bare.strip_suffix('-').filter(|_| is_date(date))
    })
}

/// What a call of the model took, in millionths of a US dollar, rounded up; `None` where its price is
/// not known.
pub fn cost_micros(name: &str, usage: &Usage) -> Option<u64> {
    let price = find(name)?;
    let from_cache = usage.cached_tokens.min(usage.prompt_tokens);
    let written = usage
        .cache_write_tokens
        .min(usage.prompt_tokens - from_cache);
    let plain = usage.prompt_tokens - from_cache - written;
    // Dollars for a million are millionths for one.
    let cost = f64::from(plain) * price.input
        + f64::from(from_cache) * price.cached.unwrap_or(price.input)
        + f64::from(written) * price.cache_write.unwrap_or(price.input)
        + f64::from(usage.output_tokens) * price.output;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a price is above 0 and far below 2^53"
    )]
    // Fractions of floats must not add a millionth.
    Some((cost - 1e-6).ceil().max(0.0) as u64)
}

/// The most that a call with so many tokens may take, in millionths of a US dollar: nothing for models
/// on this machine (`local:`), and of several in order (`a,b`) what the dearest takes. `None` where a
/// price is not known.
pub fn most_micros(name: &str, prompt_tokens: u64, output_tokens: u64) -> Option<u64> {
    let tokens = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let plain = Usage {
        prompt_tokens: tokens(prompt_tokens),
        output_tokens: tokens(output_tokens),
        ..Usage::default()
    };
    // To write a prompt to a cache may be dearer than to read it.
    let written = Usage {
        cache_write_tokens: plain.prompt_tokens,
        ..plain
    };
    let most = |name: &str| match name.split_once(':') {
        Some(("local", _)) => Some(0),
        _ => cost_micros(name, &plain).max(cost_micros(name, &written)),
    };
    name.split(',')
        .map(most)
        .try_fold(0, |dearest, micros| Some(micros?.max(dearest)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let table: Prices = serde_json::from_str(include_str!("prices.json")).unwrap();
        assert_eq!(table.date.len(), 10);
        assert!(table.models.len() > 10 && !table.source.is_empty());
        for (name, price) in &table.models {
            assert!(name.contains(':'), "{name}");
            assert!(price.input > 0.0 && price.output >= price.input, "{name}");
            assert!(
                price.cached.is_none_or(|cached| cached <= price.input),
                "{name}"
            );
        }
    }

    #[test]
    fn a_price_is_of_the_name_also_with_a_date() {
        let sonnet = find("anthropic:claude-sonnet-4-5").unwrap();
        assert_eq!(find("anthropic:claude-sonnet-4-5-20250929"), Some(sonnet));
        assert!(find("openai:gpt-4o-2024-11-20").is_some());
        assert_eq!(find("anthropic:claude-sonnet-4-5-mini"), None);
        assert_eq!(find("openai:gpt-4o-audio"), None);
        assert_eq!(find(""), None);
    }

    #[test]
    fn cached_written_and_plain_tokens_have_their_prices() {
        let usage = Usage {
            prompt_tokens: 10_000,
            cached_tokens: 6_000,
            cache_write_tokens: 1_000,
            output_tokens: 100,
            reasoning_tokens: 50,
        };
        // 3,000 × 3 + 6,000 × 0.3 + 1,000 × 3.75 + 100 × 15.
        assert_eq!(
            cost_micros("anthropic:claude-sonnet-4-5", &usage),
            Some(16_050)
        );
        assert_eq!(cost_micros("anthropic:unheard-of", &usage), None, "not 0");
        assert_eq!(
            cost_micros("anthropic:claude-sonnet-4-5", &Usage::default()),
            Some(0)
        );
    }

    #[test]
    fn the_most_that_a_call_may_take_is_that_of_the_dearest_way() {
        // 10,000 × 3.75, as a prompt that is written to the cache, + 100 × 15.
        let sonnet = "anthropic:claude-sonnet-4-5";
        assert_eq!(most_micros(sonnet, 10_000, 100), Some(39_000));
        assert_eq!(most_micros("openai:gpt-5-mini", 10_000, 100), Some(2_700));
        assert_eq!(most_micros("local:qwen+mine", 10_000, 100), Some(0));
        let in_order = |other: &str| most_micros(&format!("local:qwen,{other}"), 10_000, 100);
        assert_eq!(in_order(sonnet), Some(39_000));
        assert_eq!(in_order("ollama:qwen"), None, "not 0");
    }
}
