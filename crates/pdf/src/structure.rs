//! What only the whole document tells: the size of its body text and so its headings, the lines
//! that repeat from page to page, and which hyphens at line ends belong to the word.

mod boilerplate;
mod headings;
mod hyphens;
mod outline;

use crate::layout::{DraftBlock, NOWHERE, Shape, union};
use crate::{Block, Kind, Line, LineEnd, Page, Pdf, Word};
pub(crate) use outline::outline;

/// A page whose blocks are not yet named.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DraftPage {
    pub(crate) number: u32,
    pub(crate) width: f32,
    pub(crate) height: f32,
    pub(crate) blocks: Vec<DraftBlock>,
    pub(crate) damaged: bool,
}

/// Names all blocks and turns boxes into fractions of the page.
pub(crate) fn build(
    mut pages: Vec<DraftPage>,
    outline: &outline::Outline,
    title: Option<String>,
) -> Pdf {
    let repeated = boilerplate::set_apart(&mut pages);
    let scale = headings::Scale::new(&pages);
    let damaged = pages
        .iter()
        .filter(|page| page.damaged)
        .map(|page| page.number)
        .collect();
    let mut named = Vec::with_capacity(pages.len());
    for (page, repeated) in pages.into_iter().zip(repeated) {
        let mut blocks = Vec::with_capacity(page.blocks.len());
        for (block, is_repeated) in page.blocks.into_iter().zip(repeated) {
            let kind = if is_repeated {
                Kind::Boilerplate
            } else {
                kind(&block, &scale, outline)
            };
            blocks.push(finish(block, kind, page.width, page.height));
        }
        named.push(Page {
            number: page.number,
            width: page.width,
            height: page.height,
            blocks,
        });
    }
    hyphens::mark(&mut named);
    let title = title
        .map(|title| title.trim().to_owned())
        .filter(|title| !title.is_empty());
    Pdf {
        title,
        pages: named,
        damaged,
    }
}

fn kind(block: &DraftBlock, scale: &headings::Scale, outline: &outline::Outline) -> Kind {
    match block.shape {
        Shape::Table => Kind::Table,
        Shape::Text | Shape::ListItem | Shape::Code => {
            match (scale.heading(block, outline), block.shape) {
                (Some(level), _) => Kind::Heading(level),
                (None, Shape::ListItem) => Kind::ListItem,
                (None, Shape::Code) => Kind::Code,
                (None, _) => Kind::Paragraph,
            }
        }
    }
}

fn finish(block: DraftBlock, kind: Kind, width: f32, height: f32) -> Block {
    let share = |bounds: [f32; 4]| {
        let [left, top, right, bottom] = bounds;
        [left / width, top / height, right / width, bottom / height]
            .map(|value| value.clamp(0.0, 1.0))
    };
    let around = block
        .lines
        .iter()
        .fold(NOWHERE, |all, line| union(all, line.bounds));
    let line = |line: crate::layout::DraftLine| Line {
        bounds: share(line.bounds),
        words: line
            .words
            .into_iter()
            .map(|word| Word {
                bounds: share(word.bounds),
                text: word.text,
            })
            .collect(),
        cells: line.cells,
        end: LineEnd::Space,
    };
    Block {
        kind,
        bounds: share(around),
        lines: block.lines.into_iter().map(line).collect(),
    }
}
