#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::read::read_file;

fn split_text(name: &str, text: &str) -> (Document, Vec<Draft>) {
    let document = read_file(Path::new(name), text.as_bytes()).unwrap();
    let drafts = split(&document, &SplitOptions::default());
    (document, drafts)
}

fn texts<'a>(document: &'a Document, drafts: &[Draft]) -> Vec<&'a str> {
    drafts
        .iter()
        .map(|draft| &document.text[draft.range.clone()])
        .collect()
}

fn prose(words: usize) -> String {
    let sentence = "The quick brown fox jumps over the lazy dog again. ";
    sentence.repeat(words.div_ceil(10)).trim_end().to_owned()
}

#[test]
fn sections_large_enough_are_passages_of_their_own() {
    let long = prose(120);
    let text = format!("# Guide\n\n## Start\n\n{long}\n\n## Stop\n\n{long}\n");
    let (document, drafts) = split_text("x.md", &text);
    assert_eq!(
        texts(&document, &drafts),
        [
            format!("# Guide\n\n## Start\n\n{long}"),
            format!("## Stop\n\n{long}")
        ]
    );
    assert_eq!(drafts[0].headings, ["Guide", "Start"]);
    assert_eq!(drafts[1].headings, ["Guide", "Stop"]);
}

#[test]
fn small_sections_are_put_together_under_what_they_share() {
    let text = "# Guide\n\n## Options\n\n### -a\n\nAll of it.\n\n### -b\n\nBoth of them.\n\n### -c\n\nThe count.\n";
    let (document, drafts) = split_text("x.md", text);
    assert_eq!(texts(&document, &drafts), [text.trim()]);
    assert_eq!(drafts[0].headings, ["Guide", "Options"]);
}

#[test]
fn a_heading_has_no_target_of_a_link() {
    let text = "# Guide <a id=\"guide\"></a>\n\n## <a name='x'/>Vec<a> of `<b>` ##\n\nAll of it.\n";
    let (_, drafts) = split_text("x.md", text);
    assert_eq!(drafts[0].headings, ["Guide", "Vec<a> of `<b>`"]);
}

#[test]
fn the_name_of_an_option_stays_with_its_description() {
    // Of the size at which a passage would end with the name, were it a paragraph like any other.
    let text = format!(
        "# Options\n\n{}\n\nslow_log\n\n{}\n",
        prose(150),
        prose(100)
    );
    let (document, drafts) = split_text("x.md", &text);
    let texts = texts(&document, &drafts);
    assert!(texts[1].starts_with("slow_log\n\nThe quick"), "{texts:?}");
}

#[test]
fn a_name_in_a_box_is_a_heading() {
    let option = |name: &str| {
        format!(
            "+----------+\n|{name}|Use: all|\n+----------+\n\n{}\n\n",
            prose(130)
        )
    };
    let text = format!(
        "2.1 Options\n-----------\n\n{}{}",
        option("slow"),
        option("fast")
    );
    let (_, drafts) = split_text("x.txt", &text);
    let headings: Vec<&[String]> = drafts.iter().map(|draft| &*draft.headings).collect();
    assert_eq!(
        headings,
        [
            ["2.1 Options", "slow, Use: all"],
            ["2.1 Options", "fast, Use: all"]
        ]
    );
}

#[test]
fn a_list_stays_with_what_announces_it() {
    let items = (0..12)
        .map(|n| format!("- item {n} is there for all to see it\n"))
        .collect::<String>();
    let text = format!("# Top\n\n{}\n\nThese are the items:\n\n{items}", prose(130));
    let (document, drafts) = split_text("x.md", &text);
    let texts = texts(&document, &drafts);
    assert!(
        texts
            .iter()
            .any(|text| text.starts_with("These are the items:\n\n- item 0")),
        "{texts:#?}"
    );
}

#[test]
fn tables_are_cut_at_their_rows_and_keep_the_names_of_columns() {
    let rows: String = (0..120)
        .map(|n| format!("| key{n} | some value here |\n"))
        .collect();
    let (document, drafts) = split_text("x.md", &format!("# T\n\n| k | v |\n|---|---|\n{rows}"));
    let texts = texts(&document, &drafts);
    assert!(texts.len() > 2);
    assert!(texts.iter().all(|text| text.ends_with('|')));
    assert_eq!(drafts[0].headings, ["T"]);
    assert!(
        drafts
            .iter()
            .skip(1)
            .all(|draft| draft.headings == ["T", "| k | v |"])
    );
    let small: String = (0..25)
        .map(|n| format!("| key{n} | some value here |\n"))
        .collect();
    let (_, drafts) = split_text("x.md", &format!("# T\n\n| k | v |\n|---|---|\n{small}"));
    assert_eq!(drafts.len(), 1, "a table below twice the size stays whole");
}

#[test]
fn a_heading_without_text_is_kept() {
    let (document, drafts) = split_text("x.md", "# One\n\nText.\n\n# Two\n");
    assert_eq!(texts(&document, &drafts), ["# One\n\nText.\n\n# Two"]);
    let (document, drafts) = split_text("x.md", "# One\n\n## Two\n");
    assert_eq!(texts(&document, &drafts).concat(), "# One\n\n## Two");
}

#[test]
fn a_passage_has_one_box_for_each_page() {
    let place = |page, bounds| Some(Place { page, bounds });
    let block = |range, place| Block {
        kind: BlockKind::Paragraph,
        range,
        place,
    };
    let document = Document {
        title: String::new(),
        text: "one\n\ntwo\n\nthree".to_owned(),
        blocks: vec![
            block(0..3, place(1, [0.1, 0.2, 0.5, 0.3])),
            block(5..8, place(1, [0.2, 0.4, 0.6, 0.5])),
            block(10..15, place(2, [0.1, 0.1, 0.2, 0.2])),
        ],
    };
    let drafts = split(&document, &SplitOptions::default());
    let places: Vec<Place> = [
        place(1, [0.1, 0.2, 0.6, 0.5]),
        place(2, [0.1, 0.1, 0.2, 0.2]),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert_eq!(drafts.len(), 1);
    assert_eq!(drafts[0].places, places);
}

fn any_markdown() -> impl Strategy<Value = String> {
    let part = "(#{1,4} [A-Za-z ]{1,20}|[A-Za-z .,]{1,300}|[A-Z][a-z ]{1,40}:|- [a-z ]{1,40}|    [a-z]{1,30}|\\| [a-z]{1,9} \\| [a-z]{1,9} \\|\n\\|--\\|--\\|\n(\\| [a-zé]{1,9} \\| [漢字かな]{1,40} \\|\n){1,40}|[a-z]{400,900}|(```\n([a-z ]{0,60}\n){1,30}```))";
    proptest::collection::vec(part, 1..30).prop_map(|parts| parts.join("\n\n"))
}

proptest! {
    #[test]
    fn passages_hold_every_block_once_and_in_order(text in any_markdown(), target in 5usize..60) {
        let Ok(document) = read_file(Path::new("x.md"), text.as_bytes()) else { return Ok(()) };
        let options = SplitOptions { target_words: target, most_words: target * 6 / 5 };
        let drafts = split(&document, &options);
        let mut end = 0;
        let mut covered = vec![false; document.text.len()];
        for draft in &drafts {
            prop_assert!(draft.range.start >= end && draft.range.end > draft.range.start);
            end = draft.range.end;
            prop_assert!(document.text.get(draft.range.clone()).is_some(), "a character is cut");
            covered[draft.range.clone()].fill(true);
        }
        for block in &document.blocks {
            let text = &document.text[block.range.clone()];
            let lost = text.char_indices().find(|(at, c)| !c.is_whitespace() && !covered[block.range.start + at]);
            prop_assert!(lost.is_none(), "{lost:?} of {text:?} is in no passage");
        }
    }

    #[test]
    fn passages_have_the_size_that_was_asked_for(text in any_markdown(), target in 20usize..60) {
        let Ok(document) = read_file(Path::new("x.md"), text.as_bytes()) else { return Ok(()) };
        let options = SplitOptions { target_words: target, most_words: target * 6 / 5 };
        for draft in split(&document, &options) {
            let inside = |block: &&Block| draft.range.start <= block.range.start && block.range.end <= draft.range.end;
            let blocks: Vec<&Block> = document.blocks.iter().filter(inside).collect();
            let headings = blocks.iter().filter(|block| heading_level(block).is_some());
            let of_headings: usize = headings.map(|block| units::words(&document.text[block.range.clone()])).sum();
            let words = units::words(&document.text[draft.range.clone()]);
            // Headings cannot be cut off, and one row or line may be that long by itself.
            prop_assert!(words <= of_headings + 2 * options.most_words + 2 * target, "{words} words");
        }
    }

    #[test]
    fn no_passage_ends_with_a_heading_that_has_text_below(text in any_markdown()) {
        let Ok(document) = read_file(Path::new("x.md"), text.as_bytes()) else { return Ok(()) };
        let drafts = split(&document, &SplitOptions { target_words: 20, most_words: 24 });
        let last_text = document.blocks.iter().rfind(|block| heading_level(block).is_none());
        let text_below = last_text.map_or(0, |block| block.range.start);
        for draft in drafts.iter().filter(|draft| draft.range.end <= text_below) {
            let last = document.blocks.iter().rfind(|block| block.range.start < draft.range.end);
            prop_assert!(last.is_none_or(|block| heading_level(block).is_none()), "{:?}", &document.text[draft.range.clone()]);
        }
    }
}
