//! Documents cut into passages: the pieces that are searched, shown to a model and cited.
//!
//! Passages follow the blocks of a document. A heading stays with what it heads, small blocks below one
//! heading are put together, and tables, code and long paragraphs are cut only at rows, lines and
//! sentences. Every block belongs to exactly one passage, or to several that follow each other.

use std::ops::Range;

use crate::document::{Block, BlockKind, Document, Place};
use crate::sentences::sentences;

/// How large passages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitOptions {
    /// Words at which a passage is full.
    pub target_words: usize,
    /// Words that a passage exceeds only when a single sentence, row or line does.
    pub most_words: usize,
}

impl Default for SplitOptions {
    fn default() -> SplitOptions {
        SplitOptions {
            target_words: 130,
            most_words: 200,
        }
    }
}

/// A passage before it has a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Where it stands in the document's text, in bytes.
    pub range: Range<usize>,
    /// The headings above it, outermost first.
    pub headings: Vec<String>,
    /// One place for each page that it touches.
    pub places: Vec<Place>,
}

/// Cuts a document.
pub fn split(document: &Document, options: &SplitOptions) -> Vec<Draft> {
    let mut splitter = Splitter {
        document,
        options,
        drafts: Vec::new(),
        open: None,
        path: Vec::new(),
    };
    for block in &document.blocks {
        splitter.block(block);
    }
    splitter.close();
    splitter.drafts
}

struct Splitter<'a> {
    document: &'a Document,
    options: &'a SplitOptions,
    drafts: Vec<Draft>,
    /// The passage being filled, and its words without headings.
    open: Option<(Draft, usize)>,
    /// The headings above, with their levels.
    path: Vec<(u8, String)>,
}

impl Splitter<'_> {
    fn block(&mut self, block: &Block) {
        if let BlockKind::Heading(level) = block.kind {
            return self.heading(block, level);
        }
        let words = self.words(&block.range);
        if words > self.options.most_words {
            return self.large(block);
        }
        let full = self.open.as_ref().is_some_and(|(_, have)| {
            *have > 0
                && (have + words > self.options.most_words || *have >= self.options.target_words)
        });
        // What a colon announces stays with it where there is room.
        let announced = self.announces()
            && self
                .open
                .as_ref()
                .is_some_and(|(_, have)| have + words <= self.options.most_words);
        if full && !announced {
            self.close();
        }
        self.add(block.range.clone(), block.place, words);
    }

    /// A heading ends the passage before it, unless that is but headings or a few words of a parent.
    fn heading(&mut self, block: &Block, level: u8) {
        let have = self.open.as_ref().map_or(0, |(_, have)| *have);
        if have > 0 {
            self.close();
        }
        self.path.retain(|(above, _)| *above < level);
        let text = self
            .document
            .text
            .get(block.range.clone())
            .unwrap_or_default();
        self.path.push((level, plain_heading(text)));
        self.add(block.range.clone(), block.place, 0);
        // The passage lies below this heading, also when a parent's heading opened it.
        let headings = self.headings();
        if let Some((draft, _)) = &mut self.open {
            draft.headings = headings;
        }
    }

    /// A block too long for one passage: cut at rows, lines or sentences.
    fn large(&mut self, block: &Block) {
        if self
            .open
            .as_ref()
            .is_some_and(|(_, have)| *have > self.options.target_words / 2)
        {
            self.close();
        }
        let text = self
            .document
            .text
            .get(block.range.clone())
            .unwrap_or_default();
        let units = match block.kind {
            BlockKind::Table | BlockKind::Code => lines(text),
            BlockKind::Heading(_) | BlockKind::Paragraph | BlockKind::ListItem => sentences(text),
        };
        for unit in units {
            let range = block.range.start + unit.start..block.range.start + unit.end;
            let words = self.words(&range);
            let have = self.open.as_ref().map_or(0, |(_, have)| *have);
            if have > 0 && have + words > self.options.target_words {
                self.close();
            }
            self.add(range, block.place, words);
        }
    }

    fn add(&mut self, range: Range<usize>, place: Option<Place>, words: usize) {
        let headings = self.headings();
        let (draft, have) = self.open.get_or_insert_with(|| {
            (
                Draft {
                    range: range.clone(),
                    headings,
                    places: Vec::new(),
                },
                0,
            )
        });
        draft.range.end = range.end;
        *have += words;
        let Some(place) = place else { return };
        match draft
            .places
            .iter_mut()
            .find(|known| known.page == place.page)
        {
            Some(known) => known.bounds = union(known.bounds, place.bounds),
            None => draft.places.push(place),
        }
    }

    fn close(&mut self) {
        if let Some((draft, _)) = self.open.take() {
            self.drafts.push(draft);
        }
    }

    fn headings(&self) -> Vec<String> {
        self.path
            .iter()
            .map(|(_, heading)| heading.clone())
            .collect()
    }

    /// Whether the open passage ends with a colon.
    fn announces(&self) -> bool {
        let text = self
            .open
            .as_ref()
            .and_then(|(draft, _)| self.document.text.get(draft.range.clone()));
        text.is_some_and(|text| text.trim_end().ends_with(':'))
    }

    fn words(&self, range: &Range<usize>) -> usize {
        self.document
            .text
            .get(range.clone())
            .map_or(0, |text| text.split_whitespace().count())
    }
}

/// The lines of a text that are not empty.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut offset = 0;
    let mut found = Vec::new();
    for line in text.split_inclusive('\n') {
        let end = offset + line.trim_end().len();
        if end > offset {
            found.push(offset..end);
        }
        offset += line.len();
    }
    found
}

/// A heading without its markup: `#` of Markdown, the adornment of reStructuredText.
fn plain_heading(text: &str) -> String {
    let line = text
        .lines()
        .find(|line| line.chars().any(char::is_alphanumeric))
        .unwrap_or_default();
    let line = line
        .trim()
        .trim_start_matches('#')
        .trim_end_matches('#')
        .trim();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn union(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
    [
        a[0].min(b[0]),
        a[1].min(b[1]),
        a[2].max(b[2]),
        a[3].max(b[3]),
    ]
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::read::read_file;

    fn drafts(markdown: &str) -> (Document, Vec<Draft>) {
        let document = read_file(Path::new("x.md"), markdown.as_bytes()).unwrap();
        let drafts = split(&document, &SplitOptions::default());
        (document, drafts)
    }

    #[test]
    fn a_heading_stays_with_what_it_heads() {
        let (document, drafts) = drafts("# Guide\n\n## Start\n\nDo this.\n\n## Stop\n\nDo that.\n");
        let texts: Vec<&str> = drafts
            .iter()
            .map(|draft| &document.text[draft.range.clone()])
            .collect();
        assert_eq!(
            texts,
            ["# Guide\n\n## Start\n\nDo this.", "## Stop\n\nDo that."]
        );
        assert_eq!(drafts[0].headings, ["Guide", "Start"]);
        assert_eq!(drafts[1].headings, ["Guide", "Stop"]);
    }

    #[test]
    fn a_table_too_long_is_cut_at_its_rows() {
        let rows: String = (0..120)
            .map(|n| format!("| key{n} | some value here |\n"))
            .collect();
        let (document, drafts) = drafts(&format!("# T\n\n| k | v |\n|---|---|\n{rows}"));
        assert!(drafts.len() > 2);
        for draft in &drafts {
            assert!(document.text[draft.range.clone()].ends_with('|'));
        }
    }

    proptest! {
        #[test]
        fn passages_hold_every_block_once_and_in_order(parts in proptest::collection::vec("(#{1,3} [A-Za-z ]{1,20}|[A-Za-z .,]{1,300}|- [a-z ]{1,40}|    [a-z]{1,30}|\\| [a-z]{1,9} \\| [a-z]{1,9} \\|)", 1..30)) {
            let Ok(document) = read_file(Path::new("x.md"), parts.join("\n\n").as_bytes()) else { return Ok(()) };
            let drafts = split(&document, &SplitOptions { target_words: 20, most_words: 30 });
            let mut end = 0;
            let mut held = String::new();
            for draft in &drafts {
                prop_assert!(draft.range.start >= end && draft.range.end > draft.range.start);
                end = draft.range.end;
                held.push_str(document.text.get(draft.range.clone()).unwrap());
            }
            let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            let held = solid(&held);
            let mut rest = held.as_str();
            for block in &document.blocks {
                let text = solid(document.text.get(block.range.clone()).unwrap());
                let at = rest.find(&text);
                prop_assert!(at.is_some(), "a block is missing");
                rest = &rest[at.unwrap() + text.len()..];
            }
        }
    }
}
