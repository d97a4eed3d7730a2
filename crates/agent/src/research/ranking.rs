//! In which order the passages that were found are read.

use std::collections::BTreeMap;
use std::ops::Range;

use journal::Run;
use knowledge::{Candidate, Passage};

use super::asking::{Asking, Said};
use super::quoting::Source;
use crate::Result;

/// What counts each unit by which the question is likelier after the sentences of a passage that come nearest
/// to it, beside the logarithm of the passage's place in what was found.
const GAIN: f32 = 16.0;
/// What the first place counts, so that the first ones are not too far apart.
const FIRST: f32 = 4.0;

/// Puts those passages first after which the model would ask the question. `found` are those that the search put
/// at `places` and after them, which keep its order, as all do where the model does not tell.
///
/// The model reads a few sentences of each, those around the one that comes nearest to the question
/// (reranking by the likelihood of the query: Sachan et al. 2022, "Improving passage retrieval with zero-shot
/// question generation"). `gains` holds what it told of passages by their ids, and is added to.
pub(super) async fn rank(
    run: &Run,
    asking: &Asking<'_>,
    found: Vec<Candidate>,
    places: Range<usize>,
    gains: &mut BTreeMap<String, f32>,
) -> Result<Vec<Passage>> {
    let unknown = found.iter().take(places.len()).enumerate();
    let said: Vec<Said<'_>> = unknown
        .filter(|(_, candidate)| !gains.contains_key(&candidate.passage.id))
        .map(|(index, candidate)| Said {
            index,
            passage: &candidate.passage,
            text: Source::of(&candidate.passage).near(&candidate.nearest),
        })
        .collect();
    let told = asking.gains(run, "rank", &said).await?;
    let told: Vec<(String, f32)> = (said.iter().zip(told))
        .filter_map(|(said, gain)| Some((said.passage.id.clone(), gain?)))
        .collect();
    gains.extend(told);
    Ok(in_order(found, places, gains))
}

/// The passages of `found`, those at `places` ordered by what is to be expected of each.
fn in_order(
    found: Vec<Candidate>,
    places: Range<usize>,
    gains: &BTreeMap<String, f32>,
) -> Vec<Passage> {
    let ranked = places.len().min(found.len());
    let scored = (places.start..).zip(found).map(|(place, candidate)| {
        let gain = gains.get(&candidate.passage.id).copied().unwrap_or(0.0);
        let score = GAIN * gain - (FIRST + place as f32).ln();
        (score, candidate.passage)
    });
    let mut scored: Vec<(f32, Passage)> = scored.collect();
    if let Some(ranked) = scored.get_mut(..ranked) {
        ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    }
    scored.into_iter().map(|(_, passage)| passage).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::passage;
    use super::*;

    fn found(id: usize) -> Candidate {
        Candidate {
            passage: Passage {
                id: id.to_string(),
                ..passage("")
            },
            nearest: 0..0,
        }
    }

    fn order(count: usize, places: Range<usize>, gains: &[(usize, f32)]) -> Vec<String> {
        let gains = gains.iter().map(|(id, gain)| (id.to_string(), *gain));
        let ranked = in_order((0..count).map(found).collect(), places, &gains.collect());
        ranked.into_iter().map(|passage| passage.id).collect()
    }

    #[test]
    fn what_the_model_would_ask_about_comes_first_of_those_it_was_asked_of() {
        let gains = [(0, 0.1), (1, 0.1), (2, 0.6), (3, 0.2), (4, 0.9)];
        assert_eq!(order(5, 0..4, &gains), ["2", "3", "0", "1", "4"]);
        assert_eq!(order(5, 0..9, &gains), ["4", "2", "3", "0", "1"]);
    }

    #[test]
    fn far_down_a_place_counts_less() {
        let gains = [(1, 0.02)];
        assert_eq!(order(2, 0..2, &gains), ["1", "0"]);
        assert_eq!(order(2, 0..2, &[(1, 0.01)]), ["0", "1"]);
        assert_eq!(order(2, 4..6, &[(1, 0.01)]), ["1", "0"]);
    }

    #[test]
    fn where_it_does_not_tell_the_order_of_the_search_stays() {
        assert_eq!(order(4, 0..3, &[]), ["0", "1", "2", "3"]);
    }
}
