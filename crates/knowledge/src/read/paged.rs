//! PDF files with a text layer.

use super::ReadError;
use super::builder::Builder;
use crate::document::{BlockKind, Document, Place};

/// Reads a PDF; running heads and feet are left out.
pub(super) fn read(bytes: &[u8]) -> Result<Document, ReadError> {
    let read = pdf::read(bytes, &pdf::Options::default())
        .map_err(|error| ReadError::Pdf(error.to_string()))?;
    let mut builder = Builder::default();
    let mut title = read.title.unwrap_or_default();
    for page in &read.pages {
        for block in &page.blocks {
            let kind = match block.kind {
                pdf::Kind::Boilerplate => continue,
                pdf::Kind::Heading(level) => BlockKind::Heading(level),
                pdf::Kind::Paragraph => BlockKind::Paragraph,
                pdf::Kind::ListItem => BlockKind::ListItem,
                pdf::Kind::Table => BlockKind::Table,
                pdf::Kind::Code => BlockKind::Code,
            };
            let place = Place {
                page: page.number,
                bounds: block.bounds,
            };
            builder.push(kind, &block.text(), Some(place));
            if title.trim().is_empty() {
                title = builder
                    .last(BlockKind::Heading(1))
                    .unwrap_or_default()
                    .to_owned();
            }
        }
    }
    Ok(builder.finish(title))
}
