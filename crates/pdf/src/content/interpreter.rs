//! Runs the operators of a page that place text or draw straight lines.
//! PDF 32000-1, 8.4 (graphics state), 9.3 and 9.4 (text), 8.10 (forms), 14.9.4 (replacement text).

use super::fonts::Fonts;
use super::glyph::{Drawn, Text};
use super::matrix::Matrix;
use super::path::Path;
use super::placing::{Placed, spread};
use super::streams;
use super::strings::text_string;
use super::visibility::Layers;
use hayro_syntax::content::TypedIter;
use hayro_syntax::content::ops::TypedInstruction;
use hayro_syntax::object::{Array, Dict, Name, Object, Stream};
use hayro_syntax::page::Page;

/// Forms in forms deeper than this are not followed.
const MAX_DEPTH: usize = 12;
/// Saved graphics states on a page.
const MAX_STATES: usize = 1_024;
/// Operators run for a page, forms included.
const MAX_OPERATORS: usize = 4_000_000;
/// Letters kept of a page.
const MAX_GLYPHS: usize = 250_000;
/// Bytes unpacked for a page, a form once for each time it is drawn.
const MAX_UNPACKED: usize = 256 << 20;

/// Shorter strings are not taken for letter-spaced text,
const MIN_TRACKED: usize = 4;
/// unless the space is less than this share of the font size.
const MAX_TRACKING: f64 = 0.15;

/// The part of the graphics state that matters for text.
#[derive(Debug, Clone, Copy)]
struct State {
    matrix: Matrix,
    letter_space: f64,
    word_space: f64,
    stretch: f64,
    leading: f64,
    font: Option<usize>,
    size: f64,
    rise: f64,
}

/// One open marked-content sequence.
#[derive(Debug)]
struct Mark {
    hides: bool,
    /// Replacement text, and the first glyph it replaces.
    replacement: Option<(String, usize)>,
}

struct Interpreter<'f, 'a> {
    fonts: &'f mut Fonts<'a>,
    layers: &'f Layers,
    state: State,
    saved: Vec<State>,
    text_matrix: Matrix,
    line_matrix: Matrix,
    marks: Vec<Mark>,
    path: Path,
    drawn: Drawn,
    operators: usize,
    unpacked: usize,
}

/// Everything a page draws, its form fields and other visible annotations included.
pub(crate) fn draw<'a>(
    page: &Page<'a>,
    to_display: Matrix,
    fonts: &mut Fonts<'a>,
    layers: &Layers,
) -> Drawn {
    let state = State {
        matrix: to_display,
        letter_space: 0.0,
        word_space: 0.0,
        stretch: 1.0,
        leading: 0.0,
        font: None,
        size: 0.0,
        rise: 0.0,
    };
    let mut interpreter = Interpreter {
        fonts,
        layers,
        state,
        saved: Vec::new(),
        text_matrix: Matrix::IDENTITY,
        line_matrix: Matrix::IDENTITY,
        marks: Vec::new(),
        path: Path::default(),
        drawn: Drawn::default(),
        operators: 0,
        unpacked: 0,
    };
    let resources = Resources {
        fonts: page.resources().fonts.clone(),
        forms: page.resources().x_objects.clone(),
        states: page.resources().ext_g_states.clone(),
        properties: page.resources().properties.clone(),
    };
    if let Some(content) = interpreter.page_content(page) {
        interpreter.run(&content, &resources, 0);
    }
    interpreter.state = state;
    interpreter.saved.clear();
    interpreter.marks.clear();
    interpreter.annotations(page, &resources);
    interpreter.drawn
}

/// The resource dictionaries that are looked into.
struct Resources<'a> {
    fonts: Dict<'a>,
    forms: Dict<'a>,
    states: Dict<'a>,
    properties: Dict<'a>,
}

impl<'a> Resources<'a> {
    fn new(dict: &Dict<'a>) -> Self {
        let part = |key: &str| dict.get::<Dict<'a>>(key).unwrap_or_default();
        Self {
            fonts: part("Font"),
            forms: part("XObject"),
            states: part("ExtGState"),
            properties: part("Properties"),
        }
    }
}

impl<'a> Interpreter<'_, 'a> {
    /// The page's content streams as one. Not cached anywhere, so that memory stays bounded.
    fn page_content(&mut self, page: &Page<'a>) -> Option<Vec<u8>> {
        if let Some(stream) = page.raw().get::<Stream<'a>>("Contents") {
            return self.unpack(&stream);
        }
        let mut content = Vec::new();
        for stream in page
            .raw()
            .get::<Array<'a>>("Contents")?
            .iter::<Stream<'a>>()
        {
            if let Some(part) = self.unpack(&stream) {
                content.extend_from_slice(&part);
                content.push(b'\n');
            }
        }
        Some(content)
    }

    fn unpack(&mut self, stream: &Stream<'a>) -> Option<Vec<u8>> {
        let room = MAX_UNPACKED.saturating_sub(self.unpacked);
        let content = streams::unpack(stream, room);
        self.unpacked += content.as_ref().map_or(0, Vec::len);
        self.drawn.cut_off |= content.is_none();
        content
    }

    fn run(&mut self, content: &[u8], resources: &Resources<'a>, depth: usize) {
        let floor = self.saved.len();
        let mut operators = TypedIter::new(content);
        while let Some(operator) = operators.next() {
            self.operators += 1;
            if self.operators > MAX_OPERATORS || self.drawn.glyphs.len() > MAX_GLYPHS {
                self.drawn.cut_off = true;
                break;
            }
            match operator {
                TypedInstruction::SaveState(_) if self.saved.len() < MAX_STATES => {
                    self.saved.push(self.state)
                }
                TypedInstruction::RestoreState(_) if self.saved.len() > floor => {
                    self.state = self.saved.pop().unwrap_or(self.state);
                }
                TypedInstruction::Transform(m) => {
                    let inner =
                        Matrix([m.0, m.1, m.2, m.3, m.4, m.5].map(|number| number.as_f64()));
                    self.state.matrix = inner.then(&self.state.matrix);
                }
                TypedInstruction::SetGraphicsState(named) => {
                    self.graphics_state(resources, named.0)
                }
                TypedInstruction::XObject(named) => self.form(resources, named.0, depth),
                other => self.text_operator(other, resources),
            }
        }
        self.saved.truncate(floor);
    }

    fn text_operator(&mut self, operator: TypedInstruction<'_, '_>, resources: &Resources<'a>) {
        match operator {
            TypedInstruction::BeginText(_) => {
                self.text_matrix = Matrix::IDENTITY;
                self.line_matrix = Matrix::IDENTITY;
            }
            TypedInstruction::CharacterSpacing(space) => self.state.letter_space = space.0.as_f64(),
            TypedInstruction::WordSpacing(space) => self.state.word_space = space.0.as_f64(),
            TypedInstruction::HorizontalScaling(percent) => {
                self.state.stretch = percent.0.as_f64() / 100.0
            }
            TypedInstruction::TextLeading(leading) => self.state.leading = leading.0.as_f64(),
            TypedInstruction::TextRise(rise) => self.state.rise = rise.0.as_f64(),
            TypedInstruction::TextFont(font) => {
                self.state.font = self.fonts.find(&resources.fonts, font.0);
                self.state.size = font.1.as_f64();
            }
            TypedInstruction::NextLine(by) => self.next_line(by.0.as_f64(), by.1.as_f64()),
            TypedInstruction::NextLineAndSetLeading(by) => {
                self.state.leading = -by.1.as_f64();
                self.next_line(by.0.as_f64(), by.1.as_f64());
            }
            TypedInstruction::SetTextMatrix(m) => {
                self.text_matrix =
                    Matrix([m.0, m.1, m.2, m.3, m.4, m.5].map(|number| number.as_f64()));
                self.line_matrix = self.text_matrix;
            }
            TypedInstruction::NextLineUsingLeading(_) => self.next_line(0.0, -self.state.leading),
            TypedInstruction::ShowText(shown) => self.show_string(shown.0.as_bytes()),
            TypedInstruction::NextLineAndShowText(shown) => {
                self.next_line(0.0, -self.state.leading);
                self.show_string(shown.0.as_bytes());
            }
            TypedInstruction::ShowTextWithParameters(shown) => {
                self.state.word_space = shown.0.as_f64();
                self.state.letter_space = shown.1.as_f64();
                self.next_line(0.0, -self.state.leading);
                self.show_string(shown.2.as_bytes());
            }
            TypedInstruction::ShowTexts(shown) => self.show_adjusted(shown.0),
            TypedInstruction::BeginMarkedContent(_) => self.marks.push(Mark {
                hides: false,
                replacement: None,
            }),
            TypedInstruction::BeginMarkedContentWithProperties(begun) => {
                self.begin_mark(resources, begun.1)
            }
            TypedInstruction::EndMarkedContent(_) => self.end_mark(),
            other => self.path_operator(other),
        }
    }

    fn path_operator(&mut self, operator: TypedInstruction<'_, '_>) {
        let matrix = &self.state.matrix;
        match operator {
            TypedInstruction::MoveTo(to) => self.path.move_to(matrix, to.0.as_f64(), to.1.as_f64()),
            TypedInstruction::LineTo(to) => self.path.line_to(matrix, to.0.as_f64(), to.1.as_f64()),
            TypedInstruction::CubicTo(to) => {
                self.path.curve_to(matrix, to.4.as_f64(), to.5.as_f64())
            }
            TypedInstruction::CubicStartTo(to) => {
                self.path.curve_to(matrix, to.2.as_f64(), to.3.as_f64())
            }
            TypedInstruction::CubicEndTo(to) => {
                self.path.curve_to(matrix, to.2.as_f64(), to.3.as_f64())
            }
            TypedInstruction::ClosePath(_) => self.path.close(),
            TypedInstruction::RectPath(r) => {
                self.path
                    .rectangle(matrix, [r.0, r.1, r.2, r.3].map(|number| number.as_f64()));
            }
            TypedInstruction::StrokePath(_) => self.finish_path(true, false),
            TypedInstruction::CloseAndStrokePath(_) => {
                self.path.close();
                self.finish_path(true, false);
            }
            TypedInstruction::FillPathNonZero(_)
            | TypedInstruction::FillPathNonZeroCompatibility(_)
            | TypedInstruction::FillPathEvenOdd(_) => self.finish_path(false, true),
            TypedInstruction::FillAndStrokeNonZero(_)
            | TypedInstruction::FillAndStrokeEvenOdd(_) => {
                self.finish_path(true, true);
            }
            TypedInstruction::CloseFillAndStrokeNonZero(_)
            | TypedInstruction::CloseFillAndStrokeEvenOdd(_) => {
                self.path.close();
                self.finish_path(true, true);
            }
            TypedInstruction::EndPath(_) => self.finish_path(false, false),
            // Colours, clips, line styles, shadings and inline images do not place text.
            _ => {}
        }
    }

    fn finish_path(&mut self, stroked: bool, filled: bool) {
        self.path.finish(stroked, filled, &mut self.drawn.rules);
    }

    fn next_line(&mut self, x: f64, y: f64) {
        self.line_matrix = Matrix::translation(x, y).then(&self.line_matrix);
        self.text_matrix = self.line_matrix;
    }

    fn graphics_state(&mut self, resources: &Resources<'a>, name: &Name<'_>) {
        let Some(state) = resources.states.get::<Dict<'a>>(name) else {
            return;
        };
        let Some(font) = state.get::<Array<'a>>("Font") else {
            return;
        };
        let mut parts = font.flex_iter();
        if let (Some(dict), Some(size)) = (parts.next::<Dict<'a>>(), parts.next::<f32>()) {
            self.state.font = self.fonts.add(&dict);
            self.state.size = f64::from(size);
        }
    }

    fn form(&mut self, resources: &Resources<'a>, name: &Name<'_>, depth: usize) {
        if depth >= MAX_DEPTH || self.is_hidden() {
            return;
        }
        let Some(stream) = resources.forms.get::<Stream<'a>>(name) else {
            return;
        };
        let is_form = stream
            .dict()
            .get::<Name<'_>>("Subtype")
            .is_some_and(|kind| kind.as_str() == "Form");
        if is_form && self.layers.shows(stream.dict(), b"OC") {
            self.run_form(&stream, Some(resources), depth + 1);
        }
    }

    fn run_form(&mut self, stream: &Stream<'a>, outer: Option<&Resources<'a>>, depth: usize) {
        let Some(content) = self.unpack(stream) else {
            return;
        };
        let own = stream
            .dict()
            .get::<Dict<'a>>("Resources")
            .map(|dict| Resources::new(&dict));
        let Some(resources) = own.as_ref().or(outer) else {
            return;
        };
        let kept = (
            self.state,
            self.text_matrix,
            self.line_matrix,
            self.marks.len(),
        );
        if let Some(matrix) = stream.dict().get::<[f64; 6]>("Matrix") {
            self.state.matrix = Matrix(matrix).then(&self.state.matrix);
        }
        self.run(&content, resources, depth);
        (self.state, self.text_matrix, self.line_matrix) = (kept.0, kept.1, kept.2);
        self.marks.truncate(kept.3);
    }

    /// Form fields and other annotations that show text of their own. PDF 32000-1, 12.5.5.
    fn annotations(&mut self, page: &Page<'a>, resources: &Resources<'a>) {
        let Some(annotations) = page.raw().get::<Array<'a>>("Annots") else {
            return;
        };
        for annotation in annotations.iter::<Dict<'a>>() {
            let flags = annotation.get::<i32>("F").unwrap_or(0);
            let hidden = flags & (1 << 1) != 0 || flags & (1 << 5) != 0;
            let is_popup = annotation
                .get::<Name<'_>>("Subtype")
                .is_some_and(|kind| kind.as_str() == "Popup");
            if hidden || is_popup || !self.layers.shows(&annotation, b"OC") {
                continue;
            }
            if let Some(stream) = appearance(&annotation) {
                self.appearance(&annotation, &stream, resources);
            }
        }
    }

    fn appearance(
        &mut self,
        annotation: &Dict<'a>,
        stream: &Stream<'a>,
        resources: &Resources<'a>,
    ) {
        let Some(place) = annotation.get::<hayro_syntax::object::Rect>("Rect") else {
            return;
        };
        let Some([x0, y0, x1, y1]) = stream.dict().get::<[f64; 4]>("BBox") else {
            return;
        };
        let inner = Matrix(
            stream
                .dict()
                .get::<[f64; 6]>("Matrix")
                .unwrap_or(Matrix::IDENTITY.0),
        );
        let corners = [(x0, y0), (x1, y0), (x0, y1), (x1, y1)].map(|(x, y)| inner.point(x, y));
        let low = corners.iter().fold((f64::MAX, f64::MAX), |low, at| {
            (low.0.min(at.0), low.1.min(at.1))
        });
        let high = corners.iter().fold((f64::MIN, f64::MIN), |high, at| {
            (high.0.max(at.0), high.1.max(at.1))
        });
        let scale_x = (place.x1 - place.x0) / (high.0 - low.0);
        let scale_y = (place.y1 - place.y0) / (high.1 - low.1);
        if !(scale_x.is_finite() && scale_y.is_finite()) {
            return;
        }
        let fit = Matrix([
            scale_x,
            0.0,
            0.0,
            scale_y,
            place.x0 - scale_x * low.0,
            place.y0 - scale_y * low.1,
        ]);
        let kept = self.state;
        self.state.matrix = fit.then(&kept.matrix);
        self.run_form(stream, Some(resources), 1);
        self.state = kept;
    }

    fn begin_mark(&mut self, resources: &Resources<'a>, properties: &Object<'_>) {
        let mut mark = Mark {
            hides: false,
            replacement: None,
        };
        let named = match properties {
            Object::Name(name) => {
                mark.hides = !self.layers.shows(&resources.properties, name.as_ref());
                resources.properties.get::<Dict<'a>>(name)
            }
            _ => None,
        };
        let inline = match properties {
            Object::Dict(dict) => replacement(dict),
            _ => None,
        };
        let words = named.as_ref().and_then(replacement).or(inline);
        mark.replacement = words.map(|words| (words, self.drawn.glyphs.len()));
        self.marks.push(mark);
    }

    fn end_mark(&mut self) {
        let Some(Mark {
            replacement: Some((words, start)),
            ..
        }) = self.marks.pop()
        else {
            return;
        };
        let Some(replaced) = self.drawn.glyphs.get(start..) else {
            return;
        };
        let Some(first) = replaced.first() else {
            return;
        };
        let one_line = replaced.iter().all(|glyph| {
            glyph.direction == first.direction
                && (glyph.baseline - first.baseline).abs() < 0.5 * first.size
        });
        if !one_line {
            return;
        }
        let glyphs = spread(&words, replaced, first);
        self.drawn.glyphs.truncate(start);
        self.drawn.glyphs.extend(glyphs);
    }

    fn is_hidden(&self) -> bool {
        self.marks.iter().any(|mark| mark.hides)
    }

    fn show_adjusted(&mut self, parts: &Array<'_>) {
        let codes = parts
            .iter::<hayro_syntax::object::String<'_>>()
            .map(|shown| shown.as_bytes().len())
            .sum();
        for part in parts.iter::<Object<'_>>() {
            match part {
                Object::String(shown) => self.show(shown.as_bytes(), codes),
                Object::Number(by) => {
                    let by = -by.as_f64() / 1000.0 * self.state.size;
                    let vertical = self
                        .state
                        .font
                        .and_then(|font| self.fonts.get(font))
                        .is_some_and(|font| font.vertical);
                    let (x, y) = if vertical {
                        (0.0, by)
                    } else {
                        (by * self.state.stretch, 0.0)
                    };
                    self.text_matrix = Matrix::translation(x, y).then(&self.text_matrix);
                }
                _ => {}
            }
        }
    }

    fn show_string(&mut self, bytes: &[u8]) {
        self.show(bytes, bytes.len());
    }

    /// Shows `bytes`, a part of a string of `codes` codes.
    fn show(&mut self, bytes: &[u8], codes: usize) {
        let state = self.state;
        // Some writers encode the gap between two words as space after a single letter.
        let is_gap =
            codes < MIN_TRACKED && state.letter_space.abs() > MAX_TRACKING * state.size.abs();
        let tracked = if is_gap {
            0.0
        } else {
            state.letter_space * state.stretch
        };
        let hidden = self.is_hidden();
        let Some(font) = state.font.and_then(|font| self.fonts.get_mut(font)) else {
            return;
        };
        let scale = Matrix([
            state.size * state.stretch,
            0.0,
            0.0,
            state.size,
            0.0,
            state.rise,
        ]);
        let mut offset = 0;
        while offset < bytes.len() {
            let (number, length) = font.read(bytes, offset);
            offset += length;
            let (face, vertical) = (font.face, font.vertical);
            let code = font.code(number);
            let words = if length == 1 && number == 32 {
                state.word_space
            } else {
                0.0
            };
            let extra = state.letter_space + words;
            if !hidden && code.text != Text::None {
                let to_page = scale.then(&self.text_matrix).then(&state.matrix);
                let tracking = self.text_matrix.then(&state.matrix).vector(tracked, 0.0);
                let placed = Placed {
                    to_page,
                    advance: code.advance,
                    tracking,
                    vertical,
                };
                self.drawn
                    .glyphs
                    .extend(placed.glyph(code.text.clone(), face));
            }
            let (x, y) = if vertical {
                (0.0, code.advance.1 * state.size + extra)
            } else {
                ((code.advance.0 * state.size + extra) * state.stretch, 0.0)
            };
            self.text_matrix = Matrix::translation(x, y).then(&self.text_matrix);
        }
    }
}

fn replacement(properties: &Dict<'_>) -> Option<String> {
    let actual = properties.get::<hayro_syntax::object::String<'_>>("ActualText")?;
    Some(text_string(actual.as_bytes()))
}

fn appearance<'a>(annotation: &Dict<'a>) -> Option<Stream<'a>> {
    match annotation.get::<Dict<'a>>("AP")?.get::<Object<'a>>("N")? {
        Object::Stream(stream) => Some(stream),
        Object::Dict(states) => states.get::<Stream<'a>>(annotation.get::<Name<'a>>("AS")?),
        _ => None,
    }
}
