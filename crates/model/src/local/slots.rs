//! Which sequence of the key-value cache a call works in, and whose beginning it shares.
//!
//! Every sequence, at work or idle, is a prefix cache for the calls after it. Several calls that begin
//! alike and arrive together compute their common beginning once: the others wait for the first. Room
//! is counted in cells of the cache, and a cell that several sequences share counts once, as it does in
//! the engine. A call is admitted only when its whole answer will fit.

use llama_cpp_2::token::LlamaToken;

/// A call waits for another one's prefix only when that saves at least this many tokens.
const WORTH_WAITING: usize = 16;

/// One sequence.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// The adapter that they were computed with.
    adapter: Option<usize>,
    /// The tokens that the cache holds for it.
    tokens: Vec<LlamaToken>,
    /// The cell of each of them.
    cells: Vec<usize>,
    /// The whole prompt of the call at work in it; empty when idle.
    prompt: Vec<LlamaToken>,
    /// The most tokens that it may come to hold; 0 when idle.
    reserved: usize,
    /// When it was last used, in admissions.
    used: u64,
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

/// What becomes of a call that wants to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It begins.
    Admitted(Place),
    /// A call at work is computing what this one begins with.
    WaitsForPrefix,
    /// The calls at work leave no room for it.
    WaitsForRoom,
}

/// All sequences of a context.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// How many sequences hold each cell.
    holders: Vec<u16>,
    free: Vec<usize>,
    capacity: usize,
    clock: u64,
}

impl Slots {
    pub(super) fn new(count: usize, capacity: usize) -> Slots {
        Slots {
            slots: vec![Slot::default(); count],
            holders: vec![0; capacity],
            free: (0..capacity).rev().collect(),
            capacity,
            clock: 0,
        }
    }

    /// Finds a place for a call of `prompt` whose answer has at most `answer` tokens. What was computed
    /// with another adapter is not shared: the same tokens have other values there.
    pub(super) fn admit(
        &mut self,
        prompt: &[LlamaToken],
        answer: usize,
        adapter: Option<usize>,
    ) -> Admission {
        // The last token is always computed, for its logits.
        let usable = prompt
            .get(..prompt.len().saturating_sub(1))
            .unwrap_or_default();
        let like = |slot: &Slot, tokens: &[LlamaToken]| match slot.adapter == adapter {
            true => common(tokens, usable),
            false => 0,
        };
        let shares = self.slots.iter().map(|slot| like(slot, &slot.tokens));
        let longest = shares
            .enumerate()
            .max_by_key(|(index, shared)| (*shared, usize::MAX - index));
        let Some((source, shared)) = longest else {
            return Admission::WaitsForRoom;
        };
        let coming = self.slots.iter().map(|slot| like(slot, &slot.prompt));
        if coming.max().unwrap_or(0) >= shared + WORTH_WAITING {
            return Admission::WaitsForPrefix;
        }
        let reserved = prompt.len() + answer;
        match self.find(source, shared, reserved) {
            None => Admission::WaitsForRoom,
            Some(place) => {
                self.take(&place, prompt, reserved, adapter);
                Admission::Admitted(place)
            }
        }
    }

    /// The sequence for a call that shares `shared` tokens of `source` and may come to `reserved`.
    fn find(&self, source: usize, shared: usize, reserved: usize) -> Option<Place> {
        let mut idle: Vec<usize> = self.indices().filter(|i| self.is_idle(*i)).collect();
        // Empty ones first, then the least recently used.
        idle.sort_by_key(|index| {
            let slot = self.slots.get(*index);
            slot.map_or(0, |slot| {
                (slot.used + 1) * u64::from(!slot.tokens.is_empty())
            })
        });
        // Where nothing is shared, any sequence does.
        let source = match shared {
            0 => *idle.first()?,
            _ => source,
        };
        let length = self.slots.get(source).map_or(0, |slot| slot.tokens.len());
        let in_place = self.is_idle(source).then_some(source);
        // A source that would lose nothing goes on in place.
        let slot = match in_place.filter(|_| shared == 0 || shared == length) {
            Some(slot) => slot,
            None => idle.iter().copied().find(|i| *i != source).or(in_place)?,
        };
        let others = idle
            .iter()
            .copied()
            .filter(|i| *i != slot && *i != source)
            .collect::<Vec<_>>();
        let place = |slot, evicted| Place {
            slot,
            source,
            shared,
            evicted,
        };
        for count in 0..=others.len() {
            let evicted = others.get(..count).unwrap_or_default().to_vec();
            let place = place(slot, evicted);
            if self.fits(&place, reserved) {
                return Some(place);
            }
        }
        // The last resort is to give up what the source has beyond the shared beginning.
        let evicted = idle.iter().copied().filter(|i| *i != source).collect();
        let place = place(in_place?, evicted);
        self.fits(&place, reserved).then_some(place)
    }

    /// Whether all that is at work, and this call, will fit to their ends.
    fn fits(&self, place: &Place, reserved: usize) -> bool {
        let mut holders = self.holders.clone();
        let mut drop_from = |index: usize, from: usize| {
            let cells = self
                .slots
                .get(index)
                .and_then(|slot| slot.cells.get(from..));
            for cell in cells.unwrap_or_default() {
                if let Some(count) = holders.get_mut(*cell) {
                    *count -= 1;
                }
            }
        };
        place.evicted.iter().for_each(|index| drop_from(*index, 0));
        drop_from(
            place.slot,
            if place.slot == place.source {
                place.shared
            } else {
                0
            },
        );
        let held = holders.iter().filter(|count| **count > 0).count();
        let at_work = self.slots.iter().filter(|slot| !slot.is_idle());
        let coming: usize = at_work
            .map(|slot| slot.reserved.saturating_sub(slot.tokens.len()))
            .sum();
        held + coming + reserved - place.shared <= self.capacity
    }

    fn take(
        &mut self,
        place: &Place,
        prompt: &[LlamaToken],
        reserved: usize,
        adapter: Option<usize>,
    ) {
        self.clock += 1;
        let clock = self.clock;
        for index in &place.evicted {
            self.empty(*index);
        }
        let mut cells = Vec::new();
        if let Some(source) = self.slots.get_mut(place.source) {
            source.used = clock;
            cells.extend(source.cells.iter().take(place.shared));
        }
        // Held on to before the sequence lets go of what it had, which may be the same.
        self.hold(&cells);
        self.empty(place.slot);
        if let Some(slot) = self.slots.get_mut(place.slot) {
            *slot = Slot {
                adapter,
                tokens: prompt.iter().take(place.shared).copied().collect(),
                cells,
                prompt: prompt.to_vec(),
                reserved,
                used: clock,
            };
        }
    }

    /// Adds a token that is about to be computed; returns its position in the sequence.
    pub(super) fn push(&mut self, index: usize, token: LlamaToken) -> usize {
        // Tokens beyond a reservation can go over the capacity for a while; the engine makes room.
        let cell = self.free.pop().unwrap_or_else(|| {
            self.holders.push(0);
            self.holders.len() - 1
        });
        self.hold(&[cell]);
        let Some(slot) = self.slots.get_mut(index) else {
            return 0;
        };
        slot.tokens.push(token);
        slot.cells.push(cell);
        slot.tokens.len() - 1
    }

    /// Whether a sequence holds these tokens, or a call at work is computing them.
    pub(super) fn knows(&self, tokens: &[LlamaToken]) -> bool {
        let begins = |held: &[LlamaToken]| common(held, tokens) == tokens.len();
        let mut plain = self.slots.iter().filter(|slot| slot.adapter.is_none());
        plain.any(|slot| begins(&slot.tokens) || begins(&slot.prompt))
    }

    /// Gives tokens that were computed earlier an idle sequence, which they are to be put into; `None`
    /// where there is no room.
    pub(super) fn bring_back(&mut self, tokens: &[LlamaToken]) -> Option<Place> {
        let place = self.find(0, 0, tokens.len())?;
        self.take(&place, &[], 0, None);
        for token in tokens {
            self.push(place.slot, *token);
        }
        Some(place)
    }

    /// The tokens that a sequence holds.
    pub(super) fn tokens(&self, index: usize) -> &[LlamaToken] {
        self.slots.get(index).map_or(&[], |slot| &slot.tokens)
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
        let slot = self.slots.get_mut(index).map(std::mem::take);
        for cell in slot.map(|slot| slot.cells).unwrap_or_default() {
            if let Some(count) = self.holders.get_mut(cell) {
                *count -= 1;
                if *count == 0 {
                    self.free.push(cell);
                }
            }
        }
    }

    /// The idle sequence that was used least recently and holds something.
    pub(super) fn oldest_idle(&self) -> Option<usize> {
        let held = |slot: &Slot| slot.is_idle() && !slot.tokens.is_empty();
        let held = self.slots.iter().enumerate().filter(|(_, slot)| held(slot));
        held.min_by_key(|(_, slot)| slot.used)
            .map(|(index, _)| index)
    }

    fn hold(&mut self, cells: &[usize]) {
        for cell in cells {
            if let Some(count) = self.holders.get_mut(*cell) {
                *count += 1;
            }
        }
    }

    fn indices(&self) -> std::ops::Range<usize> {
        0..self.slots.len()
    }

    fn is_idle(&self, index: usize) -> bool {
        self.slots.get(index).is_some_and(Slot::is_idle)
    }
}

pub(super) fn common(a: &[LlamaToken], b: &[LlamaToken]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests;
