//! The text of a document, got by other means than the product's: tags stripped by hand, PDF by
//! `pdftotext`. What it is for is to catch a quote that does not stand in the file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use regex::Regex;

use crate::workspace;

/// Reads documents, each once.
#[derive(Default)]
pub(crate) struct Texts {
    read: HashMap<PathBuf, Vec<String>>,
}

impl Texts {
    /// The text of a file, in one or more readings: a PDF is read in reading order, by layout and in
    /// the order of its content.
    pub(crate) fn of(&mut self, path: &Path) -> Result<&[String]> {
        if !self.read.contains_key(path) {
            let texts = read(path).with_context(|| format!("cannot read {}", path.display()))?;
            self.read.insert(path.to_owned(), texts);
        }
        Ok(self.read.get(path).map(Vec::as_slice).unwrap_or_default())
    }
}

fn read(path: &Path) -> Result<Vec<String>> {
    let name = path.to_string_lossy().into_owned();
    if let Some(inner) = name.strip_suffix(".gz") {
        let folder = workspace::cache()?.join("corpora").join(".unpacked");
        std::fs::create_dir_all(&folder)?;
        let unpacked = folder.join(Path::new(inner).file_name().unwrap_or_default());
        let output = Command::new("gzip")
            .args(["-dc"])
            .arg(path)
            .output()
            .context("cannot start gzip")?;
        std::fs::write(&unpacked, output.stdout)?;
        return read(&unpacked);
    }
    if name.ends_with(".pdf") {
        return [&[][..], &["-layout"], &["-raw"]]
            .into_iter()
            .map(|options| pdf(path, options))
            .collect();
    }
    let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
    match name.ends_with(".html") || name.ends_with(".htm") {
        true => Ok(vec![html(&text)?]),
        false => Ok(vec![text]),
    }
}

fn pdf(path: &Path, options: &[&str]) -> Result<String> {
    let mut command = Command::new("pdftotext");
    command.args(options).arg(path).arg("-");
    workspace::output(&mut command).context("hint: apt-get install poppler-utils")
}

fn html(text: &str) -> Result<String> {
    let hidden =
        Regex::new(r"(?is)<!--.*?-->|<script\b.*?</script>|<style\b.*?</style>|<head\b.*?</head>")?;
    let tag = Regex::new(r"(?s)<[^>]*>")?;
    let visible = hidden.replace_all(text, " ");
    Ok(html_escape::decode_html_entities(&tag.replace_all(&visible, "")).into_owned())
}

/// Runs of white space as one space.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the words of `quote` stand in one of `texts`, letter by letter. White space, hyphens and
/// the marks that Markdown adds are left out of account, and lines are looked up one by one where
/// the whole does not stand there (a page break or the number of a list item may lie between).
pub(crate) fn stands_in(quote: &str, texts: &[String]) -> bool {
    let texts: Vec<String> = texts.iter().map(|text| letters(text)).collect();
    let found = |part: &str| texts.iter().any(|text| text.contains(part));
    let whole = letters(quote);
    if whole.is_empty() {
        return false;
    }
    if found(&whole)
        || quote
            .lines()
            .map(|line| letters(without_marker(line)))
            .all(|line| found(&line))
    {
        return true;
    }
    in_two_parts(&whole, &texts)
}

/// The fewest characters that a part of a quote must have, to mean anything.
const PART: usize = 12;

/// Whether the text is one part that ends somewhere and another that goes on soon after in the same
/// reading, as where a page's footer lies in between.
fn in_two_parts(whole: &str, texts: &[String]) -> bool {
    texts.iter().any(|text| {
        whole
            .char_indices()
            .skip(PART)
            .map(|(cut, _)| whole.split_at(cut))
            .take_while(|(before, after)| after.len() >= PART && text.contains(before))
            .any(|(before, after)| goes_on(text, before, after))
    })
}

/// Whether `after` follows `before` no farther off than a footer and a header are long.
fn goes_on(text: &str, before: &str, after: &str) -> bool {
    let Some(start) = text.find(before).map(|at| at + before.len()) else {
        return false;
    };
    let near: String = text
        .get(start..)
        .unwrap_or_default()
        .chars()
        .take(300 + after.len())
        .collect();
    near.contains(after)
}

/// A line without the bullet or number of a list item.
fn without_marker(line: &str) -> &str {
    let line = line.trim_start();
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    match rest.strip_prefix(". ") {
        Some(rest) if rest.len() < line.len() - 2 => rest,
        _ => line,
    }
}

/// What is compared: the text without white space, hyphens and marks, ligatures and quotation marks
/// in their plain form.
fn letters(text: &str) -> String {
    let mut letters = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '-' | '\u{ad}' | '\u{2010}'..='\u{2015}' | '\u{2212}' => {}
            '*' | '_' | '`' | '|' | '\\' | '#' | '•' | '·' | '\u{200b}' | '\u{feff}' => {}
            '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' | '"' | '\'' | '´' => {}
            'ﬀ' => letters.push_str("ff"),
            'ﬁ' => letters.push_str("fi"),
            'ﬂ' => letters.push_str("fl"),
            'ﬃ' => letters.push_str("ffi"),
            'ﬄ' => letters.push_str("ffl"),
            c if c.is_whitespace() => {}
            c => letters.push(c),
        }
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_stands_in_a_text_only_word_for_word() {
        let text = vec![
            "The delay is con-\nfigured in “seconds”.\n\n 17 / 20\n\nIt may not be negative."
                .to_owned(),
        ];
        for quote in [
            "The delay is configured in \"seconds\".",
            "`delay` is configured",
            "1. The delay is",
            "The delay is configured in seconds. It may not be negative.",
        ] {
            assert!(stands_in(quote, &text), "{quote}");
        }
        for quote in [
            "",
            "The delay is configured in minutes.",
            "It may be negative.",
            "delay is is configured",
        ] {
            assert!(!stands_in(quote, &text), "{quote}");
        }
    }

    #[test]
    fn html_is_read_without_tags_scripts_and_entities() {
        let page = "<head><title>x</title></head><p>a &lt;<b>b</b> <script>if (1<2) {}</script>&eacute;</p>";
        assert_eq!(one_line(&html(page).unwrap_or_default()), "a <b é");
    }
}
