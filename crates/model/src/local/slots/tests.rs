#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly"
)]

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn tokens(range: std::ops::Range<i32>) -> Vec<LlamaToken> {
    range.map(LlamaToken).collect()
}

fn admitted(admission: Admission) -> Place {
    match admission {
        Admission::Admitted(place) => place,
        waits => panic!("{waits:?}"),
    }
}

/// Pretends that the call has computed its whole prompt.
fn compute(slots: &mut Slots, index: usize) {
    let held = slots.slots[index].tokens.len();
    for token in slots.slots[index].prompt.clone().split_off(held) {
        slots.push(index, token);
    }
}

#[test]
fn calls_that_begin_alike_wait_for_the_first() {
    let mut slots = Slots::new(4, 1000);
    let first = admitted(slots.admit(&tokens(0..100), 10, None));
    assert_eq!((first.slot, first.shared), (0, 0));
    let mut second = tokens(0..80);
    second.extend(tokens(500..520));
    assert_eq!(slots.admit(&second, 10, None), Admission::WaitsForPrefix);
    compute(&mut slots, 0);
    let place = admitted(slots.admit(&second, 10, None));
    assert_eq!((place.slot, place.source, place.shared), (1, 0, 80));
}

#[test]
fn the_last_token_of_a_prompt_is_never_shared() {
    let mut slots = Slots::new(2, 1000);
    admitted(slots.admit(&tokens(0..50), 1, None));
    compute(&mut slots, 0);
    slots.release(0);
    assert_eq!(admitted(slots.admit(&tokens(0..50), 1, None)).shared, 49);
}

#[test]
fn a_conversation_goes_on_in_place() {
    let mut slots = Slots::new(4, 1000);
    admitted(slots.admit(&tokens(0..50), 5, None));
    compute(&mut slots, 0);
    slots.release(0);
    let place = admitted(slots.admit(&tokens(0..90), 5, None));
    assert_eq!((place.slot, place.source, place.shared), (0, 0, 50));
}

#[test]
fn what_is_idle_makes_room_the_oldest_first() {
    let mut slots = Slots::new(3, 100);
    for (index, start) in [(0, 0), (1, 200)] {
        let place = admitted(slots.admit(&tokens(start..start + 40), 5, None));
        assert_eq!(place.slot, index);
        compute(&mut slots, index);
        slots.release(index);
    }
    let place = admitted(slots.admit(&tokens(400..450), 5, None));
    assert_eq!((place.slot, place.evicted), (2, vec![0]));
    let other = tokens(600..650);
    assert_eq!(slots.admit(&other, 5, None), Admission::WaitsForRoom);
    slots.release(2);
    admitted(slots.admit(&other, 5, None));
}

#[test]
fn a_shared_beginning_takes_its_room_once() {
    let mut slots = Slots::new(8, 200);
    let call = |n: i32| [tokens(0..100), tokens(1000 * n..1000 * n + 10)].concat();
    for n in 1..=6 {
        let place = admitted(slots.admit(&call(n), 5, None));
        assert_eq!(place.shared, if n == 1 { 0 } else { 100 });
        compute(&mut slots, place.slot);
    }
    assert_eq!(slots.admit(&call(7), 5, None), Admission::WaitsForRoom);
}

#[test]
fn the_source_gives_up_its_end_when_nothing_else_makes_room() {
    let mut slots = Slots::new(3, 100);
    admitted(slots.admit(&tokens(0..90), 5, None));
    compute(&mut slots, 0);
    slots.release(0);
    let prompt = [tokens(0..40), tokens(500..540)].concat();
    let place = admitted(slots.admit(&prompt, 10, None));
    assert_eq!((place.slot, place.source, place.shared), (0, 0, 40));
}

proptest! {
    /// Whatever calls come and go, a cell counts as held exactly while a sequence holds it, and what
    /// is admitted fits to its end.
    #[test]
    fn cells_are_counted_right(calls in proptest::collection::vec((0..4_i32, 1..60_i32, 1..60_i32, 0..20_usize, any::<bool>()), 1..60)) {
        let mut slots = Slots::new(4, 150);
        for (family, beginning, rest, answer, release) in calls {
            let own = 10_000 + 1000 * (rest + 60 * family);
            let prompt = [tokens(1000 * family..1000 * family + beginning), tokens(own..own + rest)].concat();
            if let Admission::Admitted(place) = slots.admit(&prompt, answer, None) {
                compute(&mut slots, place.slot);
                for n in 0..i32::try_from(answer).unwrap_or(0) {
                    slots.push(place.slot, LlamaToken(n));
                }
                if release {
                    slots.release(place.slot);
                }
            } else {
                prop_assert!(slots.slots.iter().any(|slot| !slot.is_idle()), "alone, every call fits");
                for index in 0..4 {
                    slots.release(index);
                }
            }
            let held: HashSet<usize> = slots.slots.iter().flat_map(|slot| slot.cells.clone()).collect();
            prop_assert!(held.len() <= 150);
            prop_assert_eq!(slots.holders.len(), 150);
            prop_assert_eq!(slots.free.len(), 150 - held.len());
            for slot in &slots.slots {
                prop_assert_eq!(slot.cells.len(), slot.tokens.len());
            }
        }
    }
}
