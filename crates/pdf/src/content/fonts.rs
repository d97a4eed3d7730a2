//! Fonts of a document: what each code means, how wide it is, what the font looks like.
//!
//! Every code is looked up once per font and kept, because mapping it to Unicode goes through
//! several tables. One `Fonts` belongs to one thread.

use super::glyph::Text;
use super::text;
use hayro_font::{CMapResolverFn, Font, FontCache, FontGlyph, FontQuery, FontResolverFn, GlyphId};
use hayro_syntax::object::Rect;
use hayro_syntax::object::{Array, Dict, Name, ObjectIdentifier};
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::Hasher;
use std::sync::Arc;

/// How a font looks, as far as grouping and headings need it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Face {
    pub(crate) bold: bool,
    pub(crate) monospaced: bool,
    /// Height above the baseline, as a share of the font size.
    pub(crate) ascent: f32,
    /// Depth below the baseline, positive, as a share of the font size.
    pub(crate) descent: f32,
    /// Real size of the letters for a nominal size of 1 (other than 1 for Type 3 fonts only).
    pub(crate) scale: f32,
}

impl Default for Face {
    fn default() -> Self {
        Self {
            bold: false,
            monospaced: false,
            ascent: 0.9,
            descent: 0.22,
            scale: 1.0,
        }
    }
}

/// What one code of a font stands for.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) text: Text,
    /// Advance along x and y for a font size of 1.
    pub(crate) advance: (f64, f64),
}

/// A font that has been loaded, with the codes met so far.
pub(crate) struct LoadedFont<'a> {
    font: Font<'a>,
    pub(crate) face: Face,
    pub(crate) vertical: bool,
    simple: Vec<Option<Code>>,
    composite: FxHashMap<u32, Code>,
}

impl LoadedFont<'_> {
    /// The code at `offset` of `bytes` and how many bytes it takes.
    pub(crate) fn read(&self, bytes: &[u8], offset: usize) -> (u32, usize) {
        let (code, length) = self.font.read_code(bytes, offset);
        (code, length.max(1))
    }

    pub(crate) fn code(&mut self, code: u32) -> &Code {
        let known = if code < 256 {
            self.simple.get(code as usize).is_some_and(Option::is_some)
        } else {
            self.composite.contains_key(&code)
        };
        if !known {
            let found = look_up(&self.font, code);
            if let Some(slot) = self.simple.get_mut(code as usize) {
                *slot = Some(found);
            } else {
                self.composite.insert(code, found);
            }
        }
        const NOTHING: &Code = &Code {
            text: Text::None,
            advance: (0.0, 0.0),
        };
        let kept = self.simple.get(code as usize).and_then(Option::as_ref);
        kept.or_else(|| self.composite.get(&code))
            .unwrap_or(NOTHING)
    }
}

fn look_up(font: &Font<'_>, code: u32) -> Code {
    let unicode = match font.glyph(font.map_code(code), code) {
        FontGlyph::Outline(glyph) => glyph.as_unicode(),
        FontGlyph::Type3(glyph) => glyph.as_unicode(),
    };
    let advance = font.code_advance(code);
    let finite = |value: f64| {
        if value.is_finite() {
            value / 1000.0
        } else {
            0.0
        }
    };
    Code {
        text: text::clean(unicode),
        advance: (finite(advance.x), finite(advance.y)),
    }
}

/// All fonts met so far.
pub(crate) struct Fonts<'a> {
    cache: FontCache<'a>,
    font_resolver: FontResolverFn,
    cmap_resolver: CMapResolverFn,
    loaded: Vec<LoadedFont<'a>>,
    by_object: FxHashMap<ObjectIdentifier, Option<usize>>,
    by_bytes: FxHashMap<u64, Option<usize>>,
}

impl<'a> Fonts<'a> {
    pub(crate) fn new() -> Self {
        Self {
            cache: FontCache::new(),
            font_resolver: Arc::new(|query| {
                Some(match query {
                    FontQuery::Standard(standard) => standard.get_font_data(),
                    FontQuery::Fallback(wanted) => wanted.pick_standard_font().get_font_data(),
                })
            }),
            cmap_resolver: Arc::new(hayro_cmap::load_embedded),
            loaded: Vec::new(),
            by_object: FxHashMap::default(),
            by_bytes: FxHashMap::default(),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<&LoadedFont<'a>> {
        self.loaded.get(index)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut LoadedFont<'a>> {
        self.loaded.get_mut(index)
    }

    /// The font called `name` in a font resource dictionary.
    pub(crate) fn find(&mut self, resources: &Dict<'a>, name: &Name<'_>) -> Option<usize> {
        if let Some(id) = resources.get_ref(name).map(ObjectIdentifier::from) {
            if let Some(known) = self.by_object.get(&id) {
                return *known;
            }
            let index = resources
                .get::<Dict<'a>>(name)
                .and_then(|dict| self.load(&dict));
            self.by_object.insert(id, index);
            return index;
        }
        self.add(&resources.get::<Dict<'a>>(name)?)
    }

    /// A font that is written where it is used, so has no number of its own.
    pub(crate) fn add(&mut self, dict: &Dict<'a>) -> Option<usize> {
        let mut hasher = FxHasher::default();
        hasher.write(dict.data());
        let key = hasher.finish();
        if let Some(known) = self.by_bytes.get(&key) {
            return *known;
        }
        let index = self.load(dict);
        self.by_bytes.insert(key, index);
        index
    }

    fn load(&mut self, dict: &Dict<'a>) -> Option<usize> {
        let font = self
            .cache
            .font(dict, &self.font_resolver, &self.cmap_resolver)?;
        let vertical = !font.is_horizontal();
        let mut loaded = LoadedFont {
            font,
            face: face(dict),
            vertical,
            simple: vec![None; 256],
            composite: FxHashMap::default(),
        };
        let is_type3 = dict
            .get::<Name<'_>>("Subtype")
            .is_some_and(|kind| kind.as_str() == "Type3");
        if is_type3 && (0..256).all(|code| loaded.code(code).text == Text::None) {
            name_by_code(&mut loaded);
        }
        loaded.face.monospaced |= has_one_width(&mut loaded);
        self.loaded.push(loaded);
        Some(self.loaded.len() - 1)
    }
}

/// Bitmap fonts of dvips name their glyphs by nothing but numbers; their codes are those of TeX's
/// text fonts.
fn name_by_code(font: &mut LoadedFont<'_>) {
    for code in 0..=255u8 {
        if font.font.map_code(u32::from(code)) == GlyphId::NOTDEF {
            continue;
        }
        if let Some(Some(known)) = font.simple.get_mut(usize::from(code)) {
            known.text = text::tex_letter(code);
        }
    }
}

/// Letters that differ in every proportional font have the same width.
fn has_one_width(font: &mut LoadedFont<'_>) -> bool {
    let mut widths = Vec::new();
    for code in b'!'..=b'z' {
        let known = font.code(u32::from(code));
        if matches!(known.text, Text::One(letter) if letter.is_ascii_alphanumeric())
            && known.advance.0 > 0.0
        {
            widths.push(known.advance.0);
        }
    }
    let Some(first) = widths.first() else {
        return false;
    };
    widths.len() >= 6 && widths.iter().all(|width| (width - first).abs() < 0.002)
}

fn face(dict: &Dict<'_>) -> Face {
    let mut face = Face::default();
    let descendant = dict
        .get::<Array<'_>>("DescendantFonts")
        .and_then(|fonts| fonts.iter::<Dict<'_>>().next());
    let described = descendant.as_ref().unwrap_or(dict);
    let descriptor = described
        .get::<Dict<'_>>("FontDescriptor")
        .unwrap_or_default();
    let name = dict
        .get::<Name<'_>>("BaseFont")
        .map(|name| name.as_str().to_ascii_lowercase())
        .unwrap_or_default();
    let flags = descriptor.get::<i32>("Flags").unwrap_or(0);
    let weight = descriptor.get::<f32>("FontWeight").unwrap_or(400.0);
    face.bold = weight >= 600.0 || flags & (1 << 18) != 0 || names_bold(&name);
    face.monospaced = flags & 1 != 0
        || ["mono", "courier", "typewriter", "consol"]
            .iter()
            .any(|part| name.contains(part));
    if dict
        .get::<Name<'_>>("Subtype")
        .is_some_and(|kind| kind.as_str() == "Type3")
    {
        measure_type3(dict, &mut face);
        return face;
    }
    let ascent = descriptor.get::<f32>("Ascent").unwrap_or(0.0) / 1000.0;
    let descent = descriptor.get::<f32>("Descent").unwrap_or(0.0).abs() / 1000.0;
    if (0.4..=1.1).contains(&ascent) {
        face.ascent = ascent;
    }
    if (0.05..=0.5).contains(&descent) {
        face.descent = descent;
    }
    face
}

/// Bold by its name: the words foundries use, and the short names of TeX's Computer Modern.
fn names_bold(name: &str) -> bool {
    let name = name.split_once('+').map_or(name, |(_, rest)| rest);
    let words = ["bold", "black", "heavy", "demi", "-bd", "-medi"];
    let computer_modern = [
        "cmb", "cmssbx", "sfbx", "ecbx", "lmbx", "sfsx", "sfrb", "ptmb", "phvb", "pncb", "pplb",
    ];
    words.iter().any(|word| name.contains(word))
        || computer_modern.iter().any(|start| name.starts_with(start))
}

/// A Type 3 font's size is whatever its matrix and box make of it.
fn measure_type3(dict: &Dict<'_>, face: &mut Face) {
    let matrix = dict
        .get::<[f32; 6]>("FontMatrix")
        .unwrap_or([0.001, 0.0, 0.0, 0.001, 0.0, 0.0]);
    let Some(bounds) = dict.get::<Rect>("FontBBox") else {
        return;
    };
    let top = bounds.y1 as f32 * matrix[3].abs();
    let bottom = -bounds.y0 as f32 * matrix[3].abs();
    let height = top + bottom;
    if !height.is_finite() || height <= 0.0 {
        return;
    }
    // The box of a text font reaches from the deepest to the highest letter: some 1.2 of its size.
    let size = height / 1.2;
    face.scale = size;
    face.ascent = (top / size).clamp(0.4, 1.1);
    face.descent = (bottom / size).clamp(0.05, 0.5);
}
