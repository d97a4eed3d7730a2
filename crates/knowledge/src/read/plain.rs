//! Plain text: paragraphs, and what its layout says about headings, lists, tables and code.
//!
//! Made for README files, RFCs, change logs and manuals as terminals show them. Page feet and heads of
//! paged text (RFCs) and tables of contents with leaders are no text.

use std::collections::HashMap;

use super::lines::{self, Line};
use crate::document::{Block, BlockKind, Document};

/// A heading has at most so many words.
const HEADING_WORDS: usize = 12;

/// The level of headings in a box: manuals set the names of options so, below all their sections.
const BOXED: u8 = 6;

/// Reads plain text.
pub(super) fn read(text: &str) -> Document {
    let all = lines::lines(text);
    let running = running_lines(&all);
    let runs = lines::runs(&all, |at, _| running.get(at).copied().unwrap_or(false));
    let mut reader = Reader {
        blocks: Vec::new(),
        body: body_indent(&all),
        adornments: Vec::new(),
    };
    for (at, run) in runs.iter().enumerate() {
        let next = runs
            .get(at + 1)
            .and_then(|next| next.first())
            .map(Line::indent);
        reader.run(run, next);
    }
    let blocks = reader.blocks;
    let title = title(text, &blocks);
    Document {
        title,
        text: text.to_owned(),
        blocks,
    }
}

/// The first line of a text that is a heading or short enough to be one.
fn title(text: &str, blocks: &[Block]) -> String {
    let first = blocks
        .first()
        .and_then(|block| text.get(block.range.clone()))
        .unwrap_or_default();
    let mut lines = first
        .lines()
        .map(str::trim)
        .filter(|line| !lines::is_adornment(line));
    let title = lines.next().unwrap_or_default();
    let is_heading = blocks
        .first()
        .is_some_and(|block| matches!(block.kind, BlockKind::Heading(_)));
    let is_short = lines.next().is_none()
        && title.split_whitespace().count() <= HEADING_WORDS
        && !title.ends_with(['.', ',', ';']);
    if is_heading || is_short {
        title.trim_end_matches(':').to_owned()
    } else {
        String::new()
    }
}

/// The indent that most lines have.
fn body_indent(lines: &[Line<'_>]) -> usize {
    let mut counts: HashMap<usize, usize> = HashMap::new();
    for line in lines.iter().filter(|line| line.bare().len() > 40) {
        *counts.entry(line.indent()).or_default() += 1;
    }
    counts
        .into_iter()
        .max_by_key(|(indent, count)| (*count, usize::MAX - indent))
        .map_or(0, |(indent, _)| indent)
}

/// Which lines are heads or feet of pages: those beside a form feed that come again, but for numbers.
fn running_lines(lines: &[Line<'_>]) -> Vec<bool> {
    let mut running = vec![false; lines.len()];
    let beside = |feed: usize| {
        let solid = |at: &usize| lines.get(*at).is_some_and(|line| !line.bare().is_empty());
        let above = (feed.saturating_sub(4)..feed).rev().find(solid);
        let below = (feed..lines.len().min(feed + 5)).find(solid);
        [above, below].into_iter().flatten()
    };
    let ends_page = |line: &Line<'_>| line.bare().ends_with(']') && line.bare().contains("[Page ");
    let begins_page = |at: &usize| {
        let before = at.checked_sub(1).and_then(|at| lines.get(at));
        lines
            .get(*at)
            .is_some_and(|line| line.text.contains('\u{c}'))
            || before.is_some_and(ends_page)
    };
    let feeds: Vec<usize> = (0..lines.len()).filter(begins_page).collect();
    let shape = |at: usize| {
        let bare = lines.get(at).map(Line::bare).unwrap_or_default();
        let words = bare.split_whitespace().map(|word| {
            if word.contains(|c: char| c.is_ascii_digit()) {
                "0"
            } else {
                word
            }
        });
        words.collect::<Vec<_>>().join(" ")
    };
    let mut counts: HashMap<String, usize> = HashMap::new();
    for at in feeds.iter().flat_map(|feed| beside(*feed)) {
        *counts.entry(shape(at)).or_default() += 1;
    }
    for at in feeds.iter().flat_map(|feed| beside(*feed)) {
        if counts.get(&shape(at)).is_some_and(|count| *count >= 2)
            && let Some(running) = running.get_mut(at)
        {
            *running = true;
        }
    }
    running
}

struct Reader {
    blocks: Vec<Block>,
    /// The indent of running text.
    body: usize,
    /// The marks under headings, in the order in which they appeared: that is their level.
    adornments: Vec<char>,
}

impl Reader {
    fn push(&mut self, kind: BlockKind, range: std::ops::Range<usize>) {
        if range.start < range.end {
            self.blocks.push(Block {
                kind,
                range,
                place: None,
            });
        }
    }

    /// Reads lines without an empty one among them; `next` is the indent of what follows.
    fn run(&mut self, run: &[Line<'_>], next: Option<usize>) {
        if is_contents(run) {
            return;
        }
        let (used, level) = match is_boxed(run) {
            true => (3, BOXED),
            false => self.heading(run, next),
        };
        if used > 0 {
            let (heading, rest) = run.split_at(used);
            self.push(BlockKind::Heading(level), lines::range(heading));
            if !rest.is_empty() {
                self.run(rest, next);
            }
            return;
        }
        if self.is_preformatted(run) {
            return self.push(BlockKind::Code, lines::full_range(run));
        }
        let Some(parts) = lines::items(run) else {
            return self.push(BlockKind::Paragraph, lines::range(run));
        };
        for part in parts {
            let is_item = part
                .first()
                .is_some_and(|line| lines::mark(line.text).is_some());
            self.push(
                if is_item {
                    BlockKind::ListItem
                } else {
                    BlockKind::Paragraph
                },
                lines::range(part),
            );
        }
    }

    /// How many lines at the start of a run are a heading, and its level.
    fn heading(&mut self, run: &[Line<'_>], next: Option<usize>) -> (usize, u8) {
        let bare = |at: usize| run.get(at).map(Line::bare).unwrap_or_default();
        let is_title = |text: &str| {
            !text.is_empty()
                && !lines::is_adornment(text)
                && text.split_whitespace().count() <= HEADING_WORDS
        };
        let overlined = lines::is_adornment(bare(0)) && is_title(bare(1)) && bare(2) == bare(0);
        let underlined = is_title(bare(0))
            && lines::is_adornment(bare(1))
            && bare(1).len() * 2 >= bare(0).len()
            && bare(1).len() > 2;
        if overlined || underlined {
            let mark = bare(if overlined { 0 } else { 1 })
                .chars()
                .next()
                .unwrap_or('=');
            let place = self
                .adornments
                .iter()
                .position(|known| *known == mark)
                .unwrap_or_else(|| {
                    self.adornments.push(mark);
                    self.adornments.len() - 1
                });
            let level = u8::try_from(place + 1).unwrap_or(6).min(6);
            return (if overlined { 3 } else { 2 }, level);
        }
        let Some(first) = run.first() else {
            return (0, 0);
        };
        let text = first.bare();
        if !is_title(text)
            || text.ends_with(['.', ',', ';'])
            || !text.chars().any(char::is_alphabetic)
            || is_columns(text)
        {
            return (0, 0);
        }
        let follow = run.get(1).map(Line::indent);
        let alone = run.len() == 1;
        if let Some(depth) = numbered(text)
            && (alone || follow > Some(first.indent() + 1))
            && first.indent() <= self.body
        {
            return (1, u8::try_from(depth + 1).unwrap_or(6).min(6));
        }
        let outdented = first.indent() < self.body.max(1)
            && follow
                .or(next)
                .is_some_and(|indent| indent > first.indent() + 1);
        let shouted = text.chars().filter(|c| c.is_alphabetic()).count() > 2
            && !text.chars().any(char::is_lowercase);
        let is_heading = match alone {
            true => {
                (shouted && first.indent() <= self.body)
                    || (outdented && self.body > 1 && lines::mark(text).is_none())
            }
            false => {
                shouted
                    && outdented
                    && run
                        .iter()
                        .skip(1)
                        .all(|line| line.indent() > first.indent() + 1)
            }
        };
        (usize::from(is_heading && !text.ends_with(':')), 2)
    }

    /// Whether the columns of the lines matter: code, and tables set with spaces.
    fn is_preformatted(&self, run: &[Line<'_>]) -> bool {
        let least = run.iter().map(Line::indent).min().unwrap_or(0);
        let aligned = run.iter().filter(|line| is_columns(line.bare())).count();
        let drawn = run
            .iter()
            .filter(|line| line.bare().starts_with(['|', '+', '╔', '║', '┌', '│', '├']))
            .count();
        let wide = run.iter().filter(|line| line.bare().len() > 45).count();
        let is_set_in = least >= self.body + 4
            && lines::mark(run.first().map(Line::bare).unwrap_or_default()).is_none();
        let is_code = is_set_in
            && (wide * 2 <= run.len() || run.iter().any(|line| is_code_like(line.bare())));
        is_code || (run.len() > 1 && aligned * 3 >= run.len() * 2) || drawn * 2 > run.len()
    }
}

/// Whether lines begin with a box that has one line in it.
fn is_boxed(run: &[Line<'_>]) -> bool {
    let [above, text, below, ..] = run else {
        return false;
    };
    let (edge, text) = (above.bare(), text.bare());
    edge == below.bare()
        && edge.len() > 4
        && edge.starts_with('+')
        && edge.ends_with('+')
        && edge.chars().all(|c| ['+', '-', '='].contains(&c))
        && text.starts_with('|')
        && text.ends_with('|')
        && text.chars().any(char::is_alphanumeric)
}

/// Whether a line has columns: three spaces or a tab between words.
fn is_columns(bare: &str) -> bool {
    bare.contains("   ") || bare.contains('\t')
}

fn is_code_like(bare: &str) -> bool {
    bare.starts_with(['$', '#', '%', '>', '<', '{', '}', '/'])
        || bare.ends_with([';', '{', '}', '\\'])
        || bare.contains("()")
        || bare.contains(" = ")
}

/// How many numbers a heading like `3.2 Setting up` has.
fn numbered(line: &str) -> Option<usize> {
    let (number, rest) = line.split_once([' ', '\t'])?;
    let appendix = number.len() == 2
        && number.ends_with('.')
        && number.starts_with(|c: char| c.is_ascii_uppercase());
    let number = number.trim_end_matches('.');
    let parts: Vec<&str> = number.split('.').collect();
    let digits = parts.iter().all(|part| {
        (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    });
    let rest = rest.trim_start();
    let is_title =
        rest.starts_with(char::is_uppercase) && !rest.ends_with([':', '.', ',', ';', '!', '?']);
    ((digits || appendix) && is_title).then_some(parts.len())
}

/// Whether lines are a table of contents: most end in a page number after leaders.
fn is_contents(run: &[Line<'_>]) -> bool {
    let leads = |line: &&Line<'_>| {
        let bare = line.bare();
        (bare.contains("....") || bare.contains(". . ."))
            && bare.ends_with(|c: char| c.is_ascii_digit())
    };
    run.len() > 1 && run.iter().filter(leads).count() * 5 >= run.len() * 3
}
