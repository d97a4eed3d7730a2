//! Opens a file and reads its pages, several at a time.

use crate::content::fonts::Fonts;
use crate::content::glyph::Drawn;
use crate::content::interpreter::draw;
use crate::content::matrix::Matrix;
use crate::content::strings::text_string;
use crate::content::visibility::Layers;
use crate::structure::{self, DraftPage};
use crate::{Error, Pdf, layout};
use hayro_syntax::object::{Dict, Rect};
use hayro_syntax::page::{Page, Rotation};
use hayro_syntax::{DecryptionError, LoadPdfError};
use rayon::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Limits for a file that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Longest file, in bytes.
    pub max_bytes: usize,
    /// Most pages.
    pub max_pages: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_bytes: 512 << 20,
            max_pages: 50_000,
        }
    }
}

/// US Letter, for pages whose boxes make no sense.
const FALLBACK_PAGE: [f64; 4] = [0.0, 0.0, 612.0, 792.0];
/// A thread reads runs of at least this many pages, so that fonts are loaded once per run.
const MIN_RUN: usize = 8;

/// Reads a whole file.
///
/// # Errors
/// [`Error::NotPdf`], [`Error::Encrypted`] (a password is needed; files with an empty password are
/// read), [`Error::Broken`], [`Error::NoText`], [`Error::TooLarge`]. A page that cannot be read to
/// its end is no error; it is listed in [`Pdf::damaged`].
pub fn read(bytes: &[u8], options: &Options) -> Result<Pdf, Error> {
    check_size(bytes.len(), options.max_bytes, "bytes")?;
    let head = bytes.get(..bytes.len().min(1024)).unwrap_or_default();
    if !head.windows(5).any(|window| window == b"%PDF-") {
        return Err(Error::NotPdf);
    }
    let broken = || Error::Broken {
        reason: "its structure breaks the parser".to_owned(),
    };
    catch_unwind(AssertUnwindSafe(|| read_checked(bytes, options)))
        .unwrap_or_else(|_| Err(broken()))
}

fn read_checked(bytes: &[u8], options: &Options) -> Result<Pdf, Error> {
    let file = hayro_syntax::Pdf::new(bytes.to_vec()).map_err(|error| match error {
        LoadPdfError::Decryption(error) => Error::Encrypted {
            reason: reason(error),
        },
        LoadPdfError::Invalid => Error::Broken {
            reason: "no catalogue or page tree was found".to_owned(),
        },
    })?;
    let count = file.pages().len();
    check_size(count, options.max_pages, "pages")?;
    if count == 0 {
        return Err(Error::Broken {
            reason: "it has no pages".to_owned(),
        });
    }
    let catalog = file
        .xref()
        .get::<Dict<'_>>(file.xref().root_id())
        .unwrap_or_default();
    let layers = Layers::new(&catalog);
    let runs = (rayon::current_num_threads() * 4).max(1);
    let pages: Vec<DraftPage> = file
        .pages()
        .par_chunks(count.div_ceil(runs).max(MIN_RUN))
        .enumerate()
        .flat_map_iter(|(run, pages)| {
            let first = run * count.div_ceil(runs).max(MIN_RUN);
            read_run(pages, first, &layers)
        })
        .collect();
    if pages.iter().all(|page| page.blocks.is_empty()) {
        return Err(Error::NoText { pages: count });
    }
    let title = file.metadata().title.as_deref().map(text_string);
    Ok(structure::build(
        pages,
        &structure::outline(&catalog),
        title,
    ))
}

fn check_size(actual: usize, limit: usize, unit: &'static str) -> Result<(), Error> {
    if actual > limit {
        Err(Error::TooLarge {
            actual,
            limit,
            unit,
        })
    } else {
        Ok(())
    }
}

fn reason(error: DecryptionError) -> &'static str {
    match error {
        DecryptionError::MissingIDEntry => "its file identifier is missing",
        DecryptionError::PasswordProtected => "it needs a password",
        DecryptionError::InvalidEncryption => "its encryption dictionary is invalid",
        DecryptionError::UnsupportedAlgorithm => "its encryption is not supported",
    }
}

/// Reads neighbouring pages with one set of fonts.
fn read_run(pages: &[Page<'_>], first: usize, layers: &Layers) -> Vec<DraftPage> {
    let mut fonts = Fonts::new();
    let mut drafts = Vec::with_capacity(pages.len());
    for (index, page) in pages.iter().enumerate() {
        let number = u32::try_from(first + index + 1).unwrap_or(u32::MAX);
        let (to_display, width, height) = geometry(page);
        let drawn = catch_unwind(AssertUnwindSafe(|| {
            draw(page, to_display, &mut fonts, layers)
        }));
        let drawn = drawn.unwrap_or_else(|_| {
            // The fonts may be half changed.
            fonts = Fonts::new();
            Drawn {
                cut_off: true,
                ..Drawn::default()
            }
        });
        let blocks = layout::blocks(&drawn, width, height);
        drafts.push(DraftPage {
            number,
            width,
            height,
            blocks,
            damaged: drawn.cut_off,
        });
    }
    drafts
}

/// The map from user space to points of the displayed page, and that page's width and height.
fn geometry(page: &Page<'_>) -> (Matrix, f32, f32) {
    let [x0, y0, x1, y1] = visible_box(page);
    let (width, height) = (x1 - x0, y1 - y0);
    let shift = Matrix::translation(-x0, -y0);
    let (turn, width, height) = match page.rotation() {
        Rotation::None => (Matrix([1.0, 0.0, 0.0, -1.0, 0.0, height]), width, height),
        Rotation::Horizontal => (Matrix([0.0, 1.0, 1.0, 0.0, 0.0, 0.0]), height, width),
        Rotation::Flipped => (Matrix([-1.0, 0.0, 0.0, 1.0, width, 0.0]), width, height),
        Rotation::FlippedHorizontal => {
            (Matrix([0.0, -1.0, -1.0, 0.0, height, width]), height, width)
        }
    };
    (shift.then(&turn), width as f32, height as f32)
}

/// The crop box inside the media box, whichever of them makes sense.
fn visible_box(page: &Page<'_>) -> [f64; 4] {
    let (media, crop) = (corners(page.media_box()), corners(page.crop_box()));
    let both = [
        media[0].max(crop[0]),
        media[1].max(crop[1]),
        media[2].min(crop[2]),
        media[3].min(crop[3]),
    ];
    let sane = |area: &[f64; 4]| {
        let fits = |length: f64| (1.0..1e6).contains(&length);
        fits(area[2] - area[0]) && fits(area[3] - area[1])
    };
    [both, media]
        .into_iter()
        .find(sane)
        .unwrap_or(FALLBACK_PAGE)
}

fn corners(area: Rect) -> [f64; 4] {
    [
        area.x0.min(area.x1),
        area.y0.min(area.y1),
        area.x0.max(area.x1),
        area.y0.max(area.y1),
    ]
}
