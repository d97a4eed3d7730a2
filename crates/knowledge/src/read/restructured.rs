//! reStructuredText: the file's own text; comments, targets and directives without text are no blocks.
//!
//! Read line by line after the specification of docutils; roles and other inline markup stay as they
//! are, for the text is the file's own.

use std::ops::Range;

use super::lines::{self, Line};
use crate::document::{Block, BlockKind, Document};

/// Directives that show no text of their own.
const SILENT: &[&str] = &[
    "toctree",
    "image",
    "figure",
    "index",
    "contents",
    "highlight",
    "currentmodule",
    "module",
    "py:module",
    "py:currentmodule",
    "meta",
    "raw",
    "sectionauthor",
    "moduleauthor",
    "codeauthor",
    "default-domain",
    "include",
    "literalinclude",
    "tabularcolumns",
    "role",
    "default-role",
    "automodule",
    "autoclass",
    "autofunction",
    "sectnum",
    "header",
    "footer",
    "graphviz",
    "program",
    "auto",
    "bibliography",
    "class",
    "target-notes",
    "container-options",
];
/// Directives whose content is shown as it stands.
const CODE: &[&str] = &[
    "code-block",
    "code",
    "sourcecode",
    "parsed-literal",
    "doctest",
    "testcode",
    "testoutput",
    "prompt",
    "math",
    "productionlist",
    "ipython",
    "console",
    "literal",
];

/// Reads reStructuredText.
pub(super) fn read(text: &str) -> Document {
    let all = lines::lines(text);
    let mut reader = Reader {
        text,
        ..Reader::default()
    };
    for run in lines::runs(&all, |_, _| false) {
        reader.run(run);
    }
    Document {
        title: reader.title,
        text: text.to_owned(),
        blocks: reader.blocks,
    }
}

/// What holds for lines that are set in deeper than a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// They are left out.
    Silent(usize),
    /// They stand as they are.
    Code(usize),
}

#[derive(Default)]
struct Reader<'a> {
    text: &'a str,
    blocks: Vec<Block>,
    title: String,
    inside: Option<Inside>,
    /// The adornments of headings in the order in which they appeared; the specification makes that
    /// their level.
    adornments: Vec<(char, bool)>,
}

impl Reader<'_> {
    fn push(&mut self, kind: BlockKind, range: Range<usize>) {
        if range.start < range.end {
            self.blocks.push(Block {
                kind,
                range,
                place: None,
            });
        }
    }

    fn run(&mut self, run: &[Line<'_>]) {
        let Some(first) = run.first() else { return };
        match self.inside {
            Some(Inside::Silent(column)) if first.indent() > column => return,
            Some(Inside::Code(column)) if first.indent() > column => {
                let body = run.iter().take_while(|line| line.indent() > column).count();
                let (code, rest) = run.split_at(body);
                self.push(BlockKind::Code, lines::full_range(code));
                return self.run(rest);
            }
            _ => self.inside = None,
        }
        if let Some(used) = self.heading(run) {
            return self.run(run.get(used..).unwrap_or_default());
        }
        if first.bare() == ".."
            || first.bare().starts_with(".. ")
            || first.bare().starts_with("__ ")
        {
            return self.explicit(run);
        }
        self.text_run(run);
    }

    /// Takes a heading with its adornment; how many lines it has.
    fn heading(&mut self, run: &[Line<'_>]) -> Option<usize> {
        let line = |at: usize| {
            run.get(at)
                .map(|line| line.text.trim_end())
                .unwrap_or_default()
        };
        let fits = |name: &str, mark: &str| {
            lines::is_adornment(mark) && mark.chars().count() + 2 >= name.trim().chars().count()
        };
        let over = fits(line(1), line(0))
            && line(2) == line(0)
            && !line(1).is_empty()
            && !lines::is_adornment(line(1));
        let under = !over
            && fits(line(0), line(1))
            && !line(0).starts_with(' ')
            && !lines::is_adornment(line(0))
            && line(1).len() > 1;
        if !over && !under {
            return None;
        }
        let mark = line(if over { 0 } else { 1 }).chars().next().unwrap_or('=');
        let used = if over { 3 } else { 2 };
        let level = self
            .adornments
            .iter()
            .position(|known| *known == (mark, over))
            .unwrap_or_else(|| {
                self.adornments.push((mark, over));
                self.adornments.len() - 1
            });
        let name = line(usize::from(over)).trim();
        if self.title.is_empty() {
            self.title = name.to_owned();
        }
        let range = run.get(..used).map(lines::range).unwrap_or_default();
        self.push(
            BlockKind::Heading(u8::try_from(level + 1).unwrap_or(6).min(6)),
            range,
        );
        Some(used)
    }

    /// Takes what begins with two dots: directives, comments, targets, footnotes, substitutions.
    fn explicit(&mut self, run: &[Line<'_>]) {
        let Some((first, rest)) = run.split_first() else {
            return;
        };
        let column = first.indent();
        let body = rest
            .iter()
            .take_while(|line| line.indent() > column)
            .count();
        let (body, after) = rest.split_at(body);
        let content = first.bare().trim_start_matches('.').trim_start();
        let start = first.range().end - content.len();
        let end = body
            .last()
            .map_or(first.range().end, |line| line.range().end);
        let directive = content.split_once("::").filter(|(name, _)| is_name(name));
        self.inside = None;
        match directive {
            None if content.starts_with('[') => self.push(BlockKind::Paragraph, start..end),
            None => self.inside = Some(Inside::Silent(column)),
            Some((name, _)) if SILENT.contains(&name) => self.inside = Some(Inside::Silent(column)),
            Some((name, _)) if CODE.contains(&name) => {
                self.push(
                    BlockKind::Code,
                    without_options(body)
                        .map(lines::full_range)
                        .unwrap_or_default(),
                );
                self.inside = Some(Inside::Code(column));
            }
            Some((name, argument)) => self.directive(name, argument.trim(), first, body),
        }
        self.run(after);
    }

    /// A directive with text: a note, a version, the description of a function.
    fn directive(&mut self, name: &str, argument: &str, first: &Line<'_>, body: &[Line<'_>]) {
        let end = first.range().end;
        if name.starts_with("version") || name == "deprecated" {
            let start = first.text.find(name).map_or(end, |at| first.start + at);
            let end = body.last().map_or(end, |line| line.range().end);
            return self.push(BlockKind::Paragraph, start..end);
        }
        let body = without_options(body).unwrap_or_default();
        let start = end - argument.len();
        if is_note(name) {
            // The note may also stand below, after an empty line; then it is read like all text.
            let body = lines::range(body);
            return match (argument.is_empty(), body.is_empty()) {
                (true, _) => self.push(BlockKind::Paragraph, body),
                (false, true) => self.push(BlockKind::Paragraph, start..end),
                (false, false) => self.push(BlockKind::Paragraph, start..body.end),
            };
        }
        self.push(BlockKind::ListItem, start..end);
        self.run(body);
    }

    /// Paragraphs, lists, tables.
    fn text_run(&mut self, run: &[Line<'_>]) {
        let Some(first) = run.first() else { return };
        let range = lines::range(run);
        let text = self.text.get(range.clone()).unwrap_or_default();
        if text.ends_with("::") {
            self.inside = Some(Inside::Code(first.indent()));
        }
        let is_border = |line: &&Line<'_>| {
            let bare = line.bare();
            bare.len() > 2
                && bare
                    .chars()
                    .all(|c| matches!(c, '+' | '-' | '=' | '|' | ' '))
                && bare.contains(['-', '='])
        };
        if text == "::" || run.iter().all(|line| is_border(&line)) && run.len() == 1 {
            return;
        }
        if run.iter().filter(is_border).count() >= 2 {
            return self.push(BlockKind::Table, lines::full_range(run));
        }
        if first.bare().starts_with(">>>") {
            return self.push(BlockKind::Code, lines::full_range(run));
        }
        if is_field(first.bare()) {
            return self.fields(run);
        }
        if let Some(parts) = lines::items(run) {
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
            return;
        }
        let is_definition = run.len() > 1
            && run
                .iter()
                .skip(1)
                .all(|line| line.indent() > first.indent());
        self.push(
            if is_definition {
                BlockKind::ListItem
            } else {
                BlockKind::Paragraph
            },
            range,
        );
    }

    /// A list of `:name: value` lines; that before all else is about the file.
    fn fields(&mut self, run: &[Line<'_>]) {
        if self.blocks.is_empty() {
            return;
        }
        let column = run.first().map(Line::indent).unwrap_or_default();
        let starts: Vec<usize> = run
            .iter()
            .enumerate()
            .filter(|(_, line)| line.indent() == column && is_field(line.bare()))
            .map(|(at, _)| at)
            .collect();
        let ends = starts
            .iter()
            .skip(1)
            .copied()
            .chain(std::iter::once(run.len()));
        for (start, end) in starts.iter().copied().zip(ends) {
            self.push(
                BlockKind::ListItem,
                run.get(start..end).map(lines::range).unwrap_or_default(),
            );
        }
    }
}

/// The lines of a directive after its options.
fn without_options<'a, 'b>(body: &'b [Line<'a>]) -> Option<&'b [Line<'a>]> {
    let options = body.iter().take_while(|line| is_field(line.bare())).count();
    body.get(options..).filter(|body| !body.is_empty())
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ':' | '+' | '.'))
}

fn is_field(line: &str) -> bool {
    let name = line.strip_prefix(':').and_then(|rest| rest.split_once(':'));
    name.is_some_and(|(name, rest)| {
        !name.is_empty() && !name.starts_with(' ') && (rest.is_empty() || rest.starts_with(' '))
    })
}

fn is_note(name: &str) -> bool {
    matches!(
        name,
        "note"
            | "warning"
            | "tip"
            | "hint"
            | "important"
            | "caution"
            | "danger"
            | "attention"
            | "error"
            | "admonition"
            | "seealso"
            | "topic"
            | "sidebar"
            | "epigraph"
            | "highlights"
            | "pull-quote"
            | "compound"
            | "container"
            | "rubric"
            | "centered"
            | "only"
            | "impl-detail"
            | "table"
            | "csv-table"
            | "list-table"
            | "availability"
            | "hlist"
            | "todo"
            | "tab"
    )
}
