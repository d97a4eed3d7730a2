//! The outline (bookmarks) of a document: the surest source of heading levels.

use crate::content::strings::text_string;
use hayro_syntax::object::{Dict, ObjectIdentifier, String as PdfString};
use rustc_hash::{FxHashMap, FxHashSet};

/// More entries than this are not looked at.
const MAX_ENTRIES: usize = 20_000;

/// Levels by title, the titles in the form of [`normal`].
pub(crate) type Outline = FxHashMap<String, u8>;

/// Letters and digits only, in lower case: titles differ in numbering, spaces and quotes.
pub(crate) fn normal(title: &str) -> String {
    title
        .chars()
        .filter(|letter| letter.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Reads the outline of a catalogue; empty if there is none.
pub(crate) fn outline(catalog: &Dict<'_>) -> Outline {
    let mut levels = Outline::default();
    let Some(root) = catalog.get::<Dict<'_>>("Outlines") else {
        return levels;
    };
    let mut seen: FxHashSet<ObjectIdentifier> = FxHashSet::default();
    let mut waiting: Vec<(Dict<'_>, u8)> = root
        .get::<Dict<'_>>("First")
        .map(|first| (first, 1))
        .into_iter()
        .collect();
    let mut left = MAX_ENTRIES;
    while let Some((entry, level)) = waiting.pop() {
        left -= 1;
        let is_new = entry.obj_id().is_none_or(|id| seen.insert(id));
        if left == 0 || !is_new {
            continue;
        }
        if let Some(title) = entry.get::<PdfString<'_>>("Title") {
            let title = normal(&text_string(title.as_bytes()));
            let known = levels.entry(title).or_insert(level);
            *known = level.min(*known);
        }
        waiting.extend(entry.get::<Dict<'_>>("Next").map(|next| (next, level)));
        waiting.extend(
            entry
                .get::<Dict<'_>>("First")
                .map(|first| (first, (level + 1).min(6))),
        );
    }
    levels.remove("");
    levels
}
