//! Lists of definitions: an entry becomes a list item, or a section of its own where it is long.
//!
//! The reference of a program's settings is often one list of definitions with pages below a term. As
//! headings, the terms stay with all that is said about them. Where text of the section follows the
//! list, that text would fall under the last term; there the terms stay items.

use std::ops::Range;

use super::walk::{Links, Piece, Walked};
use crate::document::BlockKind;
use crate::marks;

/// Definitions of more words than this on average are sections.
const LONG: usize = 35;
/// More terms in a row than this do not share a definition.
const MOST_SYNONYMS: usize = 8;
/// Terms longer than this, in bytes, are no headings.
const LONGEST_TERM: usize = 200;

/// Gives terms the form in which they are shown.
pub(super) fn settle(walked: &mut Walked) {
    let Walked {
        pieces,
        definitions,
    } = walked;
    for (list, range) in definitions.iter().enumerate() {
        join_synonyms(pieces, list, range);
    }
    for (list, range) in definitions.iter().enumerate() {
        if are_sections(pieces, list, range) {
            to_headings(pieces, list, range);
        }
    }
    for (list, range) in definitions.iter().enumerate() {
        join_definitions(pieces, list, range);
    }
    pieces.retain(|piece| !piece.text.is_empty());
}

/// Terms that share a definition become one. Long runs of terms are lists set as definitions.
fn join_synonyms(pieces: &mut [Piece], list: usize, range: &Range<usize>) {
    let is_term = |piece: &Piece| piece.term_of == Some(list);
    let mut at = range.start;
    while at < range.end {
        let run = pieces
            .iter()
            .take(range.end)
            .skip(at)
            .take_while(|piece| is_term(piece))
            .count();
        let is_defined = at + run < range.end;
        if (2..=MOST_SYNONYMS).contains(&run) && is_defined {
            let (first, rest) = pieces.split_at_mut(at + 1);
            let Some(term) = first.last_mut() else { break };
            for other in rest.iter_mut().take(run - 1) {
                term.text.extend([' ', marks::CELL, ' ']);
                term.text.push_str(&std::mem::take(&mut other.text));
                add(&mut term.links, other.links);
                other.term_of = None;
            }
        }
        at += run.max(1);
    }
}

fn add(links: &mut Links, more: Links) {
    links.count += more.count;
    links.inside += more.inside;
    links.outside += more.outside;
    links.linked += more.linked;
    links.letters += more.letters;
}

/// Whether the definitions of a list are long, and nothing of the section comes after it.
fn are_sections(pieces: &[Piece], list: usize, range: &Range<usize>) -> bool {
    let Some(entries) = pieces.get(range.clone()) else {
        return false;
    };
    let next = pieces
        .iter()
        .skip(range.end)
        .find(|piece| !piece.text.is_empty());
    let ends_section = next.is_none_or(|next| matches!(next.kind, BlockKind::Heading(_)));
    let terms = entries.iter().filter(|piece| piece.term_of == Some(list));
    let (count, longest) = terms.fold((0, 0), |(count, longest), term| {
        (count + 1, longest.max(term.text.len()))
    });
    let words: usize = entries
        .iter()
        .map(|piece| piece.text.split_whitespace().count())
        .sum();
    ends_section && count > 0 && words / count > LONG && longest <= LONGEST_TERM
}

fn to_headings(pieces: &mut [Piece], list: usize, range: &Range<usize>) {
    let above = pieces
        .iter()
        .take(range.start)
        .rev()
        .find_map(|piece| match piece.kind {
            BlockKind::Heading(level) => Some(level),
            _ => None,
        });
    let level = above.map_or(2, |level| (level + 1).min(6));
    for piece in pieces.get_mut(range.clone()).into_iter().flatten() {
        if piece.term_of == Some(list) {
            piece.kind = BlockKind::Heading(level);
            piece.text = piece.text.replace('\n', " ");
        }
    }
}

/// Puts terms that stayed items before the first paragraph of their definition.
fn join_definitions(pieces: &mut [Piece], list: usize, range: &Range<usize>) {
    for at in range.start + 1..range.end {
        let (before, after) = pieces.split_at_mut(at);
        let (Some(definition), Some(place)) = (
            after.first_mut(),
            before.iter().rposition(|piece| !piece.text.is_empty()),
        ) else {
            continue;
        };
        let Some(term) = before.get_mut(place) else {
            continue;
        };
        let is_open = term.term_of == Some(list) && term.kind == BlockKind::ListItem;
        if !is_open || definition.kind != BlockKind::Paragraph || definition.text.is_empty() {
            continue;
        }
        let text = std::mem::take(&mut definition.text);
        let ended = term.text.ends_with([':', '.', '-', '—']);
        term.text.push(' ');
        if !ended {
            term.text.extend([marks::PART, ' ']);
        }
        term.text.push_str(&text);
        term.term_of = None;
        add(&mut term.links, definition.links);
    }
}
