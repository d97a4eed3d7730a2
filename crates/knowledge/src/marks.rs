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
/// Where a heading or term has a link to itself, or a line holds what is not shown. Files write various signs and
/// words there, so nothing that is quoted goes over it.
pub const PERMALINK: char = '¶';
/// Where a page of the file ends, except inside of a word. A file has the foot and head of the pages there, so
/// nothing that is quoted goes over it. It is white space.
pub const PAGE: char = '\u{c}';

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
            PERMALINK | PAGE => {}
            other => plain.push(other),
        }
    }
    plain
}

/// The words of the file alone, on one line with single spaces; a word that was broken at the end of a line is
/// whole again.
pub fn without(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let (mut gap, mut line_ended) = (false, false);
    for character in text.chars() {
        if character.is_whitespace() || is_mark(character) {
            gap = true;
            line_ended |= character == '\n';
            continue;
        }
        let broken = match line_ended && character.is_lowercase() {
            true => hyphen_at_the_end(&line),
            false => None,
        };
        match broken {
            // What is typed with the common sign is mostly a compound: `read-only`.
            Some('-') => {}
            Some(_) => drop(line.pop()),
            None if gap && !line.is_empty() => line.push(' '),
            None => {}
        }
        line.push(character);
        (gap, line_ended) = (false, false);
    }
    line
}

/// The hyphen that ends a text after a letter.
fn hyphen_at_the_end(text: &str) -> Option<char> {
    let mut backwards = text.chars().rev();
    let hyphen = backwards.next().filter(|c| is_hyphen(*c))?;
    let before = backwards.next()?;
    before.is_alphabetic().then_some(hyphen)
}

/// Whether a character joins the parts of a word.
pub(crate) fn is_hyphen(character: char) -> bool {
    matches!(character, '-' | '\u{ad}' | '\u{2010}' | '\u{2011}')
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

    #[test]
    fn a_word_that_a_line_broke_is_whole_again() {
        let text = "It is ac\u{2010}\n    tivated, read-\n  only, with -\n a, pre- and post-\n\nX.";
        assert_eq!(
            without(text),
            "It is activated, read-only, with - a, pre- and post- X."
        );
        for quote in [without(text), text.replace('\n', " ")] {
            let found = crate::citation::locate(&quote, text);
            assert_eq!(found, Some(0..text.len()), "{quote}");
        }
    }
}
