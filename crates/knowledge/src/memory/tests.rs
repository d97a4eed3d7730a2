#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

use proptest::prelude::*;

use super::*;

fn memory() -> (tempfile::TempDir, Memory) {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::open(folder.path(), None).unwrap();
    (folder, memory)
}

fn fact(attribute: &str, text: &str) -> NewEntry {
    NewEntry {
        scope: "user:ada".to_owned(),
        kind: MemoryKind::Semantic,
        subject: "user".to_owned(),
        attribute: attribute.to_owned(),
        text: text.to_owned(),
        source: Source {
            said_by: Said::User,
            run: Some("r1".to_owned()),
            step: Some("memory.save[0]".to_owned()),
        },
        valid_from_ms: None,
        valid_to_ms: None,
        key: None,
    }
}

/// What is known now, as text.
fn known(memory: &Memory, now_ms: i64) -> Vec<String> {
    seen(memory, memory.now(now_ms).unwrap())
}

fn seen(memory: &Memory, view: View) -> Vec<String> {
    let filter = Filter {
        view: Some(view),
        ..Filter::default()
    };
    let entries = memory.list(&filter).unwrap();
    entries.iter().map(Entry::sentence).collect()
}

#[test]
fn what_contradicts_supersedes_and_both_stay() {
    let (_folder, memory) = memory();
    let first = memory.save(&fact("Favourite colour", "green"), 10).unwrap();
    let second = memory.save(&fact("favourite-colour", "blue"), 20).unwrap();
    assert_eq!(second.supersedes, std::slice::from_ref(&first.id));
    assert_eq!(known(&memory, 30), ["user, favourite-colour: blue"]);
    // Before, it was green: that is still so, and known.
    let before = View {
        at_ms: 15,
        ..memory.now(30).unwrap()
    };
    assert_eq!(seen(&memory, before), ["user, Favourite colour: green"]);
    assert_eq!(
        seen(&memory, memory.as_of(15).unwrap()),
        ["user, Favourite colour: green"]
    );
    let history = memory.history(&second.id).unwrap();
    let versions: Vec<_> = history
        .iter()
        .map(|entry| {
            (
                entry.id.as_str(),
                entry.text.as_str(),
                entry.valid_to_ms,
                entry.superseded_by.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        versions,
        [
            ("m1", "green", None, Some("m2")),
            ("m2", "blue", None, None),
            ("m3", "green", Some(20), None)
        ]
    );
}

#[test]
fn the_same_once_more_changes_nothing() {
    let (_folder, memory) = memory();
    let first = memory.save(&fact("name", "Ada"), 10).unwrap();
    let again = memory.save(&fact("Name", "ada."), 20).unwrap();
    assert_eq!((again.id, again.outcome), (first.id, Outcome::Known));
    assert_eq!(memory.generation().unwrap(), 1);
}

#[test]
fn a_write_with_the_same_key_is_done_once_also_after_it_was_forgotten() {
    let (_folder, memory) = memory();
    let new = NewEntry {
        key: Some("k".to_owned()),
        ..fact("name", "Ada")
    };
    let saved = memory.save(&new, 10).unwrap();
    assert_eq!(memory.save(&new, 20).unwrap(), saved);
    memory.forget(&saved.id, 30).unwrap();
    assert_eq!(memory.save(&new, 40).unwrap(), saved);
    assert!(known(&memory, 50).is_empty());
}

#[test]
fn a_tool_or_a_model_does_not_overrule_a_human_being() {
    let (_folder, memory) = memory();
    let said = |said_by, text: &str| {
        let mut new = fact("bank account", text);
        new.source.said_by = said_by;
        new
    };
    memory.save(&said(Said::User, "DE11"), 10).unwrap();
    let page = memory.save(&said(Said::Tool, "XX99"), 20).unwrap();
    assert_eq!(page.outcome, Outcome::Proposed);
    assert_eq!(known(&memory, 30), ["user, bank account: DE11"]);
    // A person may.
    assert_eq!(
        memory.accept(&page.id, "Bo", 40).unwrap().supersedes,
        ["m1"]
    );
    assert_eq!(known(&memory, 50), ["user, bank account: XX99"]);
    assert!(memory.accept(&page.id, "Bo", 60).is_err());
    // Where nobody has said anything, it is kept with who said it.
    let mut city = fact("city", "Bern");
    city.source.said_by = Said::Agent;
    memory.save(&city, 70).unwrap();
    let entry = memory.history("m4").unwrap().remove(0);
    assert!(!entry.is_trusted() && entry.source.said_by == Said::Agent);
    // And becomes more when the user says it.
    assert_eq!(
        memory.save(&fact("city", "Bern"), 80).unwrap().supersedes,
        ["m4"]
    );
}

#[test]
fn instructions_wait_for_a_person() {
    let (_folder, memory) = memory();
    let mut rule = fact("refunds", "Offer a voucher first.");
    rule.kind = MemoryKind::Procedural;
    let waits = memory.save(&rule, 10).unwrap();
    assert_eq!(waits.outcome, Outcome::Proposed);
    assert!(known(&memory, 20).is_empty());
    memory.accept(&waits.id, "Bo", 30).unwrap();
    assert_eq!(known(&memory, 40), ["Offer a voucher first."]);
    // As of before it was accepted, it was not there.
    assert!(seen(&memory, memory.as_of(25).unwrap()).is_empty());
    rule.text = "Offer two vouchers.".to_owned();
    let other = memory.save(&rule, 50).unwrap();
    assert_eq!(memory.save(&rule, 55).unwrap(), other);
    memory.reject(&other.id, 60).unwrap();
    assert_eq!(memory.save(&rule, 65).unwrap().outcome, Outcome::Refused);
    assert_eq!(known(&memory, 70), ["Offer a voucher first."]);
}

#[test]
fn an_earlier_version_is_restored() {
    let (_folder, memory) = memory();
    memory.save(&fact("city", "Bern"), 10).unwrap();
    memory.save(&fact("city", "Basel"), 20).unwrap();
    let restored = memory.revert("m1", 30).unwrap();
    assert_eq!(known(&memory, 40), ["user, city: Bern"]);
    let history = memory.history(&restored.id).unwrap();
    let entry = history
        .iter()
        .find(|entry| entry.id == restored.id)
        .unwrap();
    assert_eq!(entry.version_of.as_deref(), Some("m1"));
    assert_eq!(entry.source.said_by, Said::Person);
    let error = memory.revert(&restored.id, 50).unwrap_err().to_string();
    assert!(error.contains("is not an earlier version"), "{error}");
    let basel = View {
        at_ms: 25,
        ..memory.now(60).unwrap()
    };
    assert_eq!(seen(&memory, basel), ["user, city: Basel"]);
}

#[test]
fn what_is_forgotten_is_gone_from_the_disk() {
    let (folder, memory) = memory();
    memory.save(&fact("card", "4111222233334444"), 10).unwrap();
    let newer = memory.save(&fact("card", "9999222233334444"), 20).unwrap();
    memory.save(&fact("city", "Bern"), 30).unwrap();
    let forgotten = memory.forget(&newer.id, 40).unwrap();
    assert_eq!(forgotten.ids, ["m1", "m2", "m3"]);
    assert_eq!(forgotten.runs, ["r1"]);
    for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
        let bytes = std::fs::read(file.path()).unwrap();
        let has = |digits: &[u8]| bytes.windows(digits.len()).any(|window| window == digits);
        assert!(!has(b"222233334444"), "{}", file.path().display());
    }
    assert_eq!(known(&memory, 50), ["user, city: Bern"]);
    let left = memory.history("m1").unwrap();
    assert_eq!(
        (left[0].state, left[0].text.as_str()),
        (State::Forgotten, "")
    );
    assert_eq!(memory.forget_scope("user:ada", 60).unwrap().ids, ["m4"]);
    assert!(known(&memory, 70).is_empty());
}

#[test]
fn a_run_sees_the_memory_as_it_was_and_what_it_wrote_itself() {
    let (_folder, memory) = memory();
    memory.save(&fact("city", "Bern"), 10).unwrap();
    let view = View {
        run: Some("mine".to_owned()),
        ..memory.now(10).unwrap()
    };
    memory.save(&fact("city", "Basel"), 10).unwrap();
    assert_eq!(seen(&memory, view.clone()), ["user, city: Bern"]);
    let mut own = fact("name", "Ada");
    own.source.run = Some("mine".to_owned());
    memory.save(&own, 20).unwrap();
    assert_eq!(
        seen(&memory, view.clone()),
        ["user, city: Bern", "user, name: Ada"]
    );
    // What it says against the memory is seen at once.
    own.text = "Bo".to_owned();
    memory.save(&own, 30).unwrap();
    assert_eq!(seen(&memory, view), ["user, city: Bern", "user, name: Bo"]);
}

#[test]
fn the_best_entry_is_found() {
    let (_folder, memory) = memory();
    for (attribute, text) in [
        ("favourite drink", "green tea without sugar"),
        ("employer", "a furniture shop in Bern"),
        ("allergy", "peanuts"),
    ] {
        memory.save(&fact(attribute, text), 10).unwrap();
    }
    let view = memory.now(20).unwrap();
    let found = |query: &str| {
        let found = memory.search(query, 2, &Filter::default(), &view).unwrap();
        found
            .into_iter()
            .map(|entry| entry.attribute)
            .collect::<Vec<_>>()
    };
    assert_eq!(found("Which shop does she work for?"), ["employer"]);
    assert_eq!(found("drinks"), ["favourite drink"]);
    assert!(found("weather").is_empty());
}

#[test]
fn meanings_are_found_with_the_embedding_model() {
    let Some(files) = crate::embed::tests::model_files() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::open(folder.path(), Some(files)).unwrap();
    for (attribute, text) in [
        ("favourite drink", "green tea without sugar"),
        ("employer", "a furniture shop in Bern"),
        ("allergy", "peanuts"),
    ] {
        memory.save(&fact(attribute, text), 10).unwrap();
    }
    let view = memory.now(20).unwrap();
    let found = memory
        .search("Can I serve nuts?", 1, &Filter::default(), &view)
        .unwrap();
    assert_eq!(found[0].attribute, "allergy");
}

/// What is done to the memory and to its plain model.
#[derive(Clone, Debug)]
enum Act {
    /// Attribute, text, from, for how long.
    Save(u8, u8, i64, Option<i64>),
    /// Of so many versions, which.
    Revert(usize),
    Forget(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..3_u8, 0..3_u8, 0..100_i64, prop::option::of(1..60_i64))
            .prop_map(|(attribute, text, from, length)| Act::Save(attribute, text, from, length)),
        2 => (0..40_usize).prop_map(Act::Revert),
        1 => (0..40_usize).prop_map(Act::Forget),
    ]
}

/// The plain model: what was said, in order. The last word about a time counts.
#[derive(Default)]
struct Plain(Vec<(u64, u8, u8, i64, Option<i64>)>);

impl Plain {
    fn at(&self, generation: u64, at: i64, attribute: u8) -> Option<u8> {
        let said = self.0.iter().rev().find(|(since, about, _, from, to)| {
            *since <= generation
                && *about == attribute
                && *from <= at
                && to.is_none_or(|to| to > at)
        });
        said.map(|(_, _, text, ..)| *text)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn at_every_time_and_generation_the_last_word_counts(acts in prop::collection::vec(act(), 1..16)) {
        let (_folder, memory) = memory();
        let mut plain = Plain::default();
        for (step, act) in acts.iter().enumerate() {
            let now_ms = 1_000 + i64::try_from(step).unwrap();
            let all = memory.list(&Filter::default()).unwrap();
            match act {
                Act::Save(attribute, text, from, length) => {
                    let to = length.map(|length| from + length);
                    let mut new = fact(&attribute.to_string(), &text.to_string());
                    (new.valid_from_ms, new.valid_to_ms) = (Some(*from), to);
                    memory.save(&new, now_ms).unwrap();
                    plain.0.push((memory.generation().unwrap(), *attribute, *text, *from, to));
                }
                Act::Revert(which) => {
                    let earlier: Vec<&Entry> = all
                        .iter()
                        .filter(|entry| entry.state == State::Live && entry.superseded_ms.is_some())
                        .collect();
                    if let Some(entry) = earlier.get(which % earlier.len().max(1)) {
                        memory.revert(&entry.id, now_ms).unwrap();
                        let number = |text: &str| text.parse::<u8>().unwrap();
                        plain.0.push((
                            memory.generation().unwrap(),
                            number(&entry.attribute),
                            number(&entry.text),
                            now_ms,
                            None,
                        ));
                    }
                }
                Act::Forget(which) => {
                    let there: Vec<&Entry> =
                        all.iter().filter(|entry| entry.state == State::Live).collect();
                    if let Some(entry) = there.get(which % there.len().max(1)) {
                        memory.forget(&entry.id, now_ms).unwrap();
                        let attribute: u8 = entry.attribute.parse().unwrap();
                        plain.0.retain(|(_, about, ..)| *about != attribute);
                    }
                }
            }
        }
        for generation in 0..=memory.generation().unwrap() {
            for at_ms in (0..170).step_by(11).chain((1_000..1_018).step_by(3)) {
                let view = View { generation, at_ms, run: None };
                let filter = Filter { view: Some(view), ..Filter::default() };
                let entries = memory.list(&filter).unwrap();
                for attribute in 0..3_u8 {
                    let there: Vec<u8> = entries
                        .iter()
                        .filter(|entry| entry.attribute == attribute.to_string())
                        .map(|entry| entry.text.parse().unwrap())
                        .collect();
                    let expected: Vec<u8> =
                        plain.at(generation, at_ms, attribute).into_iter().collect();
                    prop_assert_eq!(there, expected, "{} as of {} at {}", attribute, generation, at_ms);
                }
            }
        }
    }
}
