//! Tables: whether one holds data, and its rows as text.

use super::tree::{Id, Tree};
use super::walk::is_block;
use crate::marks;

/// Cells with more letters than this on average hold the text of a page, not data.
const LARGE_CELL: u32 = 400;

/// Whether a table holds data, not the layout of a page.
pub(super) fn is_data(tree: &Tree, table: Id) -> bool {
    let role = tree.attribute(table, "role").unwrap_or_default();
    let summary = tree.attribute(table, "summary").unwrap_or_default();
    let notes = ["Note", "Tip", "Warning", "Caution", "Important"];
    if matches!(role, "presentation" | "none")
        || notes.contains(&summary)
        || tree.has_class(table, "highlighttable")
    {
        return false;
    }
    let (mut rows, mut cells, mut heads, mut code, mut nested) = (0, 0, 0, 0, 0);
    for id in tree.descendants(table).skip(1) {
        match tree.name(id) {
            "tr" => rows += 1,
            "td" => cells += 1,
            "th" => heads += 1,
            "pre" => code += 1,
            "table" | "h1" | "h2" | "h3" | "h4" | "form" => nested += 1,
            _ => {}
        }
    }
    let all = cells + heads;
    if nested > 0 || rows == 0 || all == 0 {
        return false;
    }
    let average = tree.measure(table).letters / all;
    if code * 4 > all || average > LARGE_CELL {
        return false;
    }
    // A single column without a head is a frame, and so is a single cell.
    heads > 0 && all > 1 || cells > rows
}

/// The caption, and the rows as lines with cells separated by [`marks::CELL`].
pub(super) fn rows(tree: &Tree, table: Id, skipped: &dyn Fn(Id) -> bool) -> (String, String) {
    let mut caption = String::new();
    let mut lines: Vec<String> = Vec::new();
    // For each column, in how many more rows a cell above still stands. Its text is not repeated there:
    // a row that is quoted must stand in the file as it is.
    let mut spans: Vec<usize> = Vec::new();
    for id in tree.descendants(table) {
        match tree.name(id) {
            "caption" => caption = cell_text(tree, id, skipped),
            "tr" => lines.push(row(tree, id, skipped, &mut spans)),
            _ => {}
        }
    }
    lines.retain(|line| line.chars().any(|c| c != marks::CELL && !c.is_whitespace()));
    (caption, lines.join("\n"))
}

fn row(tree: &Tree, row: Id, skipped: &dyn Fn(Id) -> bool, spans: &mut Vec<usize>) -> String {
    let mut texts: Vec<String> = Vec::new();
    let cells = tree
        .children(row)
        .filter(|id| matches!(tree.name(*id), "td" | "th") && !skipped(*id));
    for cell in cells {
        take_spanning(spans, &mut texts);
        let number = |name| {
            tree.attribute(cell, name)
                .and_then(|number| number.parse::<usize>().ok())
        };
        let text = cell_text(tree, cell, skipped);
        let height = number("rowspan").unwrap_or(1).min(1000);
        if height > 1 {
            spans.resize(spans.len().max(texts.len() + 1), 0);
            if let Some(span) = spans.get_mut(texts.len()) {
                *span = height - 1;
            }
        }
        texts.push(text);
        let width = number("colspan").unwrap_or(1).clamp(1, 100);
        // A cell over all columns stands alone; only where others follow does its width matter.
        texts.extend(std::iter::repeat_n(String::new(), width - 1));
    }
    take_spanning(spans, &mut texts);
    while texts.last().is_some_and(String::is_empty) {
        texts.pop();
    }
    texts.join(&format!(" {} ", marks::CELL))
}

/// Adds the cells that reach down into this row at the place where it is.
fn take_spanning(spans: &mut [usize], texts: &mut Vec<String>) {
    while let Some(left) = spans.get_mut(texts.len()).filter(|left| **left > 0) {
        *left -= 1;
        texts.push(String::new());
    }
}

/// The text of a cell on one line; its paragraphs are set off by [`marks::PART`] where no stop ends them.
fn cell_text(tree: &Tree, cell: Id, skipped: &dyn Fn(Id) -> bool) -> String {
    let mut text = String::new();
    collect(tree, cell, skipped, &mut text);
    text.trim_end_matches([' ', '—', marks::PART]).to_owned()
}

fn collect(tree: &Tree, id: Id, skipped: &dyn Fn(Id) -> bool, text: &mut String) {
    for child in tree.children(id) {
        if let Some(part) = tree.text(child) {
            for character in part.chars() {
                if !character.is_whitespace() {
                    text.push(character);
                } else if !text.is_empty() && !text.ends_with(' ') {
                    text.push(' ');
                }
            }
            continue;
        }
        if skipped(child) {
            continue;
        }
        let name = tree.name(child);
        let breaks =
            is_block(name) || matches!(name, "li" | "dt" | "ul" | "ol" | "dl" | "pre" | "br");
        if breaks {
            end_part(text, name == "br");
        }
        collect(tree, child, skipped, text);
        if breaks {
            end_part(text, name == "br");
        }
    }
}

fn end_part(text: &mut String, line_only: bool) {
    let length = text.trim_end().len();
    text.truncate(length);
    if text.is_empty() {
        return;
    }
    let ended =
        line_only || text.ends_with(['.', ',', ';', ':', '!', '?', '(', '|', '—', marks::PART]);
    text.push(' ');
    if !ended {
        text.extend([marks::PART, ' ']);
    }
}

/// All text of an element on one line.
pub(super) fn folded(tree: &Tree, id: Id) -> String {
    tree.raw_text(id)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}
