//! What the unit tests of this folder share.

use knowledge::Passage;

/// A passage that is nothing but this text.
pub(super) fn passage(text: &str) -> Passage {
    Passage {
        id: String::new(),
        file: String::new(),
        title: String::new(),
        headings: Vec::new(),
        text: text.to_owned(),
        range: 0..text.len(),
        places: Vec::new(),
        ordinal: 0,
    }
}
