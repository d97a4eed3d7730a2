//! Which sequence of the key-value cache a call works in, and whose beginning it shares.
//!
//! Every sequence, at work or idle, is a prefix cache for the calls after it. Several calls that begin
//! alike and arrive together compute their common beginning once: the others wait for the first.

use llama_cpp_2::token::LlamaToken;

/// A call waits for another one's prefix only when that saves at least this many tokens.
const WORTH_WAITING: usize = 16;

/// One sequence.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    /// The tokens that the cache holds for it.
    pub tokens: Vec<LlamaToken>,
    /// The whole prompt of the call at work in it; empty when idle.
    pub prompt: Vec<LlamaToken>,
    /// The most tokens that it may come to hold; 0 when idle.
    pub reserved: usize,
    /// When it was last used, in admissions.
    pub used: u64,
}

impl Slot {
    fn is_idle(&self) -> bool {
        self.reserved == 0
    }
}

/// Where a call may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The sequence that it gets.
    pub slot: usize,
    /// The sequence whose beginning it shares; the same as `slot` when it goes on in place.
    pub source: usize,
    /// How many tokens it shares.
    pub shared: usize,
    /// Idle sequences that must be emptied first.
    pub evicted: Vec<usize>,
}

/// All sequences of a context.
#[derive(Debug)]
pub(super) struct Slots {
    pub slots: Vec<Slot>,
    capacity: usize,
    clock: u64,
}

impl Slots {
    pub(super) fn new(count: usize, capacity: usize) -> Slots {
        Slots {
            slots: vec![Slot::default(); count],
            capacity,
            clock: 0,
        }
    }

    /// Finds a place for a call, or `None` when it has to wait for one at work.
    pub(super) fn admit(&mut self, prompt: &[LlamaToken], answer: usize) -> Option<Place> {
        // The last token is always computed, for its logits.
        let usable = prompt
            .get(..prompt.len().saturating_sub(1))
            .unwrap_or_default();
        let shares = |slot: &Slot| common(&slot.tokens, usable);
        let (source, shared) = self
            .slots
            .iter()
            .map(shares)
            .enumerate()
            .max_by_key(|(index, n)| (*n, usize::MAX - index))?;
        let coming = self
            .slots
            .iter()
            .map(|slot| common(&slot.prompt, usable))
            .max()
            .unwrap_or(0);
        if coming >= shared + WORTH_WAITING {
            return None;
        }
        let idle = (0..self.slots.len()).filter(|i| self.slots.get(*i).is_some_and(Slot::is_idle));
        let mut idle: Vec<usize> = idle.collect();
        idle.sort_by_key(|i| {
            self.slots.get(*i).map_or(0, |slot| {
                (slot.used + 1) * u64::from(!slot.tokens.is_empty())
            })
        });
        // The source itself is taken only when nothing else is idle: it may serve again.
        let slot = idle
            .iter()
            .copied()
            .find(|i| *i != source)
            .or_else(|| idle.first().copied())?;
        let evicted = self.evictions(slot, source, shared, prompt.len() + answer, &idle)?;
        self.clock += 1;
        let clock = self.clock;
        let beginning = prompt.get(..shared).unwrap_or_default().to_vec();
        for index in &evicted {
            self.empty(*index);
        }
        let reserved = prompt.len() + answer;
        let taken = self.slots.get_mut(slot)?;
        *taken = Slot {
            tokens: beginning,
            prompt: prompt.to_vec(),
            reserved,
            used: clock,
        };
        if let Some(source) = self.slots.get_mut(source) {
            source.used = clock;
        }
        Some(Place {
            slot,
            source,
            shared,
            evicted,
        })
    }

    /// The idle sequences to empty so that the call fits; `None` when it does not even then.
    fn evictions(
        &self,
        slot: usize,
        source: usize,
        shared: usize,
        needed: usize,
        idle: &[usize],
    ) -> Option<Vec<usize>> {
        let mut evicted = Vec::new();
        let others = |evicted: &[usize]| -> usize {
            let others = self.slots.iter().enumerate();
            let others = others.filter(|(i, _)| *i != slot && !evicted.contains(i));
            others
                .map(|(_, slot)| slot.tokens.len().max(slot.reserved))
                .sum()
        };
        // Shared beginnings are counted for each that holds them: never too few.
        for index in idle.iter().copied().filter(|i| *i != slot && *i != source) {
            if others(&evicted) + needed - shared <= self.capacity {
                return Some(evicted);
            }
            evicted.push(index);
        }
        let alone = self.slots.iter().all(Slot::is_idle);
        (alone || others(&evicted) + needed - shared <= self.capacity).then_some(evicted)
    }

    /// Makes a sequence idle; what it holds stays for the calls after it.
    pub(super) fn release(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.prompt.clear();
            slot.reserved = 0;
        }
    }

    /// Forgets what a sequence holds.
    pub(super) fn empty(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Slot::default();
        }
    }

    /// The idle sequence that was used least recently and holds something.
    pub(super) fn oldest_idle(&self) -> Option<usize> {
        let held = |slot: &Slot| slot.is_idle() && !slot.tokens.is_empty();
        let held = self.slots.iter().enumerate().filter(|(_, slot)| held(slot));
        held.min_by_key(|(_, slot)| slot.used)
            .map(|(index, _)| index)
    }
}

fn common(a: &[LlamaToken], b: &[LlamaToken]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]
mod tests {
    use super::*;

    fn tokens(range: std::ops::Range<i32>) -> Vec<LlamaToken> {
        range.map(LlamaToken).collect()
    }

    /// Pretends that the call has computed its whole prompt.
    fn compute(slots: &mut Slots, index: usize) {
        slots.slots[index].tokens = slots.slots[index].prompt.clone();
    }

    #[test]
    fn calls_that_begin_alike_wait_for_the_first() {
        let mut slots = Slots::new(4, 1000);
        let first = slots.admit(&tokens(0..100), 10).unwrap();
        assert_eq!((first.slot, first.shared), (0, 0));
        let mut second = tokens(0..80);
        second.extend(tokens(500..520));
        assert_eq!(slots.admit(&second, 10), None);
        compute(&mut slots, 0);
        let place = slots.admit(&second, 10).unwrap();
        assert_eq!((place.slot, place.source, place.shared), (1, 0, 80));
    }

    #[test]
    fn the_last_token_of_a_prompt_is_never_shared() {
        let mut slots = Slots::new(2, 1000);
        slots.admit(&tokens(0..50), 1).unwrap();
        compute(&mut slots, 0);
        slots.release(0);
        assert_eq!(slots.admit(&tokens(0..50), 1).unwrap().shared, 49);
    }

    #[test]
    fn what_is_idle_makes_room_the_oldest_first() {
        let mut slots = Slots::new(3, 100);
        for (index, start) in [(0, 0), (1, 200)] {
            assert_eq!(
                slots.admit(&tokens(start..start + 40), 5).unwrap().slot,
                index
            );
            compute(&mut slots, index);
            slots.release(index);
        }
        let place = slots.admit(&tokens(400..450), 5).unwrap();
        assert_eq!((place.slot, place.evicted), (2, vec![0]));
        assert_eq!(
            slots.admit(&tokens(600..650), 5),
            None,
            "the one at work needs its room"
        );
        slots.release(2);
        assert!(slots.admit(&tokens(600..650), 5).is_some());
    }
}
