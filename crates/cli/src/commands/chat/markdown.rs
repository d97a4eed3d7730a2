//! Markdown for a terminal: headings, emphasis, lists, quotes, code and tables, wrapped to its width.

use console::measure_text_width;
use pulldown_cmark::{Alignment, CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

const BOLD: &str = "\x1b[1m";
const ITALIC: &str = "\x1b[3m";
const UNDERLINE: &str = "\x1b[4m";
const CODE: &str = "\x1b[36m";
const DIM: &str = "\x1b[2m";
const STRIKE: &str = "\x1b[9m";
const RESET: &str = "\x1b[0m";

/// How text is laid out.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Columns of the terminal.
    pub width: usize,
    /// Whether it shows colours.
    pub colours: bool,
}

impl Look {
    /// That of standard output's terminal.
    pub fn of_terminal() -> Look {
        let columns = usize::from(console::Term::stdout().size().1);
        Look {
            // Longer lines are hard to read.
            width: columns.clamp(20, 100),
            colours: std::env::var_os("NO_COLOR").is_none(),
        }
    }
}

/// Text without what could steer the terminal: what a model writes is not to be trusted.
pub fn tame(text: &str) -> String {
    let plain = |c: char| !c.is_control() || c == '\n';
    text.replace('\t', "    ")
        .chars()
        .filter(|c| plain(*c))
        .collect()
}

/// Lays Markdown out. Every line ends with a line feed.
pub fn render(text: &str, look: Look) -> String {
    let text = tame(text);
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut layout = Layout {
        look,
        out: String::new(),
        line: Vec::new(),
        styles: Vec::new(),
        margins: Vec::new(),
        lists: Vec::new(),
        code: None,
        table: None,
        link: None,
    };
    for event in Parser::new_ext(&text, options) {
        layout.event(event);
    }
    layout.flush();
    layout.out
}

/// A piece of a line with its style.
struct Span {
    style: String,
    text: String,
}

/// What stands to the left of a block: on its first line, and on the others.
struct Margin {
    first: Option<String>,
    rest: String,
}

struct Table {
    alignments: Vec<Alignment>,
    rows: Vec<Vec<String>>,
    cell: String,
}

struct Layout {
    look: Look,
    out: String,
    line: Vec<Span>,
    styles: Vec<&'static str>,
    margins: Vec<Margin>,
    /// The next number of each list that is open; none: with bullets.
    lists: Vec<Option<u64>>,
    code: Option<String>,
    table: Option<Table>,
    link: Option<String>,
}

impl Layout {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(&text),
            Event::Code(code) => {
                self.styles.push(CODE);
                self.text(&code);
                self.styles.pop();
            }
            Event::InlineHtml(text) | Event::Html(text) => self.text(&text),
            Event::SoftBreak => self.text(" "),
            Event::HardBreak => {
                let spans = std::mem::take(&mut self.line);
                self.wrap(&spans);
            }
            Event::Rule => {
                let width = self.room().min(40);
                let rule = self.styled(&[DIM], &"─".repeat(width));
                self.put(&rule);
                self.gap();
            }
            Event::TaskListMarker(done) => self.text(if done { "[x] " } else { "[ ] " }),
            Event::FootnoteReference(name) => self.text(&format!("[{name}]")),
            Event::InlineMath(text) | Event::DisplayMath(text) => self.text(&text),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { level, .. } => {
                self.styles.push(BOLD);
                if level == HeadingLevel::H1 {
                    self.styles.push(UNDERLINE);
                }
            }
            Tag::BlockQuote(_) => {
                let bar = self.styled(&[DIM], "│ ");
                self.margins.push(Margin {
                    first: None,
                    rest: bar,
                });
            }
            Tag::CodeBlock(kind) => {
                if let CodeBlockKind::Fenced(language) = kind
                    && !language.is_empty()
                {
                    let label = self.styled(&[DIM], &language);
                    self.put(&label);
                }
                self.code = Some(String::new());
            }
            Tag::List(first) => {
                self.flush();
                self.lists.push(first);
            }
            Tag::Item => self.item(),
            Tag::Emphasis => self.styles.push(ITALIC),
            Tag::Strong => self.styles.push(BOLD),
            Tag::Strikethrough => self.styles.push(STRIKE),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.styles.push(UNDERLINE);
                self.link = Some(dest_url.to_string());
            }
            Tag::Table(alignments) => {
                self.table = Some(Table {
                    alignments,
                    rows: Vec::new(),
                    cell: String::new(),
                });
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(Vec::new());
                }
            }
            _ => {}
        }
    }

    fn item(&mut self) {
        self.flush();
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{}. ", *number - 1)
            }
            _ => "• ".to_owned(),
        };
        let rest = " ".repeat(measure_text_width(&mark));
        let first = Some(mark);
        self.margins.push(Margin { first, rest });
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph => {
                self.flush();
                self.gap();
            }
            TagEnd::Heading(_) => {
                self.flush();
                self.styles.clear();
                self.gap();
            }
            TagEnd::BlockQuote(_) => {
                self.flush();
                self.margins.pop();
                self.gap();
            }
            TagEnd::Item => {
                self.flush();
                self.margins.pop();
            }
            TagEnd::List(_) => {
                self.lists.pop();
                if self.lists.is_empty() {
                    self.gap();
                }
            }
            TagEnd::CodeBlock => self.code_block(),
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => {
                self.styles.pop();
            }
            TagEnd::Link | TagEnd::Image => self.end_of_link(),
            TagEnd::TableCell => {
                if let Some(table) = &mut self.table {
                    let cell = std::mem::take(&mut table.cell);
                    if let Some(row) = table.rows.last_mut() {
                        row.push(cell);
                    }
                }
            }
            TagEnd::Table => self.table(),
            _ => {}
        }
    }

    /// A link shows where it leads, unless that is what it says.
    fn end_of_link(&mut self) {
        self.styles.pop();
        let Some(target) = self.link.take() else {
            return;
        };
        let said = self.line.last().is_some_and(|span| span.text == target);
        if !said {
            self.styles.push(DIM);
            self.text(&format!(" ({target})"));
            self.styles.pop();
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(code) = &mut self.code {
            code.push_str(text);
        } else if let Some(table) = &mut self.table {
            table.cell.push_str(text);
        } else {
            let style = self.styles.concat();
            let text = text.to_owned();
            self.line.push(Span { style, text });
        }
    }

    fn styled(&self, styles: &[&str], text: &str) -> String {
        match self.look.colours && !styles.is_empty() {
            true => format!("{}{text}{RESET}", styles.concat()),
            false => text.to_owned(),
        }
    }

    /// Columns between the margins.
    fn room(&self) -> usize {
        let margins = self.margins.iter();
        let taken: usize = margins.map(|margin| measure_text_width(&margin.rest)).sum();
        self.look.width.saturating_sub(taken).max(20)
    }

    /// A line of its own, with what stands to its left.
    fn put(&mut self, line: &str) {
        for margin in &mut self.margins {
            match margin.first.take() {
                Some(first) => self.out.push_str(&first),
                None => self.out.push_str(&margin.rest),
            }
        }
        self.out.push_str(line);
        while self.out.ends_with(' ') {
            self.out.pop();
        }
        self.out.push('\n');
    }

    /// An empty line after a block, but not in lists and quotes, which stay together.
    fn gap(&mut self) {
        if self.lists.is_empty() && self.margins.is_empty() {
            self.put("");
        }
    }

    fn flush(&mut self) {
        if !self.line.is_empty() {
            let spans = std::mem::take(&mut self.line);
            self.wrap(&spans);
        }
    }

    /// Puts words into lines.
    fn wrap(&mut self, spans: &[Span]) {
        let room = self.room();
        let (mut line, mut width) = (String::new(), 0);
        for span in spans {
            for word in span.text.split_inclusive(' ') {
                let bare = word.trim_end();
                let length = measure_text_width(bare);
                if width > 0 && width + length > room {
                    let whole = std::mem::take(&mut line);
                    self.put(&whole);
                    width = 0;
                }
                let styles = [span.style.as_str()];
                let styles = if span.style.is_empty() {
                    &[][..]
                } else {
                    &styles[..]
                };
                line.push_str(&self.styled(styles, bare));
                line.push_str(&word[bare.len()..]);
                width += measure_text_width(word);
            }
        }
        self.put(&line);
    }

    fn code_block(&mut self) {
        let code = self.code.take().unwrap_or_default();
        for line in code.trim_end_matches('\n').split('\n') {
            // As it is, also where it is wider than the terminal: it may be copied.
            let line = self.styled(&[CODE], line);
            self.put(&format!("    {line}"));
        }
        self.gap();
    }

    fn table(&mut self) {
        let Some(table) = self.table.take() else {
            return;
        };
        let columns = table.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width_of = |column: usize| {
            let cells = table.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| measure_text_width(cell))
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width_of).collect();
        for (number, row) in table.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).zip(&table.alignments);
            let cells: Vec<String> = cells
                .map(|((cell, width), alignment)| padded(cell, *width, *alignment))
                .collect();
            let line = cells.join("  ");
            let line = if number == 0 {
                self.styled(&[BOLD], &line)
            } else {
                line
            };
            self.put(&line);
            if number == 0 {
                let rules: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
                let rule = self.styled(&[DIM], &rules.join("  "));
                self.put(&rule);
            }
        }
        self.gap();
    }
}

fn padded(cell: &str, width: usize, alignment: Alignment) -> String {
    let space = width.saturating_sub(measure_text_width(cell));
    let left = match alignment {
        Alignment::Right => space,
        Alignment::Center => space / 2,
        Alignment::Left | Alignment::None => 0,
    };
    format!("{}{cell}{}", " ".repeat(left), " ".repeat(space - left))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look {
        width: 40,
        colours: false,
    };

    #[test]
    fn markdown_is_laid_out() {
        let text = "# Chairs\n\nThere are *four* chairs, **all** of them `red`, and a [shop](https://example.com) that sells more.\n\n1. First, sit down on one of the chairs that are there.\n2. Then\n   - rest\n   - stand up\n\n> A quote that is long enough to be wrapped.\n\n```rust\nfn main() {}\n```\n\n| chair | price |\n|---|--:|\n| red | 20 |\n| blue one | 5 |\n\n---\nThe end.";
        insta::assert_snapshot!(render(text, PLAIN), @r"
        Chairs

        There are four chairs, all of them red,
        and a shop (https://example.com) that
        sells more.

        1. First, sit down on one of the chairs
           that are there.
        2. Then
           • rest
           • stand up

        │ A quote that is long enough to be
        │ wrapped.

        rust
            fn main() {}

        chair     price
        ────────  ─────
        red          20
        blue one      5

        ────────────────────────────────────────

        The end.
        ");
    }

    #[test]
    fn emphasis_is_shown_by_style() {
        let look = Look {
            colours: true,
            ..PLAIN
        };
        let shown = render("So **bold** and `code`.", look);
        assert_eq!(shown, "So \x1b[1mbold\x1b[0m and \x1b[36mcode\x1b[0m.\n\n");
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let shown = render("a\x1b]0;title\x07b \x1b[2J", PLAIN);
        assert!(
            !shown.contains('\x1b') && !shown.contains('\x07'),
            "{shown:?}"
        );
    }
}
