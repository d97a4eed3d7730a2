//! Marks that stand in the text of a document and not in its file.
//!
//! What a page sets apart by its layout (cells, items, the parts of a cell) a reader sets apart by a mark. A
//! quote must stand in the file as it is, so the marks are characters that text hardly ever has, and no quote
//! keeps them.

/// Between the cells of a row.
pub const CELL: char = '│';
/// Between a term and its definition, and between the paragraphs of a cell.
pub const PART: char = '―';
/// Before an item of a list.
pub const ITEM: char = '‣';
/// Where a heading or term has a link to itself. Files write various signs there, so nothing that is quoted
/// goes over it.
pub const PERMALINK: char = '¶';

/// Whether a character is a mark.
pub fn is_mark(character: char) -> bool {
    matches!(character, CELL | PART | ITEM | PERMALINK)
}

/// The text with the signs that people and models know from plain text: ` | ` between cells, `- ` before
/// items.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            CELL => plain.push('|'),
            PART => plain.push('—'),
            ITEM => plain.push('-'),
            PERMALINK => {}
            other => plain.push(other),
        }
    }
    plain
}

/// The words of the file alone, on one line with single spaces.
pub fn without(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || is_mark(c));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_shown_with_its_cells_and_quoted_without() {
        let row = "‣ Size¶ │ 16 MB ― a | b";
        assert_eq!(plain(row), "- Size | 16 MB — a | b");
        assert_eq!(without(row), "Size 16 MB a | b");
    }
}
