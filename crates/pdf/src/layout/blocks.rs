//! Lines of one column to blocks: paragraphs, list items, code, tables.

use super::lines::LaidLine;
use super::{DraftBlock, DraftLine, DraftWord, Shape};
use crate::content::glyph::Direction;

/// More than this many times the usual distance between lines ends a block.
const BLOCK_GAP: f32 = 1.28;
/// An indent of more than this (shares of the font size) means something.
const INDENT: f32 = 0.8;

/// Lines in the upright frame that belong together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LaidBlock {
    pub(crate) shape: Shape,
    pub(crate) lines: Vec<LaidLine>,
}

impl LaidBlock {
    /// Turns the block back to the displayed page.
    pub(crate) fn displayed(self, direction: Direction) -> DraftBlock {
        let is_table = self.shape == Shape::Table;
        let turn = |line: LaidLine| DraftLine {
            bounds: direction.displayed(line.bounds),
            cells: if is_table { line.cells() } else { Vec::new() },
            size: line.size,
            bold: line.bold,
            words: line
                .words
                .into_iter()
                .map(|word| DraftWord {
                    bounds: direction.displayed(word.bounds()),
                    text: word.text,
                })
                .collect(),
        };
        DraftBlock {
            shape: self.shape,
            lines: self.lines.into_iter().map(turn).collect(),
        }
    }
}

/// Groups the lines of a column, top to bottom.
pub(crate) fn group(lines: Vec<LaidLine>) -> Vec<LaidBlock> {
    let pitch = usual_pitch(&lines);
    let right = lines.iter().map(LaidLine::right).fold(f32::MIN, f32::max);
    let in_table = table_rows(&lines);
    let mut blocks: Vec<LaidBlock> = Vec::new();
    for (line, tabular) in lines.into_iter().zip(in_table) {
        let shape = shape(&line, tabular || line.framed);
        match blocks.last_mut() {
            Some(block) if continues(block, &line, shape, pitch, right) => block.lines.push(line),
            _ => blocks.push(LaidBlock {
                shape,
                lines: vec![line],
            }),
        }
    }
    blocks
}

fn shape(line: &LaidLine, tabular: bool) -> Shape {
    if tabular || line.has_leader() {
        Shape::Table
    } else if line.monospaced {
        Shape::Code
    } else if starts_item(line) {
        Shape::ListItem
    } else {
        Shape::Text
    }
}

/// The lower quartile of the distances between lines: the distance inside paragraphs even where
/// most paragraphs are short.
fn usual_pitch(lines: &[LaidLine]) -> f32 {
    let mut pitches: Vec<f32> = Vec::new();
    for pair in lines.windows(2) {
        let [above, below] = pair else {
            continue;
        };
        let pitch = below.baseline - above.baseline;
        if pitch > 0.5 * below.size && pitch < 2.2 * below.size {
            pitches.push(pitch);
        }
    }
    pitches.sort_by(f32::total_cmp);
    let typical = lines.first().map_or(12.0, |line| 1.3 * line.size);
    pitches.get(pitches.len() / 4).copied().unwrap_or(typical)
}

fn continues(block: &LaidBlock, line: &LaidLine, shape: Shape, pitch: f32, right: f32) -> bool {
    let (Some(first), Some(above)) = (block.lines.first(), block.lines.last()) else {
        return false;
    };
    let distance = line.baseline - above.baseline;
    let ratio = line.size / above.size.max(0.1);
    let usual = pitch.max(0.95 * line.size);
    match (block.shape, shape) {
        (Shape::Table, Shape::Table) => {
            // A row may have several lines.
            let white = line.bounds[1] - above.bounds[3];
            distance < 3.0 * usual || white < 2.0 * usual
        }
        (Shape::Text | Shape::ListItem, Shape::Code) => {
            // A paragraph with a line that is all names in a listing's font.
            let full = above.right() > right - 4.0 * line.size;
            let flush = (line.left() - above.left()).abs() < INDENT * line.size;
            full && flush && !above.monospaced && distance <= 1.1 * usual
        }
        // Blank lines inside a listing do not end it.
        (Shape::Code, Shape::Code) => distance < 2.3 * usual && (0.85..1.18).contains(&ratio),
        (Shape::Text | Shape::ListItem, Shape::Text) => {
            distance <= BLOCK_GAP * usual
                && distance > 0.2 * usual
                && (0.87..1.15).contains(&ratio)
                && above.bold == line.bold
                && !starts_paragraph(block, first, above, line, right)
        }
        _ => false,
    }
}

/// A first line that is indented, or text that goes back to the left after an indented block.
fn starts_paragraph(
    block: &LaidBlock,
    first: &LaidLine,
    above: &LaidLine,
    line: &LaidLine,
    right: f32,
) -> bool {
    let step = line.left() - above.left();
    let indent = INDENT * line.size;
    let short = above.right() < right - 3.0 * line.size;
    let ended = above.last_word().ends_with(['.', '!', '?', ':', ';']);
    if block.shape == Shape::ListItem {
        // Lines of an item stand under its text, not under its bullet or left of it.
        return line.left() < first.left() - indent || (short && ended && step < -indent);
    }
    if step > indent {
        return short || (ended && step < 4.0 * line.size);
    }
    step < -indent && (block.lines.len() > 1 || short)
}

fn starts_item(line: &LaidLine) -> bool {
    if line.words.len() < 2 {
        return false;
    }
    let marker = line.first_word();
    if [
        "•", "◦", "▪", "‣", "●", "○", "■", "∙", "·", "–", "—", "*", "-", "➢", "✓",
    ]
    .contains(&marker)
    {
        return true;
    }
    let inner = marker.trim_start_matches('(').trim_end_matches(['.', ')']);
    let marked = marker.ends_with(')') || (marker.ends_with('.') && !marker.starts_with('('));
    let counted =
        inner.len() <= 3 && !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_digit());
    let lettered = inner.len() == 1 && inner.bytes().all(|byte| byte.is_ascii_lowercase());
    marked && (counted || lettered)
}

/// Which lines are rows of a table: they have several parts, and parts of a neighbour start or the
/// line is ruled at the same places.
fn table_rows(lines: &[LaidLine]) -> Vec<bool> {
    let candidate = |line: &LaidLine| {
        line.parts.len() >= 2 && !line.has_leader() && !line.monospaced && !is_item_gap(line)
    };
    let mut marks: Vec<bool> = vec![false; lines.len()];
    let mut start = 0;
    while start < lines.len() {
        let run = lines
            .iter()
            .skip(start)
            .take_while(|line| candidate(line))
            .count();
        let rows = lines.get(start..start + run).unwrap_or_default();
        let ruled = rows.iter().any(|row| row.ruled);
        let aligned = rows
            .windows(2)
            .filter(|pair| matches!(pair, [a, b] if aligned(a, b)))
            .count();
        let enough = if ruled { 2 } else { 3 };
        if run >= enough && aligned * 2 >= run - 1 {
            marks
                .iter_mut()
                .skip(start)
                .take(run)
                .for_each(|mark| *mark = true);
        }
        start += run.max(1);
    }
    marks
}

/// A bullet set off from its text is no cell.
fn is_item_gap(line: &LaidLine) -> bool {
    line.parts.len() == 2 && line.parts.get(1).is_some_and(|part| part.0 == 1) && starts_item(line)
}

fn aligned(a: &LaidLine, b: &LaidLine) -> bool {
    let starts = |line: &LaidLine| {
        line.parts
            .iter()
            .skip(1)
            .map(|part| part.1)
            .collect::<Vec<_>>()
    };
    let others = starts(b);
    starts(a).iter().any(|left| {
        others
            .iter()
            .any(|other| (left - other).abs() < 0.6 * a.size)
    })
}
