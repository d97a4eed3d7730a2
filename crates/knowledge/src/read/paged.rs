//! PDF files with a text layer.
//!
//! A paragraph that goes on over a page break stays two blocks, each with the box on its page, but
//! nothing except the space of the sentence stands between them.

use super::ReadOptions;
use super::builder::{Builder, Gap};
use super::error::Problem;
use crate::document::{BlockKind, Document, Place};

/// What programs write where the author gave no title.
const NO_TITLES: &[&str] = &[
    "untitled",
    "microsoft word",
    "powerpoint presentation",
    "document",
    "title",
    "no title",
];

/// Reads a PDF; running heads and feet are left out.
pub(super) fn read(bytes: &[u8], options: &ReadOptions) -> Result<Document, Problem> {
    let max_bytes = usize::try_from(options.max_bytes).unwrap_or(usize::MAX);
    let options = pdf::Options {
        max_bytes,
        ..pdf::Options::default()
    };
    let read = pdf::read(bytes, &options).map_err(problem)?;
    let blocks: Vec<Found> = read.pages.iter().flat_map(found).collect();
    let contents = contents(&blocks);
    let mut builder = Builder::default();
    let mut first_heading = String::new();
    let mut before: Option<&Found> = None;
    for (block, _) in blocks
        .iter()
        .zip(contents)
        .filter(|(_, is_contents)| !is_contents)
    {
        let gap = before.map_or(Gap::Paragraph, |before| before.gap(block));
        builder.push(block.kind, &block.text, Some(block.place), gap);
        if first_heading.is_empty() && matches!(block.kind, BlockKind::Heading(_)) {
            first_heading = block.text.replace('\n', " ");
        }
        before = Some(block);
    }
    let title = read
        .title
        .filter(|title| is_title(title))
        .unwrap_or(first_heading);
    Ok(builder.finish(title))
}

/// Headings of tables of contents.
const CONTENTS: &[&str] = &[
    "contents",
    "table of contents",
    "list of tables",
    "list of figures",
    "list of examples",
    "inhaltsverzeichnis",
];
/// An entry of a table of contents without leaders is not longer than this, in bytes.
const LONGEST_ENTRY: usize = 120;

/// Which blocks are tables of contents: most of their lines end in a page number after leaders. Entries
/// for chapters have no leaders, so short blocks that end in a number beside the others are taken too.
fn contents(blocks: &[Found]) -> Vec<bool> {
    let leads =
        |line: &&str| (line.contains("...") || line.contains(". . .")) && ends_in_number(line);
    let has_leaders = |text: &str| text.lines().filter(leads).count() * 2 > text.lines().count();
    let mut found: Vec<bool> = blocks
        .iter()
        .map(|block| has_leaders(&block.text))
        .collect();
    let is_entry = |block: &Found| block.text.len() < LONGEST_ENTRY && ends_in_number(&block.text);
    let names = |block: &Found| CONTENTS.contains(&block.text.trim().to_lowercase().as_str());
    for at in 1..blocks.len() {
        if found.get(at - 1) == Some(&true)
            && blocks.get(at).is_some_and(is_entry)
            && let Some(here) = found.get_mut(at)
        {
            *here = true;
        }
    }
    for at in (1..blocks.len()).rev() {
        if found.get(at) == Some(&true)
            && blocks
                .get(at - 1)
                .is_some_and(|block| is_entry(block) || names(block))
            && let Some(here) = found.get_mut(at - 1)
        {
            *here = true;
        }
    }
    found
}

fn ends_in_number(line: &str) -> bool {
    line.trim_end().ends_with(|c: char| c.is_ascii_digit())
}

fn problem(error: pdf::Error) -> Problem {
    match error {
        pdf::Error::Encrypted { reason } => Problem::Encrypted(reason.to_owned()),
        pdf::Error::NoText { .. } => Problem::NoText,
        pdf::Error::TooLarge {
            limit,
            unit: "bytes",
            ..
        } => Problem::TooLarge {
            limit: limit as u64,
        },
        pdf::Error::TooLarge {
            actual,
            limit,
            unit,
        } => Problem::Broken(format!(
            "it has {actual} {unit}, more than the {limit} that are read"
        )),
        pdf::Error::NotPdf => Problem::Broken("it does not begin like a PDF file".to_owned()),
        pdf::Error::Broken { reason } => Problem::Broken(reason),
    }
}

fn kind(kind: pdf::Kind) -> BlockKind {
    match kind {
        pdf::Kind::Heading(level) => BlockKind::Heading(level),
        pdf::Kind::ListItem => BlockKind::ListItem,
        pdf::Kind::Table => BlockKind::Table,
        pdf::Kind::Code => BlockKind::Code,
        pdf::Kind::Paragraph | pdf::Kind::Boilerplate => BlockKind::Paragraph,
    }
}

/// A block of a page.
struct Found {
    kind: BlockKind,
    text: String,
    place: Place,
    /// How its last line ends.
    end: pdf::LineEnd,
}

/// The blocks of a page that are text.
fn found(page: &pdf::Page) -> impl Iterator<Item = Found> + '_ {
    let blocks = page
        .blocks
        .iter()
        .filter(|block| block.kind != pdf::Kind::Boilerplate);
    blocks.map(|block| Found {
        kind: kind(block.kind),
        text: block.text(),
        place: Place {
            page: page.number,
            bounds: block.bounds,
        },
        end: block.lines.last().map(|line| line.end).unwrap_or_default(),
    })
}

impl Found {
    /// What stands between this block and the next one.
    fn gap(&self, next: &Found) -> Gap {
        let both = |wanted| self.kind == wanted && next.kind == wanted;
        let turns = next.place.page == self.place.page + 1;
        let flows = matches!(self.kind, BlockKind::Paragraph | BlockKind::ListItem)
            && next.kind == BlockKind::Paragraph;
        if turns && flows && self.is_open(&next.text) {
            return match self.end {
                pdf::LineEnd::Hyphenated | pdf::LineEnd::Joined => Gap::None,
                pdf::LineEnd::Space => Gap::Space,
            };
        }
        let goes_on = turns && (both(BlockKind::Code) || both(BlockKind::Table));
        if goes_on || both(BlockKind::ListItem) {
            Gap::Line
        } else {
            Gap::Paragraph
        }
    }

    /// Whether its last sentence goes on in `next`.
    fn is_open(&self, next: &str) -> bool {
        let text = self.text.trim_end();
        let ended = text.ends_with(['.', '!', '?', ':', '”', '"', ')', ';']);
        let goes_on = next
            .trim_start()
            .starts_with(|c: char| c.is_lowercase() || c.is_ascii_digit() || "(“\"".contains(c));
        self.end != pdf::LineEnd::Space || (!ended && (goes_on || text.ends_with(',')))
    }
}

/// Whether what a PDF gives as its title is one.
fn is_title(title: &str) -> bool {
    let lower = title.trim().to_lowercase();
    let is_file = [
        ".dvi", ".tex", ".doc", ".docx", ".odt", ".indd", ".ps", ".pdf", ".ppt", ".pptx", ".qxd",
        ".fm",
    ]
    .iter()
    .any(|ending| lower.ends_with(ending));
    let is_empty = !lower.chars().any(char::is_alphabetic);
    !is_file
        && !is_empty
        && NO_TITLES
            .iter()
            .all(|none| lower != *none && !lower.starts_with("microsoft word"))
}
