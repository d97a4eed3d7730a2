//! HTML: the text of a page without what surrounds it.
//!
//! Reference pages lose content to extraction by readability, so the page is walked and only what is
//! navigation by its element, role, name or links is left out.

use dom_query::{Document as Page, NodeRef};

use super::builder::Builder;
use crate::document::{BlockKind, Document};

/// Elements whose content is never text of the page.
const SKIPPED: &[&str] = &[
    "script", "style", "noscript", "template", "svg", "math", "iframe", "object", "head", "nav",
    "footer", "aside", "form", "button", "select", "dialog",
];
/// Words in a class or an id that name what surrounds a page.
const SURROUNDINGS: &[&str] = &[
    "navheader",
    "navfooter",
    "navbar",
    "navigation",
    "nav",
    "sidebar",
    "sphinxsidebar",
    "breadcrumb",
    "breadcrumbs",
    "footer",
    "menu",
    "topmenu",
    "cookie",
    "banner",
    "skip-link",
    "headerlink",
    "related",
    "toc",
    "toctree-wrapper",
    "prev-next",
    "pager",
    "pagination",
    "search",
    "site-header",
    "page-header",
    "headnav",
    "footnav",
    "node-nav",
    "header",
];
/// The same in `role`.
const ROLES: &[&str] = &[
    "navigation",
    "banner",
    "contentinfo",
    "search",
    "complementary",
];
/// Elements that flow in a line of text.
const INLINE: &[&str] = &[
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em",
    "font", "i", "img", "ins", "kbd", "label", "mark", "q", "s", "samp", "small", "span", "strike",
    "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
];
/// Deeper nesting than this is not walked: no page for people has it.
const DEEPEST: usize = 200;

/// Reads a page.
pub(super) fn read(html: &str) -> Document {
    let page = Page::from(html);
    let title = page.select("title").first().text().to_string();
    let root = page
        .select("body")
        .nodes()
        .first()
        .copied()
        .unwrap_or_else(|| page.root());
    let mut reader = Reader::default();
    reader.visit(&root, BlockKind::Paragraph, 0);
    reader.flush(BlockKind::Paragraph);
    let title = if title.trim().is_empty() {
        reader.first_heading.clone()
    } else {
        title
    };
    reader.builder.finish(title)
}

#[derive(Default)]
struct Reader {
    builder: Builder,
    first_heading: String,
    /// The text of the block being read, white space folded.
    line: String,
    /// How many of its bytes are the text of links.
    linked: usize,
    in_link: bool,
}

impl Reader {
    fn visit(&mut self, node: &NodeRef<'_>, kind: BlockKind, depth: usize) {
        if depth > DEEPEST {
            return;
        }
        if node.is_text() {
            self.text(&node.text());
            return;
        }
        let Some(name) = node.node_name() else {
            node.children_it(false)
                .for_each(|child| self.visit(&child, kind, depth + 1));
            return;
        };
        if is_surrounding(node, &name) {
            return;
        }
        match name.as_ref() {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                let level = name.bytes().last().unwrap_or(b'1') - b'0';
                self.flush(kind);
                self.children(node, kind, depth);
                match is_admonition(node) {
                    true => self.flush(BlockKind::Paragraph),
                    false => self.heading(level),
                }
            }
            "pre" => {
                self.flush(kind);
                self.builder
                    .push(BlockKind::Code, &node.text().replace('\t', "    "), None);
            }
            "table" if is_data(node) => {
                self.flush(kind);
                let rows = rows(node);
                self.builder.push(BlockKind::Table, &rows, None);
            }
            "br" => self.text("\n"),
            "a" => {
                let outer = std::mem::replace(&mut self.in_link, true);
                self.children(node, kind, depth);
                self.in_link = outer;
            }
            "li" | "dt" => self.block(node, BlockKind::ListItem, kind, depth),
            name if INLINE.contains(&name) => self.children(node, kind, depth),
            // What stands in an item stays part of it.
            "p" | "div" if kind == BlockKind::ListItem => self.block(node, kind, kind, depth),
            _ => self.block(node, BlockKind::Paragraph, kind, depth),
        }
    }

    fn children(&mut self, node: &NodeRef<'_>, kind: BlockKind, depth: usize) {
        node.children_it(false)
            .for_each(|child| self.visit(&child, kind, depth + 1));
    }

    /// A block of its own, of the kind `inner`, inside one of the kind `outer`.
    fn block(&mut self, node: &NodeRef<'_>, inner: BlockKind, outer: BlockKind, depth: usize) {
        self.flush(outer);
        self.children(node, inner, depth);
        self.flush(inner);
    }

    fn text(&mut self, text: &str) {
        let before = self.line.len();
        for character in text.chars() {
            if !character.is_whitespace() {
                self.line.push(character);
            } else if !self.line.is_empty() && !self.line.ends_with(' ') {
                self.line.push(' ');
            }
        }
        if self.in_link {
            self.linked += self.line.len() - before;
        }
    }

    /// Ends the block being read. A block that is all links leads elsewhere and says nothing itself.
    fn flush(&mut self, kind: BlockKind) {
        let line = std::mem::take(&mut self.line);
        let linked = std::mem::take(&mut self.linked);
        let line = line.trim();
        let words = line.split_whitespace().count();
        if linked * 10 < line.len() * 9 || (words > 12 && line.ends_with('.')) {
            self.builder.push(kind, line, None);
        }
    }

    fn heading(&mut self, level: u8) {
        let line = std::mem::take(&mut self.line);
        self.linked = 0;
        let line = line.trim().trim_end_matches(['¶', '#', '§']).trim();
        if self.first_heading.is_empty() {
            self.first_heading = line.to_owned();
        }
        self.builder.push(BlockKind::Heading(level), line, None);
    }
}

fn is_surrounding(node: &NodeRef<'_>, name: &str) -> bool {
    if SKIPPED.contains(&name) || node.has_attr("hidden") {
        return true;
    }
    if matches!(
        name,
        "body" | "main" | "article" | "html" | "h1" | "h2" | "h3"
    ) {
        return false;
    }
    if node
        .attr("aria-hidden")
        .is_some_and(|value| value.as_ref() == "true")
    {
        return true;
    }
    if node
        .attr("role")
        .is_some_and(|role| ROLES.contains(&role.as_ref()))
    {
        return true;
    }
    let named = |value: Option<String>| {
        let value = value.map(|value: String| value.to_lowercase());
        value.is_some_and(|value| {
            value
                .split_whitespace()
                .any(|word| SURROUNDINGS.contains(&word))
        })
    };
    // Tables of contents and menus are links; a section that happens to be called so is text.
    (named(node.attr("class").map(|v| v.to_string()))
        || named(node.attr("id").map(|v| v.to_string())))
        && (name != "section")
}

/// Whether a heading is but the label of a note or a warning.
fn is_admonition(heading: &NodeRef<'_>) -> bool {
    const LABELS: &[&str] = &[
        "note",
        "tip",
        "warning",
        "caution",
        "important",
        "hint",
        "attention",
        "danger",
    ];
    let class = heading
        .parent()
        .and_then(|parent| parent.attr("class"))
        .map(|class| class.to_string());
    class.is_some_and(|class| class.split_whitespace().any(|word| LABELS.contains(&word)))
}

/// Whether a table holds data, not the layout of a page.
fn is_data(table: &NodeRef<'_>) -> bool {
    let names: Vec<String> = table
        .descendants()
        .iter()
        .filter_map(|node| node.node_name())
        .map(|name| name.to_string())
        .collect();
    let count = |wanted: &[&str]| {
        names
            .iter()
            .filter(|name| wanted.contains(&name.as_str()))
            .count()
    };
    let cells = count(&["td", "th"]);
    let rows = count(&["tr"]);
    count(&["table", "h1", "h2", "h3", "form"]) == 0
        && rows > 0
        && cells > rows
        && count(&["pre"]) * 4 <= cells
}

/// One row a line, cells separated by ` | `.
fn rows(table: &NodeRef<'_>) -> String {
    let mut lines = Vec::new();
    for node in table.descendants() {
        match node.node_name().as_deref() {
            Some("caption") => lines.push(folded(&node.text())),
            Some("tr") => {
                let cells = node
                    .children_it(false)
                    .filter(|child| matches!(child.node_name().as_deref(), Some("td" | "th")));
                let cells: Vec<String> = cells.map(|cell| folded(&spaced(&cell))).collect();
                lines.push(cells.join(" | "));
            }
            _ => {}
        }
    }
    lines.retain(|line| line.chars().any(char::is_alphanumeric));
    lines.join("\n")
}

/// The text of a cell, with a space where a block in it ends.
fn spaced(node: &NodeRef<'_>) -> String {
    if node.is_text() {
        return node.text().to_string();
    }
    let inner: String = node
        .children_it(false)
        .map(|child| spaced(&child))
        .collect();
    match node.node_name().as_deref() {
        Some(name) if INLINE.contains(&name) => inner,
        _ => format!("{inner} "),
    }
}

fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
