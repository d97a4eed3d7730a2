//! The walk over the tree of a page, which gives its pieces: what will be blocks.

use super::surroundings::{Strictness, is_surrounding};
use super::tables;
use super::tree::{Id, Tree};
use crate::document::BlockKind;
use crate::marks;

/// Headings longer than this, in bytes, are text that is set like a heading.
const LONGEST_HEADING: usize = 300;

/// What links from a place to itself look like.
const PERMALINKS: &[&str] = &["¶", "#", "§", "\u{f0c1}", "🔗"];

/// Cells of layout with at most so many letters hold a number or a name.
const SMALL_CELL: u32 = 10;
/// The classes of notes set off from the text.
const NOTES: &[&str] = &[
    "note",
    "tip",
    "warning",
    "caution",
    "important",
    "hint",
    "danger",
    "attention",
    "admonition",
    "alert",
    "callout",
];

/// What will be a block, if it is not navigation.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) kind: BlockKind,
    pub(super) text: String,
    /// How much of it leads elsewhere.
    pub(super) links: Links,
    /// The list of definitions whose term it is, as a place in [`Walked::definitions`].
    pub(super) term_of: Option<usize>,
}

/// How much of a piece leads elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    /// Links.
    pub(super) count: u32,
    /// Links to other places of the same page.
    pub(super) inside: u32,
    /// Links to other sites.
    pub(super) outside: u32,
    /// Letters and digits that are the text of a link.
    pub(super) linked: u32,
    /// Letters and digits.
    pub(super) letters: u32,
}

/// Pieces, and which of them are lists of definitions.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) pieces: Vec<Piece>,
    /// From which piece up to which, outer lists before inner ones.
    pub(super) definitions: Vec<std::ops::Range<usize>>,
}

/// Walks a page.
pub(super) fn walk(tree: &Tree, strictness: Strictness) -> Walked {
    let body = tree.find("body").unwrap_or_else(|| tree.root());
    let page = tree.measure(body).letters;
    let is_main = |id: &Id| {
        let named = tree.name(*id) == "main" || tree.attribute(*id, "role") == Some("main");
        named && tree.measure(*id).letters * 5 >= page * 2
    };
    let top = tree.descendants(body).find(is_main).unwrap_or(body);
    let mut walker = Walker {
        tree,
        strictness,
        page,
        walked: Walked::default(),
        line: Line::default(),
        item: None,
        lists: 0,
        open: Vec::new(),
    };
    walker.children(top);
    walker.flush(BlockKind::Paragraph);
    walker.walked
}

struct Walker<'a> {
    tree: &'a Tree,
    strictness: Strictness,
    /// Letters of the whole page.
    page: u32,
    walked: Walked,
    line: Line,
    /// What has begun and has no text yet: an item with its mark, a note with its name.
    item: Option<(BlockKind, String)>,
    /// How many lists are around.
    lists: usize,
    /// The lists of definitions around.
    open: Vec<usize>,
}

/// The text being collected, white space folded.
#[derive(Default)]
struct Line {
    text: String,
    links: Links,
    in_link: bool,
}

impl Walker<'_> {
    fn children(&mut self, id: Id) {
        for child in self.tree.children(id) {
            self.visit(child);
        }
    }

    fn visit(&mut self, id: Id) {
        if let Some(text) = self.tree.text(id) {
            return self.line.push(text);
        }
        if is_surrounding(self.tree, id, self.page, self.strictness) {
            // The file has words there that are not read, so no quote may go over them.
            if !self.line.text.trim().is_empty() {
                let words = self.tree.raw_text(id);
                let is_hidden = self.tree.attribute(id, "aria-hidden") == Some("true");
                let is_hidden = is_hidden && !words.trim().is_empty();
                if is_hidden || PERMALINKS.contains(&words.trim()) {
                    self.line.text.push(marks::PERMALINK);
                }
            }
            return;
        }
        match self.tree.name(id) {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.heading(id),
            "pre" | "listing" | "xmp" => self.code(id),
            "table" => self.table(id),
            "dl" => self.definitions(id),
            "ul" | "ol" | "dir" => self.list(id),
            "li" => self.list_item(id),
            "dt" => self.term(id),
            "br" => self.line_break(),
            "a" => self.link(id),
            "sup" => self.superscript(id),
            "img" => self.picture(id),
            "q" => {
                self.line.push("“");
                self.children(id);
                self.line.push("”");
            }
            "div" if self.is_page_title(id) => self.heading(id),
            // A table that is met here holds no data, so a small cell is the number or name of the next.
            "td" | "th" if (1..=SMALL_CELL).contains(&self.tree.measure(id).letters) => {
                self.small_cell(id)
            }
            name if is_block(name) => {
                self.flush(BlockKind::Paragraph);
                self.children(id);
                self.flush(BlockKind::Paragraph);
            }
            _ => self.children(id),
        }
    }

    /// Doxygen sets the title of a page in a `div`.
    fn is_page_title(&self, id: Id) -> bool {
        let inside = |parent| self.tree.has_class(parent, "headertitle");
        self.tree.has_class(id, "title") && self.tree.parent(id).is_some_and(inside)
    }

    fn heading(&mut self, id: Id) {
        self.flush(BlockKind::Paragraph);
        self.item = None;
        self.children(id);
        let level = match self.tree.name(id).as_bytes() {
            [b'h', digit @ b'1'..=b'6'] => digit - b'0',
            _ => 1,
        };
        let folded = self.line.text.replace('\n', " ");
        self.line.text = folded
            .trim_end_matches(['#', '§', '\u{f0c1}', ' '])
            .to_owned();
        if self.is_in_note(id) {
            let line = std::mem::take(&mut self.line);
            let mark = format!("{} {} ", line.text.trim(), marks::PART);
            self.item = Some((BlockKind::Paragraph, mark));
            return;
        }
        let is_text = self.line.text.len() > LONGEST_HEADING;
        self.flush(if is_text {
            BlockKind::Paragraph
        } else {
            BlockKind::Heading(level)
        });
    }

    /// Notes have titles like "Note" or "Warning", which head nothing but them.
    fn is_in_note(&self, id: Id) -> bool {
        let above = std::iter::successors(self.tree.parent(id), |id| self.tree.parent(*id)).take(2);
        let class = |id: Id| {
            self.tree
                .attribute(id, "class")
                .unwrap_or_default()
                .to_ascii_lowercase()
        };
        above.into_iter().any(|id| {
            class(id)
                .split_ascii_whitespace()
                .any(|word| NOTES.contains(&word))
        })
    }

    fn code(&mut self, id: Id) {
        self.flush(BlockKind::Paragraph);
        self.item = None;
        let mut text = String::new();
        self.preformatted(id, &mut text);
        let measure = self.tree.measure(id);
        let links = Links {
            count: measure.links,
            linked: measure.linked,
            letters: measure.letters,
            ..Links::default()
        };
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        self.push(
            BlockKind::Code,
            lines.join("\n").trim_matches('\n').to_owned(),
            links,
        );
    }

    /// The text of preformatted elements, line breaks kept.
    fn preformatted(&self, id: Id, text: &mut String) {
        for child in self.tree.children(id) {
            match self.tree.text(child) {
                Some(part) => {
                    text.extend(part.chars().filter(|c| !is_dropped(*c)).map(plain_space))
                }
                None if is_surrounding(self.tree, child, self.page, self.strictness) => {}
                None if self.tree.name(child) == "br" => text.push('\n'),
                None => self.preformatted(child, text),
            }
        }
    }

    fn table(&mut self, id: Id) {
        self.flush(BlockKind::Paragraph);
        if self.tree.has_class(id, "memname") {
            // A signature, set in cells by doxygen.
            let text = tables::folded(self.tree, id);
            return self.push(BlockKind::Code, text, Links::default());
        }
        if !tables::is_data(self.tree, id) {
            self.children(id);
            return self.flush(BlockKind::Paragraph);
        }
        self.item = None;
        let skipped = |id| is_surrounding(self.tree, id, self.page, self.strictness);
        let (caption, rows) = tables::rows(self.tree, id, &skipped);
        let measure = self.tree.measure(id);
        let links = Links {
            count: measure.links,
            linked: measure.linked,
            letters: measure.letters,
            ..Links::default()
        };
        self.push(BlockKind::Paragraph, caption, Links::default());
        self.push(BlockKind::Table, rows, links);
    }

    fn small_cell(&mut self, id: Id) {
        self.flush(BlockKind::Paragraph);
        self.children(id);
        let line = std::mem::take(&mut self.line);
        let text = line.text.trim();
        let is_last = self.tree.next_element(id).is_none()
            && self
                .tree
                .parent(id)
                .is_none_or(|row| self.tree.next_element(row).is_none());
        if is_last || line.links.count > 0 {
            self.line = line;
            return self.flush(BlockKind::Paragraph);
        }
        if !text.is_empty() {
            let mut begun = format!("{text} ");
            if text.ends_with(|c: char| c.is_alphanumeric()) {
                begun.extend([marks::PART, ' ']);
            }
            self.item = Some((BlockKind::Paragraph, begun));
        }
    }

    fn definitions(&mut self, id: Id) {
        self.flush(BlockKind::Paragraph);
        let at = self.walked.definitions.len();
        self.open.push(at);
        self.walked.definitions.push(self.walked.pieces.len()..0);
        self.children(id);
        self.flush(BlockKind::Paragraph);
        self.open.pop();
        let end = self.walked.pieces.len();
        if let Some(list) = self.walked.definitions.get_mut(at) {
            list.end = end;
        }
    }

    fn term(&mut self, id: Id) {
        self.flush(BlockKind::Paragraph);
        let before = self.walked.pieces.len();
        self.children(id);
        self.flush(BlockKind::ListItem);
        if let Some(term) = self
            .walked
            .pieces
            .get_mut(before)
            .filter(|term| term.kind == BlockKind::ListItem)
        {
            term.term_of = self.open.last().copied();
        }
    }

    fn list(&mut self, id: Id) {
        self.flush(BlockKind::Paragraph);
        self.lists += 1;
        self.children(id);
        self.flush(BlockKind::Paragraph);
        self.lists -= 1;
    }

    fn list_item(&mut self, id: Id) {
        self.flush(BlockKind::Paragraph);
        let indent = "  ".repeat(self.lists.saturating_sub(1).min(6));
        let mark = format!("{indent}{} ", marks::ITEM);
        self.item = Some((BlockKind::ListItem, mark));
        self.children(id);
        self.flush(BlockKind::Paragraph);
        self.item = None;
    }

    /// One line break goes on in the paragraph, two end it.
    fn line_break(&mut self) {
        if self.line.text.ends_with('\n') {
            return self.flush(BlockKind::Paragraph);
        }
        let length = self.line.text.trim_end().len();
        self.line.text.truncate(length);
        if length > 0 {
            self.line.text.push('\n');
        }
    }

    fn link(&mut self, id: Id) {
        let Some(target) = self.tree.attribute(id, "href") else {
            return self.children(id);
        };
        let is_mark = self.tree.measure(id).letters <= 2
            && !self.tree.raw_text(id).chars().any(char::is_alphanumeric);
        if is_mark {
            if PERMALINKS.contains(&self.tree.raw_text(id).trim()) {
                self.line.text.push(marks::PERMALINK);
            }
            return;
        }
        self.line.links.count += 1;
        self.line.links.inside += u32::from(target.starts_with('#'));
        self.line.links.outside += u32::from(target.contains("://"));
        let outer = std::mem::replace(&mut self.line.in_link, true);
        self.children(id);
        self.line.in_link = outer;
    }

    /// Powers get their mark, because 2³¹ is not 231.
    fn superscript(&mut self, id: Id) {
        let inner = self.tree.raw_text(id);
        let inner = inner.trim();
        let is_number = !inner.is_empty()
            && inner
                .chars()
                .all(|c| c.is_ascii_digit() || matches!(c, '-' | '−' | '+'));
        let after_number = self
            .line
            .text
            .ends_with(|c: char| c.is_ascii_digit() || c == ')');
        if is_number && after_number && self.tree.measure(id).links == 0 {
            self.line.push("^");
        }
        self.children(id);
    }

    /// Formulas that are set as pictures have their source as alternative text.
    fn picture(&mut self, id: Id) {
        let text = self.tree.attribute(id, "alt").unwrap_or_default();
        if text.contains(['$', '\\']) {
            self.line.push(text);
        }
    }

    /// Ends the piece being collected.
    fn flush(&mut self, kind: BlockKind) {
        let line = std::mem::take(&mut self.line);
        let text = line.text.trim();
        self.line.in_link = line.in_link;
        if marks::without(text).is_empty() {
            return;
        }
        let (kind, text) = match (kind, self.item.take()) {
            (BlockKind::Paragraph, Some((kind, mark))) => (kind, mark + text),
            (kind, _) => (kind, text.to_owned()),
        };
        self.push(kind, text, line.links);
    }

    fn push(&mut self, kind: BlockKind, text: String, links: Links) {
        if !text.trim().is_empty() {
            self.walked.pieces.push(Piece {
                kind,
                text,
                links,
                term_of: None,
            });
        }
    }
}

impl Line {
    fn push(&mut self, text: &str) {
        let mut letters = 0;
        for character in text.chars() {
            if character.is_whitespace() {
                if !self.text.is_empty() && !self.text.ends_with([' ', '\n']) {
                    self.text.push(' ');
                }
            } else if !is_dropped(character) {
                self.text.push(character);
                letters += u32::from(character.is_alphanumeric());
            }
        }
        self.links.letters += letters;
        if self.in_link {
            self.links.linked += letters;
        }
    }
}

/// Characters that only say where a line may break, and byte order marks.
fn is_dropped(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}')
}

fn plain_space(character: char) -> char {
    if character == '\u{a0}' {
        ' '
    } else {
        character
    }
}

/// Elements that begin on a new line. All others flow in a line of text.
pub(super) fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "body"
            | "caption"
            | "center"
            | "dd"
            | "details"
            | "div"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "form"
            | "frameset"
            | "header"
            | "hgroup"
            | "hr"
            | "html"
            | "legend"
            | "main"
            | "nav"
            | "noscript"
            | "option"
            | "p"
            | "section"
            | "summary"
            | "tbody"
            | "td"
            | "tfoot"
            | "th"
            | "thead"
            | "tr"
    )
}
