//! From a page's content streams to glyphs and ruling lines at their places on the displayed page.
//!
//! Start at [`interpreter::draw`]. Only what places text is interpreted: colours, clips, images and
//! shadings are passed over, which is what makes reading several times faster than drawing.
//! Resources and parsing are `hayro-syntax`, codes and widths `hayro-font`.
//!
//! Does not group glyphs: that is `layout`.

pub(crate) mod fonts;
pub(crate) mod glyph;
pub(crate) mod interpreter;
pub(crate) mod matrix;
pub(crate) mod path;
mod placing;
mod streams;
pub(crate) mod strings;
pub(crate) mod text;
pub(crate) mod visibility;
