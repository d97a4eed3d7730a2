//! What a read PDF looks like: pages, blocks, lines, words, each with its box.
//!
//! Every box is `[left, top, right, bottom]` as fractions 0..1 of the *displayed* page, so after
//! the crop box, the inherited media box and the rotation have been applied; the origin is the top
//! left corner.

/// A PDF file that has been read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pdf {
    /// The title of the document's information dictionary, if it says anything.
    pub title: Option<String>,
    /// All pages in order, also those without text.
    pub pages: Vec<Page>,
    /// Numbers of the pages whose content could not be read to its end. What could be read of them
    /// is in `pages`.
    pub damaged: Vec<u32>,
}

/// One page as it is displayed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// Counted from 1.
    pub number: u32,
    /// Width of the displayed page in points (1/72 inch).
    pub width: f32,
    /// Height of the displayed page in points.
    pub height: f32,
    /// The blocks in reading order.
    pub blocks: Vec<Block>,
}

/// What a block is. Found from size, weight, position and repetition, so it can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A heading; 1 is the highest level, 6 the lowest.
    Heading(u8),
    /// Running text.
    Paragraph,
    /// An item of a list, its bullet or number included.
    ListItem,
    /// Rows of cells.
    Table,
    /// Text in a font with letters of one width.
    Code,
    /// Running heads and feet, page numbers: not part of the text.
    Boilerplate,
}

/// Lines that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// What the block is.
    pub kind: Kind,
    /// Box around all lines.
    pub bounds: [f32; 4],
    /// The lines, top to bottom.
    pub lines: Vec<Line>,
}

/// Words on one line.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Line {
    /// Box around all words.
    pub bounds: [f32; 4],
    /// The words in reading order, as printed: a hyphen at the end of the line is still there.
    pub words: Vec<Word>,
    /// Indexes into `words` at which a cell starts; empty where the line is not a row of a table.
    pub cells: Vec<usize>,
    /// How the line goes on in the next one.
    pub end: LineEnd,
}

/// What stands between the last word of a line and the first of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LineEnd {
    /// A space.
    #[default]
    Space,
    /// Nothing: the word goes on, and the hyphen at the line end belongs to it (`well-known`).
    Joined,
    /// Nothing: the word goes on, and its hyphen was put there by the line break.
    Hyphenated,
}

/// Letters without a gap.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Word {
    /// The word as Unicode text, ligatures spelled out.
    pub text: String,
    /// Box from the ascenders to the descenders of the font.
    pub bounds: [f32; 4],
}

impl Block {
    /// The lines joined: by spaces and with the hyphenation at line ends undone, or by line breaks
    /// in code and tables.
    pub fn text(&self) -> String {
        let keep_lines = matches!(self.kind, Kind::Code | Kind::Table);
        let mut text = String::new();
        let mut end = None;
        for line in &self.lines {
            let mut line_text = line.text();
            match end {
                Some(_) if keep_lines => text.push('\n'),
                Some(LineEnd::Space) => text.push(' '),
                _ => {}
            }
            if self.kind == Kind::Code {
                text.extend(std::iter::repeat_n(' ', line.indent(self.bounds[0])));
            } else if line.end == LineEnd::Hyphenated && !keep_lines {
                line_text.pop();
            }
            end = Some(line.end);
            text.push_str(&line_text);
        }
        text
    }
}

impl Line {
    /// The words joined by single spaces, cells by ` │ `; rows of dots that only lead the eye are
    /// shortened to one `...`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut dots = 0usize;
        for (index, word) in self.words.iter().enumerate() {
            if is_leader(&word.text) {
                dots += word.text.chars().count();
                if dots > 3 {
                    continue;
                }
            }
            if index > 0 {
                let starts_cell = self.cells.contains(&index);
                text.push_str(if starts_cell { " │ " } else { " " });
            }
            text.push_str(&word.text);
            if !is_leader(&word.text) {
                dots = 0;
            }
        }
        text
    }

    /// Spaces before the first word of a line of code, counted in letters of the line's own width.
    fn indent(&self, edge: f32) -> usize {
        let letters: usize = self
            .words
            .iter()
            .map(|word| word.text.chars().count())
            .sum();
        let width: f32 = self
            .words
            .iter()
            .map(|word| word.bounds[2] - word.bounds[0])
            .sum();
        if letters == 0 || width <= 0.0 {
            return 0;
        }
        let columns = (self.bounds[0] - edge) / (width / letters as f32);
        columns.round().clamp(0.0, 60.0) as usize
    }
}

fn is_leader(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|letter| letter == '.')
}
