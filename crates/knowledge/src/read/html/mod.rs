//! HTML: the text of a page without what surrounds it.
//!
//! Readability, the usual way, looks for an article and loses reference pages. So the tree is walked
//! ([`walk`]) and only what is navigation by its element, role, name ([`surroundings`]) or links
//! ([`links`]) is left out. Pages that are nothing but a list of contents keep it.
//!
//! What it does not do: run scripts, follow style sheets, look at pictures.

mod definitions;
mod links;
mod surroundings;
mod tables;
mod tree;
mod walk;

use std::borrow::Cow;

use super::builder::{Builder, Gap};
use crate::document::{BlockKind, Document};
use crate::marks;
use surroundings::Strictness;
use tree::Tree;
use walk::Piece;

/// Reads a page; `None` when its elements nest too deeply to be read.
pub(super) fn read(html: &str) -> Option<Document> {
    let tree = Tree::parse(&without_xml_shorthand(html))?;
    let mut pieces = pieces(&tree, Strictness::Strict);
    if !pieces.iter().any(is_content) {
        pieces = self::pieces(&tree, Strictness::Lenient);
    }
    if !pieces.iter().any(is_content) {
        pieces.clear();
    }
    let title = tree
        .find("title")
        .map(|id| tree.raw_text(id))
        .unwrap_or_default();
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    let heading = pieces
        .iter()
        .find(|piece| matches!(piece.kind, BlockKind::Heading(_)));
    let title = if title.is_empty() {
        heading
            .map(|piece| marks::without(&piece.text))
            .unwrap_or_default()
    } else {
        title
    };
    let mut builder = Builder::default();
    let mut before = None;
    for piece in &pieces {
        let in_list = piece.kind == BlockKind::ListItem && before == Some(BlockKind::ListItem);
        let gap = if in_list { Gap::Line } else { Gap::Paragraph };
        builder.push(piece.kind, &piece.text, None, gap);
        before = Some(piece.kind);
    }
    Some(builder.finish(title))
}

fn pieces(tree: &Tree, strictness: Strictness) -> Vec<Piece> {
    let mut walked = walk::walk(tree, strictness);
    definitions::settle(&mut walked);
    let mut pieces = walked.pieces;
    links::drop_navigation(&mut pieces, strictness);
    pieces
}

/// Whether a piece says something by itself.
fn is_content(piece: &Piece) -> bool {
    !matches!(piece.kind, BlockKind::Heading(_)) && piece.text.chars().any(char::is_alphanumeric)
}

/// Elements that may be empty in XHTML (`<a id="x"/>`), where HTML would wait for their end.
const NEVER_EMPTY: &[&str] = &[
    "a", "script", "title", "style", "iframe", "textarea", "div", "span", "p", "td", "th", "li",
    "ul", "ol", "dl", "em", "strong", "b", "i", "code", "tt", "pre", "noscript", "canvas",
    "object", "select", "option", "label", "tr", "table",
];

/// XHTML as HTML: empty elements get their end tags. What is no XHTML stays as it is.
fn without_xml_shorthand(html: &str) -> Cow<'_, str> {
    let head = html
        .get(..html.floor_char_boundary(1024))
        .unwrap_or_default();
    if !(head.trim_start().starts_with("<?xml") || head.contains("http://www.w3.org/1999/xhtml")) {
        return Cow::Borrowed(html);
    }
    let mut out = String::with_capacity(html.len() + html.len() / 32);
    let mut done = 0;
    for (at, _) in html.match_indices("/>") {
        let tag = html
            .get(done..at)
            .and_then(|before| before.rsplit_once('<'))
            .map(|(_, tag)| tag);
        let name = tag
            .and_then(|tag| tag.split(|c: char| c.is_whitespace()).next())
            .unwrap_or_default();
        if NEVER_EMPTY.contains(&name) {
            out.push_str(html.get(done..at).unwrap_or_default());
            out.push_str("></");
            out.push_str(name);
            out.push('>');
            done = at + 2;
        }
    }
    out.push_str(html.get(done..).unwrap_or_default());
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
