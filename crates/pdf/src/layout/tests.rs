//! Grouping of letters made by hand.

use super::{DraftBlock, Shape, blocks};
use crate::content::fonts::Face;
use crate::content::glyph::{Direction, Drawn, Glyph, Rule, Text};

const WIDTH: f32 = 600.0;
const HEIGHT: f32 = 800.0;

/// A page made of strings; every letter is half as wide as it is high.
#[derive(Default)]
struct Sheet {
    drawn: Drawn,
}

impl Sheet {
    fn letter(&mut self, left: f32, baseline: f32, size: f32, text: Text) -> &mut Glyph {
        self.drawn.glyphs.push(Glyph {
            text,
            direction: Direction::Right,
            left,
            right: left + size / 2.0,
            baseline,
            size,
            tracking: 0.0,
            face: Face::default(),
        });
        self.drawn.glyphs.last_mut().expect("just pushed")
    }

    /// Draws text with `extra` between its letters; a space is a gap, nothing is drawn for it.
    fn write(&mut self, left: f32, baseline: f32, size: f32, extra: f32, text: &str) -> &mut Self {
        let mut at = left;
        for letter in text.chars() {
            if letter != ' ' {
                self.letter(at, baseline, size, Text::One(letter));
            }
            at += size / 2.0 + extra;
        }
        self
    }

    fn text(&mut self, left: f32, baseline: f32, text: &str) -> &mut Self {
        self.write(left, baseline, 10.0, 0.0, text)
    }

    fn blocks(&self) -> Vec<DraftBlock> {
        blocks(&self.drawn, WIDTH, HEIGHT)
    }

    fn words(&self) -> Vec<String> {
        let lines = self.blocks().into_iter().flat_map(|block| block.lines);
        lines
            .flat_map(|line| line.words)
            .map(|word| word.text)
            .collect()
    }
}

fn block_texts(sheet: &Sheet) -> Vec<String> {
    let text = |block: &DraftBlock| {
        let words: Vec<&str> = block
            .lines
            .iter()
            .flat_map(|line| &line.words)
            .map(|word| word.text.as_str())
            .collect();
        words.join(" ")
    };
    sheet.blocks().iter().map(text).collect()
}

#[test]
fn gaps_and_spaces_end_words() {
    let mut sheet = Sheet::default();
    sheet.text(50.0, 100.0, "one two");
    // A drawn space without any width still separates.
    sheet.text(50.0, 130.0, "ab");
    sheet.letter(60.0, 130.0, 10.0, Text::Space);
    sheet.text(60.0, 130.0, "cd");
    assert_eq!(sheet.words(), ["one", "two", "ab", "cd"]);
}

#[test]
fn letters_drawn_in_any_order_make_words() {
    let mut sheet = Sheet::default();
    for (index, letter) in ["d", "b", "c", "a"]
        .iter()
        .zip([3.0, 1.0, 2.0, 0.0])
        .map(|(l, i)| (i, l))
    {
        sheet.text(50.0 + 5.0 * index, 100.0, letter);
    }
    assert_eq!(sheet.words(), ["abcd"]);
}

#[test]
fn space_between_all_letters_is_no_word_gap() {
    let mut sheet = Sheet::default();
    sheet.write(50.0, 100.0, 10.0, 3.0, "SPACED");
    for glyph in &mut sheet.drawn.glyphs {
        glyph.tracking = 3.0;
    }
    assert_eq!(sheet.words(), ["SPACED"]);
}

#[test]
fn letters_drawn_twice_count_once_and_are_bold() {
    let mut sheet = Sheet::default();
    sheet.text(50.0, 100.0, "Twice").text(50.3, 100.0, "Twice");
    // Letter by letter.
    for (index, letter) in "also".chars().enumerate() {
        let left = 50.0 + 5.0 * index as f32;
        sheet.letter(left, 130.0, 10.0, Text::One(letter));
        sheet.letter(left + 0.2, 130.0, 10.0, Text::One(letter));
    }
    assert_eq!(sheet.words(), ["Twice", "also"]);
    assert!(
        sheet
            .blocks()
            .iter()
            .flat_map(|block| &block.lines)
            .all(|line| line.bold)
    );
}

#[test]
fn double_letters_are_not_duplicates() {
    let mut sheet = Sheet::default();
    sheet.text(50.0, 100.0, "really");
    assert_eq!(sheet.words(), ["really"]);
}

#[test]
fn accents_join_their_letters() {
    let mut sheet = Sheet::default();
    sheet.text(50.0, 100.0, "Teichm");
    sheet.letter(80.0, 100.0, 10.0, Text::One('¨'));
    sheet.text(80.0, 100.0, "uller");
    assert_eq!(sheet.words(), ["Teichmüller"]);
}

#[test]
fn superscripts_stay_in_their_line() {
    let mut sheet = Sheet::default();
    sheet.text(50.0, 100.0, "E = mc");
    sheet.write(80.0, 96.0, 6.0, 0.0, "2");
    sheet.text(90.0, 100.0, "holds");
    assert_eq!(block_texts(&sheet), ["E = mc 2 holds"]);
    assert_eq!(
        sheet.blocks().first().map(|block| block.lines.len()),
        Some(1)
    );
}

#[test]
fn columns_are_read_one_after_the_other() {
    let mut sheet = Sheet::default();
    for column in [50.0, 320.0] {
        for line in 0..6 {
            let name = if column < 100.0 { "left" } else { "right" };
            sheet.text(
                column,
                100.0 + 12.0 * line as f32,
                &format!("{name} column line {line} full of words here"),
            );
        }
    }
    // A headline across both columns comes first although it is drawn last.
    sheet.write(
        50.0,
        60.0,
        14.0,
        0.0,
        "A headline that crosses the gutter of the page below it",
    );
    let texts = block_texts(&sheet);
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts[0].starts_with("A headline"));
    assert!(texts[1].starts_with("left column line 0") && texts[1].contains("line 5"));
    assert!(texts[2].starts_with("right column line 0"));
}

#[test]
fn rows_drawn_one_after_the_other_are_a_table() {
    let mut sheet = Sheet::default();
    for (row, (name, value)) in [
        ("mtime", "modification"),
        ("ctime", "change"),
        ("atime", "access"),
        ("btime", "birth"),
    ]
    .iter()
    .enumerate()
    {
        let y = 100.0 + 12.0 * row as f32;
        sheet.text(50.0, y, name).text(200.0, y, value);
    }
    let blocks = sheet.blocks();
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].shape, Shape::Table);
    assert!(blocks[0].lines.iter().all(|line| line.cells == [0, 1]));
}

#[test]
fn a_ruling_line_makes_two_rows_a_table() {
    let mut sheet = Sheet::default();
    for y in [100.0, 112.0] {
        sheet.text(50.0, y, "ab").text(66.0, y, "cd");
    }
    assert_eq!(sheet.blocks()[0].shape, Shape::Text);
    sheet.drawn.rules.push(Rule([63.0, 90.0, 63.5, 120.0]));
    assert_eq!(sheet.blocks()[0].shape, Shape::Table);
}

#[test]
fn paragraphs_end_at_gaps_and_indents() {
    let mut sheet = Sheet::default();
    sheet.text(
        50.0,
        100.0,
        "First paragraph goes on and on and on and on here",
    );
    sheet.text(50.0, 112.0, "and ends.");
    sheet.text(
        65.0,
        124.0,
        "Second is indented and goes on and on and on here",
    );
    sheet.text(50.0, 136.0, "and on.");
    sheet.text(50.0, 160.0, "Third comes after a gap.");
    let texts = block_texts(&sheet);
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(
        texts[0].ends_with("and ends.")
            && texts[1].ends_with("and on.")
            && texts[2].starts_with("Third")
    );
}

#[test]
fn text_in_every_direction_has_boxes_where_it_is() {
    for direction in Direction::ALL {
        let mut sheet = Sheet::default();
        // A word that starts in the middle of the page and runs in the direction.
        let (left, baseline) = direction.upright(300.0, 400.0);
        sheet.text(left, baseline, "word");
        for glyph in &mut sheet.drawn.glyphs {
            glyph.direction = direction;
        }
        let blocks = sheet.blocks();
        let [x0, y0, x1, y1] = blocks[0].lines[0].bounds;
        let (width, height) = (x1 - x0, y1 - y0);
        let upright = matches!(direction, Direction::Right | Direction::Left);
        assert_eq!(width > height, upright, "{direction:?}");
        let near = |value: f32, wanted: f32| (value - wanted).abs() < 10.0;
        match direction {
            Direction::Right => assert!(near(x0, 300.0) && near(y1, 400.0)),
            Direction::Left => assert!(near(x1, 300.0) && near(y0, 400.0)),
            Direction::Down => assert!(near(y0, 400.0) && near(x0, 300.0)),
            Direction::Up => assert!(near(y1, 400.0) && near(x1, 300.0)),
        }
    }
}

/// Rules around cells: `columns` and `rows` are where they begin, and where the last ones end.
fn frame(sheet: &mut Sheet, columns: &[f32], rows: &[f32]) {
    let (left, right) = (columns[0], columns[columns.len() - 1]);
    let (top, bottom) = (rows[0], rows[rows.len() - 1]);
    let uprights = columns.iter().map(|x| Rule([*x, top, x + 0.5, bottom]));
    let levels = rows.iter().map(|y| Rule([left, *y, right, y + 0.5]));
    sheet.drawn.rules.extend(uprights.chain(levels));
}

/// The cells of each line of the only block.
fn cells(sheet: &Sheet) -> Vec<Vec<String>> {
    let blocks = sheet.blocks();
    assert_eq!(blocks.len(), 1, "{blocks:?}");
    assert_eq!(blocks[0].shape, Shape::Table);
    let cells = |line: &super::DraftLine| {
        let ends = line.cells.iter().skip(1).copied();
        let ends = ends.chain([line.words.len()]);
        let cells = line.cells.iter().copied().zip(ends);
        let text = |(from, to): (usize, usize)| {
            let words = line.words[from..to].iter();
            words
                .map(|word| word.text.clone())
                .collect::<Vec<_>>()
                .join(" ")
        };
        cells.map(text).collect()
    };
    blocks[0].lines.iter().map(cells).collect()
}

#[test]
fn a_ruled_row_is_read_cell_by_cell_wherever_its_lines_stand() {
    let mut sheet = Sheet::default();
    frame(
        &mut sheet,
        &[45.0, 145.0, 300.0],
        &[88.0, 104.0, 132.0, 160.0],
    );
    sheet
        .text(50.0, 100.0, "name")
        .text(150.0, 100.0, "what it is for");
    // The names stand at the middle of what is said of them, and the columns are drawn apart.
    sheet.text(50.0, 122.0, "FAT").text(50.0, 150.0, "exFAT");
    sheet.text(150.0, 116.0, "disks that are small (up to");
    sheet.text(150.0, 128.0, "8 TiB)");
    sheet.text(150.0, 144.0, "disks that are large (up to");
    sheet.text(150.0, 156.0, "512 TiB)");
    assert_eq!(
        cells(&sheet),
        [
            ["name", "what it is for"],
            ["FAT", "disks that are small (up to 8 TiB)"],
            ["exFAT", "disks that are large (up to 512 TiB)"],
        ]
    );
}

#[test]
fn a_cell_over_several_rows_stands_in_the_first_of_them() {
    let mut sheet = Sheet::default();
    frame(&mut sheet, &[45.0, 145.0, 300.0], &[88.0, 104.0, 120.0]);
    // No rule between the rows of the first column.
    sheet.drawn.rules.retain(|rule| rule.0[1] != 104.0);
    sheet.drawn.rules.push(Rule([145.0, 104.0, 300.0, 104.5]));
    sheet.text(50.0, 108.0, "both");
    sheet.text(150.0, 100.0, "one").text(150.0, 116.0, "other");
    frame(&mut sheet, &[45.0, 145.0, 300.0], &[120.0, 136.0]);
    sheet.text(50.0, 132.0, "last").text(150.0, 132.0, "third");
    let expected: [&[&str]; 3] = [&["both", "one"], &["other"], &["last", "third"]];
    assert_eq!(cells(&sheet), expected);
}

#[test]
fn rows_without_a_rule_between_them_stay_rows() {
    let mut sheet = Sheet::default();
    frame(&mut sheet, &[45.0, 145.0, 300.0], &[88.0, 104.0, 160.0]);
    sheet.text(50.0, 100.0, "name").text(150.0, 100.0, "port");
    for (row, (name, port)) in [("alder", "4711"), ("birch", "8025"), ("larch", "53")]
        .iter()
        .enumerate()
    {
        let y = 116.0 + 14.0 * row as f32;
        sheet.text(50.0, y, name).text(150.0, y, port);
    }
    assert_eq!(
        cells(&sheet),
        [
            ["name", "port"],
            ["alder", "4711"],
            ["birch", "8025"],
            ["larch", "53"]
        ]
    );
}

#[test]
fn a_frame_around_text_is_no_table() {
    let mut sheet = Sheet::default();
    frame(&mut sheet, &[45.0, 350.0], &[88.0, 140.0]);
    sheet.text(
        50.0,
        100.0,
        "A note goes on and on and on and on and on and on here",
    );
    sheet.text(50.0, 112.0, "and ends.");
    assert_eq!(sheet.blocks()[0].shape, Shape::Text);
    assert_eq!(block_texts(&sheet).len(), 1);
}
