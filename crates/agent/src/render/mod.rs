//! A report as Markdown and as a self-contained HTML page.
//!
//! Text of documents and of models is data here too: whatever it contains, it is escaped, so that it
//! can neither become markup nor load anything.

mod html;
mod markdown;

pub use html::html;
pub use markdown::{answer, markdown};

use crate::research::Citation;

/// Title and headings of a passage as one line, nothing said twice.
fn path(title: &str, headings: &[String]) -> String {
    let mut parts = vec![title];
    for heading in headings {
        if parts.last() != Some(&heading.as_str()) && heading != title {
            parts.push(heading);
        }
    }
    parts.join(" › ")
}

/// The file with its page, where it has pages.
fn place(file: &str, page: Option<u32>) -> String {
    match page {
        Some(page) => format!("{file}, page {page}"),
        None => file.to_owned(),
    }
}

/// The context of a citation in three parts: before the quote, the quote, after it.
fn around(citation: &Citation) -> (&str, &str, &str) {
    let parts = citation.range.and_then(|(start, end)| {
        let text = citation.context.as_str();
        Some((text.get(..start)?, text.get(start..end)?, text.get(end..)?))
    });
    parts.unwrap_or((citation.context.as_str(), "", ""))
}

#[cfg(test)]
mod tests;
